package redirect

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// transport redirects each address to the next one, and records the requests.
type transport struct {
	next map[string]string
	seen []*http.Request
	err  error
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.seen = append(t.seen, req)
	if t.err != nil {
		return nil, t.err
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Date": {"today"}}, Body: http.NoBody, Request: req}
	if to, ok := t.next[req.URL.String()]; ok {
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", to)
	}
	return resp, nil
}

func get(t *testing.T, client *http.Client, address string) (status int, header http.Header, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	req.Header = http.Header{"Api-Key": {"secret"}, "User-Agent": {"ours"}, "Accept-Encoding": {"identity"}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, resp.Header, nil
}

func TestRefuse_ReturnsTheRedirect(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"https://b.test/", "http://[malformed"} {
		next := &transport{next: map[string]string{"https://a.test/": to}}
		client := &http.Client{Transport: next, CheckRedirect: func(*http.Request, []*http.Request) error {
			assert.Fail(t, "the client was asked")
			return nil
		}}
		status, header, err := get(t, Refuse(client), "https://a.test/")
		require.NoError(t, err, to)
		assert.Equal(t, http.StatusFound, status, to)
		assert.Equal(t, http.Header{"Date": {"today"}}, header, to)
		assert.Len(t, next.seen, 1, to)
		assert.Same(t, next, client.Transport, "the client was modified")
	}
}

func TestRefuse_PassesOnTheRest(t *testing.T) {
	t.Parallel()
	status, _, err := get(t, Refuse(&http.Client{Transport: &transport{}}), "https://a.test/")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	failed := errors.New("no connection")
	_, _, err = get(t, Refuse(&http.Client{Transport: &transport{err: failed}}), "https://a.test/")
	require.ErrorIs(t, err, failed)
	for _, own := range []*http.Client{Refuse(&http.Client{}), Strip(&http.Client{})} {
		wrapped, ok := own.Transport.(locations)
		require.True(t, ok)
		assert.Same(t, http.DefaultTransport, wrapped.next, "that of net/http is the default")
	}
}

func TestStrip_DropsHeadersForGood(t *testing.T) {
	t.Parallel()
	next := &transport{next: map[string]string{
		"https://a.test/1": "https://A.test:443/2", "https://A.test:443/2": "https://b.test/3", "https://b.test/3": "https://a.test/4",
	}}
	client := &http.Client{Transport: next}
	_, _, err := get(t, Strip(client), "https://a.test/1")
	require.NoError(t, err)
	require.Len(t, next.seen, 4)
	stripped := http.Header{"User-Agent": {"ours"}, "Accept-Encoding": {"identity"}}
	assert.Equal(t, "secret", next.seen[1].Header.Get("Api-Key"), "the same host")
	assert.Empty(t, next.seen[1].Header.Get("Referer"), "the link is a secret")
	assert.Equal(t, stripped, next.seen[2].Header, "another host")
	assert.Equal(t, stripped, next.seen[3].Header, "back from another host")
	assert.Nil(t, client.CheckRedirect, "the client was modified")
}

func TestStrip_AsksTheClient(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	client := &http.Client{Transport: &transport{next: map[string]string{"https://a.test/": "https://b.test/"}}}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		assert.Equal(t, "https://b.test/", req.URL.String())
		assert.Empty(t, req.Header.Get("Api-Key"), "what the client sees is what is sent")
		assert.Len(t, via, 1)
		return refused
	}
	_, _, err := get(t, Strip(client), "https://a.test/")
	require.ErrorIs(t, err, refused)
}

func TestStrip_EndsACycle(t *testing.T) {
	t.Parallel()
	next := &transport{next: map[string]string{"https://a.test/": "https://a.test/"}}
	_, _, err := get(t, Strip(&http.Client{Transport: next}), "https://a.test/")
	require.ErrorContains(t, err, "stopped after 10 redirects")
	assert.Len(t, next.seen, 10)
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://a.test/path?query": "https://a.test:443",
		"HTTP://A.Test":             "http://a.test:80",
		"https://a.test:8443":       "https://a.test:8443",
		"http://[::1]:80/":          "http://[::1]:80",
	} {
		u, err := url.Parse(address)
		require.NoError(t, err)
		assert.Equal(t, want, Origin(u), address)
	}
}

func TestEscape_ChangesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"https://a.test/a%2Fb/c d?e=%2F f#g": "https://a.test/a%2Fb/c%20d?e=%2F%20f#g",
		"//пример.test/ё":                    "//пример.test/%D1%91",
		" http://[fe80::1%25eth0]:80/%\t":    "http://[fe80::1%25eth0]:80/%25",
		"/a//b%":                             "/a//b%25",
		"c?d=%":                              "c?d=%",
		"https://a.test\\@b.test/":           "https://a.test\\@b.test/",
		"https:\\a":                          "https:%5Ca",
		"/\xff?\xff":                         "/%FF?%FF",
		"/100%25?100%25":                     "/100%25?100%25",
		"https://a.test?b c":                 "https://a.test?b%20c",
		"":                                   "",
		"?":                                  "?",
	} {
		assert.Equal(t, want, Escape(link), "%q", link)
	}
}
