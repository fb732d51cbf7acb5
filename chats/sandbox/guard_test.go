package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

func respond(t *testing.T, s *sandbox, method, path string, header map[string]string, body string) *httptest.ResponseRecorder {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if strings.HasSuffix(path, "/events") {
		stop() // otherwise the stream, if it is allowed, would not end
	}
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:8070"
	for name, value := range header {
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestGuard_RefusesOtherSites(t *testing.T) {
	t.Parallel()
	s := start(t, "-host", "sandbox")
	const reset, json = "/sandbox/reset", "application/json"
	api := fmt.Sprintf("/v2/businesses/%d/chats", s.business())
	for name, c := range map[string]struct {
		method, path string
		header       map[string]string
		want         int
	}{
		"its own page":              {"POST", reset, map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8070", "Content-Type": json}, 200},
		"an old browser's own page": {"POST", reset, map[string]string{"Origin": "http://127.0.0.1:8070", "Content-Type": json}, 200},
		"a program":                 {"POST", reset, map[string]string{"Content-Type": json}, 200},
		"a link to the page":        {"GET", "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200},
		"another site":              {"POST", reset, map[string]string{"Sec-Fetch-Site": "cross-site", "Content-Type": json}, 403},
		"another port":              {"POST", reset, map[string]string{"Sec-Fetch-Site": "same-site", "Content-Type": json}, 403},
		"another origin":            {"POST", reset, map[string]string{"Origin": "http://evil.example", "Content-Type": json}, 403},
		"a sandboxed frame":         {"POST", reset, map[string]string{"Origin": "null", "Content-Type": json}, 403},
		"a form":                    {"POST", reset, map[string]string{"Content-Type": "text/plain"}, 415},
		"a read":                    {"GET", "/sandbox/settings", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a navigation to data":      {"GET", "/sandbox/settings", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403},
		"the events":                {"GET", "/sandbox/events", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"the API from a page":       {"POST", api, map[string]string{"Origin": "http://evil.example", "Api-Key": s.key(), "Content-Type": json}, 403},
		"rebinding":                 {"POST", reset, map[string]string{"Host": "evil.example:8070", "Origin": "http://evil.example:8070", "Sec-Fetch-Site": "same-origin", "Content-Type": json}, 421},
		"rebinding of the API":      {"POST", api, map[string]string{"Host": "evil.example", "Api-Key": s.key(), "Content-Type": json}, 421},
		"localhost":                 {"GET", "/sandbox/settings", map[string]string{"Host": "localhost:8070"}, 200},
		"IPv6":                      {"GET", "/sandbox/settings", map[string]string{"Host": "[::1]:8070"}, 200},
		"an allowed name":           {"GET", "/sandbox/settings", map[string]string{"Host": "sandbox:8070"}, 200},
		"an unknown path":           {"GET", "/sandbox/secrets", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := respond(t, s, c.method, c.path, c.header, "{}")
			assert.Equal(t, c.want, resp.Code, "%s", resp.Body)
			assert.Contains(t, resp.Header().Get("Content-Security-Policy"), "default-src 'none'")
			assert.Equal(t, "nosniff", resp.Header().Get("X-Content-Type-Options"))
			assert.Equal(t, "same-origin", resp.Header().Get("Cross-Origin-Resource-Policy"))
			assert.Empty(t, resp.Header().Get("Access-Control-Allow-Origin"))
		})
	}
}

// Whatever a program or a customer sends, a browser shows only images.
func TestGuard_FilesAreNotExecuted(t *testing.T) {
	t.Parallel()
	s := start(t, "-empty")
	require.NoError(t, s.behaviour.choose("downloads", "open"))
	s.current().apply()
	id := s.current().market.AddChat(chats.Chat{})
	script := "<html><script>alert(1)</script>"
	client := s.client(t)
	for _, name := range []string{"page.html", "image.png", "image.svg", "page"} {
		require.NoError(t, client.SendFile(t.Context(), id, name, strings.NewReader(script)))
	}
	require.NoError(t, client.SendFile(t.Context(), id, "mug.png", bytes.NewReader(mugPicture())))
	for _, m := range s.current().market.Messages(id) {
		file := describeMessage(m).Files[0]
		for _, path := range []string{file.URL, strings.TrimPrefix(m.Files[0].URL, s.config.baseURL)} {
			resp := respond(t, s, http.MethodGet, path, nil, "")
			require.Equal(t, 200, resp.Code, path)
			assert.Equal(t, "nosniff", resp.Header().Get("X-Content-Type-Options"))
			assert.Contains(t, resp.Header().Get("Content-Security-Policy"), "sandbox", path)
			if path == file.URL && file.Name == "mug.png" {
				assert.Equal(t, "image/png", resp.Header().Get("Content-Type"))
			} else if path == file.URL {
				assert.Equal(t, "application/octet-stream", resp.Header().Get("Content-Type"))
				assert.Contains(t, resp.Header().Get("Content-Disposition"), "attachment")
			}
		}
	}
	for _, path := range []string{"/sandbox/files/1/../../settings", "/sandbox/files/none", "/sandbox/files/%2e%2e/%2e%2e/etc/passwd"} {
		assert.NotEqual(t, 200, respond(t, s, http.MethodGet, path, nil, "").Code, path)
	}
}

// The page runs only its own script, and loads nothing from elsewhere.
func TestPage_IsSelfContained(t *testing.T) {
	t.Parallel()
	s := start(t)
	policy := respond(t, s, http.MethodGet, "/", nil, "").Header().Get("Content-Security-Policy")
	assert.NotContains(t, policy, "unsafe")
	assert.NotContains(t, policy, "http")
	for _, name := range []string{"index.html", "app.js", "app.css", "words.js", "icon.svg"} {
		data, err := os.ReadFile("page/" + name)
		require.NoError(t, err)
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		text = strings.ReplaceAll(text, "http://127.0.0.1:8080/market", "")
		assert.NotContains(t, text, "://", name)
		assert.NotRegexp(t, `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:`, text, name)
		resp := respond(t, s, http.MethodGet, "/"+strings.TrimPrefix(name, "index.html"), nil, "")
		assert.Equal(t, 200, resp.Code, name)
	}
	assert.Equal(t, 404, respond(t, s, http.MethodGet, "/page/app.js", nil, "").Code)
}

func TestPage_HasWordsInBothLanguages(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("page/words.js")
	require.NoError(t, err)
	_, ru, found := strings.Cut(string(data), "\n  ru: {")
	require.True(t, found)
	ru, en, found := strings.Cut(ru, "\n  en: {")
	require.True(t, found)
	en, _, _ = strings.Cut(en, "\n  },")
	keys := func(text string) (all []string) {
		for _, m := range regexp.MustCompile(`(?m)(?:^    |, )([A-Za-z_0-9]+): '`).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		slices.Sort(all)
		return all
	}
	assert.Equal(t, keys(ru), keys(en))
	assert.Equal(t, slices.Compact(keys(ru)), keys(ru), "each once")
	used := faultNames()
	for _, a := range aspects {
		used = append(used, "aspect_"+a.Name)
		for _, c := range a.Choices {
			used = append(used, strings.Replace(c.name, "open", "openChoice", 1))
		}
	}
	for _, file := range []string{"index.html", "app.js"} {
		text, err := os.ReadFile("page/" + file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`data-(?:word|placeholder|label)="(\w+)"|word\('(\w+)'\)`).FindAllStringSubmatch(string(text), -1) {
			used = append(used, m[1]+m[2])
		}
	}
	assert.Subset(t, keys(ru), used)
}

func TestRun_SaysWhatAProgramNeeds(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-addr", "0.0.0.0:0", "-business", "42", "-empty"}, writer)
		_ = writer.Close()
	}()
	var out strings.Builder
	for !strings.Contains(out.String(), "WARNING") || !strings.HasSuffix(out.String(), "\n") {
		buffer := make([]byte, 1000)
		n, err := reader.Read(buffer)
		require.NoError(t, err, out.String())
		out.Write(buffer[:n])
	}
	stop()
	require.NoError(t, <-ended)
	assert.Regexp(t, `YANDEX_MARKET_BASE_URL=http://127\.0\.0\.1:\d+\n`, out.String())
	assert.Contains(t, out.String(), "YANDEX_MARKET_BUSINESS_ID=42\n")
	assert.Contains(t, out.String(), "YANDEX_MARKET_API_KEY=ACMA:")
	assert.Contains(t, out.String(), "WARNING: ")
	assert.Contains(t, out.String(), "is not a loopback address")
}

func TestDocs_ListEveryFlag(t *testing.T) {
	t.Parallel()
	var help bytes.Buffer
	_, err := parse([]string{"-h"}, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	page, err := os.ReadFile("../docs/sandbox.md")
	require.NoError(t, err)
	names := func(pattern, text string) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		return all
	}
	assert.ElementsMatch(t, names(`(?m)^  -([a-z-]+)`, help.String()), names(`(?m)^\| -([a-z-]+) \|`, string(page)))
}

func TestRun_RefusesWrongArguments(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-business", "0"}, {"more"}, {"-addr", "nowhere"}, {"-addr", "127.0.0.1:0", "-push", "ftp://x"}, {"-unknown"}} {
		require.Error(t, run(t.Context(), args, io.Discard), args)
	}
	assert.True(t, isLoopback(&addr{netip.MustParseAddrPort("[::1]:8070")}))
}

type addr struct{ netip.AddrPort }

func (addr) Network() string { return "tcp" }
