package chats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestDownload_ReadsCustomerFile(t *testing.T) {
	t.Parallel()
	onBothTransports(t, func(f *uploadFixture) {
		t := f.t
		photo := randomBytes(300_000)
		f.market.CustomerSays(f.chat, "Вот", f.market.AddFile("фото 1.jpg", photo))
		message := mustCollect(t, f.client.History(t.Context(), f.chat, 0))[0]
		require.Len(t, message.Files, 1)
		assert.EqualValues(t, len(photo), message.Files[0].Size)
		got, err := download(t, f.client, message.Files[0].URL)
		require.NoError(t, err)
		assert.Equal(t, string(photo), got)
		assert.Equal(t, 1, f.market.Calls(chatstest.OpDownload))
		_, counted := f.client.Limit(chatstest.OpDownload)
		assert.False(t, counted)
	})
}

// fileServer is an HTTP server that records the headers of its requests.
type fileServer struct {
	*httptest.Server

	mu   sync.Mutex
	seen []http.Header
}

func newFileServer(t *testing.T, handler http.HandlerFunc) *fileServer {
	t.Helper()
	s := &fileServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Header.Clone())
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *fileServer) headers() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func content(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") }

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func withAttachmentHeader(name, value string) chats.Option {
	return chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
		req.Header.Set(name, value)
		return nil
	})
}

// assertPlain asserts that a request has no header that was meant for another host.
func assertPlain(t *testing.T, header http.Header) {
	t.Helper()
	for name := range header {
		assert.Contains(t, []string{"User-Agent", "Accept-Encoding"}, name, "%q", header[name])
	}
	assert.Contains(t, header.Get("User-Agent"), "ymchats-go/")
}

func TestDownload_SendsCredentialToBaseURLHostOnly(t *testing.T) {
	t.Parallel()
	base, other := newFileServer(t, content), newFileServer(t, content)
	for _, tt := range []struct {
		credential    chats.Credential
		header, value string
	}{
		{chats.APIKey("ACMA:secret:1"), "Api-Key", "ACMA:secret:1"},
		{chats.OAuthToken("y0_secret"), "Authorization", "Bearer y0_secret"},
	} {
		client := newClientAt(t, base.URL+"/proxy", tt.credential)
		for _, url := range []string{base.URL + "/a", strings.Replace(base.URL, "http://", "HTTP://", 1) + "/a"} {
			got, err := download(t, client, url)
			require.NoError(t, err)
			assert.Equal(t, "content", got)
			assert.Equal(t, tt.value, base.headers()[len(base.headers())-1].Get(tt.header))
		}
		// Another port and another name of the same host are other hosts.
		for _, url := range []string{other.URL, strings.Replace(base.URL, "127.0.0.1", "localhost", 1)} {
			_, err := download(t, client, url)
			require.NoError(t, err)
		}
		assertPlain(t, other.headers()[len(other.headers())-1])
		assertPlain(t, base.headers()[len(base.headers())-1])
	}
}

func TestDownload_OtherSchemePortOrHostGetsNoCredential(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		same bool
	}{
		{"https://api.partner.market.yandex.ru/files/1", true},
		{"https://api.partner.market.yandex.ru:443/files/1", true},
		{"https://API.Partner.Market.Yandex.RU/files/1", true},
		{"http://api.partner.market.yandex.ru/files/1", false},
		{"http://api.partner.market.yandex.ru:443/files/1", false},
		{"https://api.partner.market.yandex.ru:8443/files/1", false},
		{"https://api.partner.market.yandex.ru./files/1", false},
		{"https://api.partner.market.yandex.ru.example/files/1", false},
		{"https://api.partner.market.yandex.ru@evil.example/files/1", false},
		{"https://evil.example/https://api.partner.market.yandex.ru", false},
		{"https://market.yandex.ru/files/1", false},
		{"https://files.messenger.yandex.net/files/1", false},
	}
	for _, tt := range tests {
		var sent http.Header
		client := chatstest.NewMarket().Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			sent = req.Header
			return respond(req, http.StatusOK, "content"), nil
		})}))
		_, err := download(t, client, tt.url)
		require.NoError(t, err, tt.url)
		assert.Equal(t, tt.same, sent.Get("Api-Key") != "", tt.url)
	}
}

func TestDownload_RedirectToOtherHostDropsHeaders(t *testing.T) {
	t.Parallel()
	other := newFileServer(t, content)
	for _, status := range []int{301, 302, 303, 307, 308} {
		base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/elsewhere", status) })
		client := newClientAt(t, base.URL, chats.APIKey("ACMA:secret:1"), withAttachmentHeader("X-Session", "secret-2"))
		got, err := download(t, client, base.URL+"/a?signature=secret-3")
		require.NoError(t, err)
		assert.Equal(t, "content", got)
		assert.Equal(t, "ACMA:secret:1", base.headers()[0].Get("Api-Key"))
		assert.Equal(t, "secret-2", base.headers()[0].Get("X-Session"))
		assertPlain(t, other.headers()[len(other.headers())-1])
	}

	base := newFileServer(t, redirect(other.URL))
	_, err := download(t, newClientAt(t, base.URL, chats.OAuthToken("y0_secret"), withAttachmentHeader("Cookie", "session=secret-2")), base.URL+"/a")
	require.NoError(t, err)
	assert.Equal(t, "Bearer y0_secret", base.headers()[0].Get("Authorization"))
	assertPlain(t, other.headers()[len(other.headers())-1])
}

func TestDownload_RedirectWithinHostKeepsHeaders(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			http.Redirect(w, r, "/b", http.StatusFound)
			return
		}
		content(w, r)
	})
	_, err := download(t, newClientAt(t, base.URL, chats.APIKey("key"), withAttachmentHeader("X-Session", "s")), base.URL+"/a?signature=1")
	require.NoError(t, err)
	require.Len(t, base.headers(), 2)
	assert.Equal(t, "key", base.headers()[1].Get("Api-Key"))
	assert.Equal(t, "s", base.headers()[1].Get("X-Session"))
	assert.NotContains(t, base.headers()[1], "Referer", "the link is as good as a key")
}

// A redirect from another host back to the base URL must not add the credential.
func TestDownload_RedirectBackToBaseURLGetsNoCredential(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, content)
	other := newFileServer(t, redirect(base.URL+"/a"))
	_, err := download(t, newClientAt(t, base.URL, chats.APIKey("key"), withAttachmentHeader("X-Session", "s")), other.URL)
	require.NoError(t, err)
	assertPlain(t, base.headers()[0])
	assert.Equal(t, "s", other.headers()[0].Get("X-Session"))
}

func TestDownload_RedirectLoopIsError(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/a", http.StatusFound) })
	_, err := download(t, newClientAt(t, base.URL, chats.APIKey("key")), base.URL+"/a")
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "chats: download: stopped after 10 redirects", err.Error())
	assert.Len(t, base.headers(), 10)
}

func TestDownload_WithAttachmentAuthAuthenticatesOtherHost(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithFileBase("https://files.messenger.yandex.net"))
	file := market.AddFile("a.jpg", []byte("content"))
	_, err := download(t, newClient(t, market), file.URL)
	require.ErrorIs(t, err, chats.ErrForbidden)
	assert.Contains(t, err.Error(), "chats: download: 403: ")

	var urls []string
	client := newClient(t, market, chats.WithAttachmentAuth(func(ctx context.Context, req *http.Request) error {
		urls = append(urls, req.URL.String())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		req.Header.Set("Authorization", "Bearer "+market.Token())
		return nil
	}))
	got, err := download(t, client, file.URL)
	require.NoError(t, err)
	assert.Equal(t, "content", got)
	assert.Equal(t, []string{file.URL}, urls)

	failing := newClient(t, market, chats.WithAttachmentAuth(func(context.Context, *http.Request) error { return errDisk }))
	_, err = download(t, failing, file.URL)
	require.ErrorIs(t, err, errDisk)
	assert.Equal(t, "chats: download: attachment auth: the disk is gone", err.Error())
	assert.Equal(t, 2, market.Calls(chatstest.OpDownload), "a failing auth function sends nothing")
}

func TestDownload_ErrorsMatchSentinels(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	file := market.AddFile("a.jpg", []byte("content"))
	client := newClient(t, market)
	for status, want := range statusSentinels {
		market.Fail(chatstest.OpDownload, chatstest.Status(status, "<h1>No "+market.Key()+"</h1>"))
		_, err := download(t, client, file.URL)
		require.ErrorIs(t, err, want)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, status, e.StatusCode)
		assert.Equal(t, []chats.Detail{{Message: "No [redacted]"}}, e.Details)
		assert.NotEmpty(t, e.TraceParent)
		assert.Equal(t, 1, e.Attempts)
		assert.EqualValues(t, "download", e.Operation)
	}
	assert.Equal(t, len(statusSentinels), market.Calls(chatstest.OpDownload), "one request for each error")

	market.Fail(chatstest.OpDownload, chatstest.Refused())
	_, err := download(t, client, file.URL)
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Zero(t, e.StatusCode)
	assert.NotContains(t, err.Error(), file.URL, "the link is as good as a key")

	_, err = download(t, client, strings.TrimSuffix(file.URL, "a.jpg"))
	require.ErrorIs(t, err, chats.ErrNotFound)
}

// Of the statuses of success, only some come with the whole file.
// The scopes of the key, which the other operations advise to check, have nothing to do with it.
func TestDownload_RefusalSaysWhatMayHelp(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		_, err := newDownloadClient(t, status, "").Download(t.Context(), chats.File{URL: "https://files.messenger.yandex.net/a"})
		require.ErrorContains(t, err, "the link may have expired, or its host requires WithAttachmentAuth")
		assert.NotContains(t, err.Error(), "the credential")
	}
}

// A key that the function of WithAttachmentAuth has set is not replaced by the client's.
func TestDownload_AttachmentAuthMayBringAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	file := chatstest.NewMarket().AddFile("a.jpg", []byte("content"))
	var keys []string
	server := roundTrip(func(req *http.Request) (*http.Response, error) {
		keys = append(keys, req.Header.Get("Api-Key"))
		return respond(req, http.StatusForbidden, "denied"), nil
	})
	for _, key := range []string{"", "another key"} {
		client, err := chats.New(1, chats.APIKey("key"), withContract(t, server), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
			req.Header.Set("Api-Key", key)
			return nil
		}))
		require.NoError(t, err)
		_, err = client.Download(t.Context(), file)
		require.ErrorIs(t, err, chats.ErrForbidden)
	}
	assert.Equal(t, []string{"key", "another key"}, keys)
}

// The function of WithAttachmentAuth may send a download elsewhere.
func TestDownload_RewrittenURLGetsNoCredential(t *testing.T) {
	t.Parallel()
	for _, credential := range []chats.Credential{chats.APIKey(testSecret), chats.OAuthToken(testSecret)} {
		var sent *http.Request
		server := roundTrip(func(req *http.Request) (*http.Response, error) {
			sent = req
			return respond(req, http.StatusForbidden, "denied to "+req.URL.String()), nil
		})
		client, err := chats.New(1, credential, withContract(t, server), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
			req.URL.Host, req.URL.User = "mirror.example", url.UserPassword("shop", "pass-of-the-mirror")
			return nil
		}))
		require.NoError(t, err)
		_, err = client.Download(t.Context(), chats.File{URL: "https://api.partner.market.yandex.ru/a"})
		require.ErrorContains(t, err, "denied to https://shop:[redacted]@mirror.example/a")
		assert.NotContains(t, fmt.Sprint(sent.Header), testSecret)
	}
}

func TestDownload_PartOfAFileIsError(t *testing.T) {
	t.Parallel()
	for status, rangeHeader := range map[int]string{200: "", 203: "", 206: "bytes=0-2"} {
		client := newDownloadClient(t, status, rangeHeader)
		content, err := download(t, client, "https://files.example/a")
		require.NoError(t, err, "%d", status)
		assert.Equal(t, "abc", content)
	}
	part, err := readAttachment(t, newDownloadClient(t, 206, "bytes=0-2"), chats.File{URL: "https://files.example/a", Size: 10})
	require.NoError(t, err, "the rest was not asked for")
	assert.Equal(t, "abc", part)
	for _, status := range []int{201, 202, 204, 206, 226, 299} {
		_, err := download(t, newDownloadClient(t, status, ""), "https://files.example/a")
		require.ErrorIs(t, err, chats.ErrProtocol, "%d", status)
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, status, e.StatusCode)
		assert.Contains(t, err.Error(), "not the whole file")
	}
}

// A part without a Content-Length has as many bytes as its Content-Range says.
func TestDownload_APartThatEndsEarlyIsError(t *testing.T) {
	t.Parallel()
	for header, size := range map[string]int64{"bytes 2-9/10": 8, "bytes 2-4/10": 3, "": -1} {
		server := roundTrip(func(req *http.Request) (*http.Response, error) {
			resp := respond(req, 206, "abc")
			resp.ContentLength = -1
			resp.Header.Set("Content-Range", header)
			return resp, nil
		})
		client, err := chats.New(1, chats.APIKey("key"), withContract(t, server), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
			req.Header.Set("Range", "bytes=2-")
			return nil
		}))
		require.NoError(t, err)
		attachment, err := client.Download(t.Context(), chats.File{URL: "https://files.example/a", Size: 10})
		require.NoError(t, err)
		assert.Equal(t, size, attachment.Size)
		_, err = io.ReadAll(attachment)
		assert.Equal(t, size > 3, errors.Is(err, io.ErrUnexpectedEOF), "%s: %v", header, err)
		require.NoError(t, attachment.Close())
	}
}

// A cache may respond with the part that it has. Appended to the beginning, it would damage the file.
func TestDownload_AnotherPartThanRequestedIsError(t *testing.T) {
	t.Parallel()
	for received, want := range map[string]error{"bytes 2-4/10": nil, "bytes 0-2/10": chats.ErrProtocol, "bytes 3-5/*": chats.ErrProtocol} {
		server := roundTrip(func(req *http.Request) (*http.Response, error) {
			resp := respond(req, 206, "abc")
			resp.Header.Set("Content-Range", received)
			return resp, nil
		})
		client, err := chats.New(1, chats.APIKey("key"), withContract(t, server), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
			req.Header.Set("Range", "bytes=2-")
			return nil
		}))
		require.NoError(t, err)
		_, err = download(t, client, "https://files.example/a")
		require.ErrorIs(t, err, want, received)
	}
}

// newDownloadClient returns a client whose downloads get three bytes with status, and ask for
// rangeHeader.
func newDownloadClient(t *testing.T, status int, rangeHeader string) *chats.Client {
	t.Helper()
	server := roundTrip(func(req *http.Request) (*http.Response, error) { return respond(req, status, "abc"), nil })
	client, err := chats.New(1, chats.APIKey("key"), withContract(t, server), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
		if rangeHeader != "" {
			req.Header.Set("Range", rangeHeader)
		}
		return nil
	}))
	require.NoError(t, err)
	return client
}

func TestDownload_FailingCredentialSourceSendsNothing(t *testing.T) {
	t.Parallel()
	client, err := chats.New(1, chats.APIKeySource(func(context.Context) (string, error) { return "", errDisk }), chats.WithHTTPClient(forbidRequests(t)))
	require.NoError(t, err)
	_, err = download(t, client, "https://api.partner.market.yandex.ru/a")
	require.ErrorIs(t, err, errDisk)
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Zero(t, e.Attempts)
}

func TestDownload_AttemptTimeoutBoundsHeadersAndContextBoundsBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		file := market.AddFile("a.jpg", []byte("content"))
		client := newClient(t, market)
		began := time.Now()
		market.Fail(chatstest.OpDownload, chatstest.SlowHeaders(time.Hour))
		_, err := download(t, client, file.URL)
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Contains(t, err.Error(), "no response within RetryPolicy.AttemptTimeout")
		assert.Equal(t, 30*time.Second, time.Since(began))

		market.Fail(chatstest.OpDownload, chatstest.SlowBody(time.Hour))
		got, err := download(t, client, file.URL)
		require.NoError(t, err)
		assert.Equal(t, "content", got)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		market.Fail(chatstest.OpDownload, chatstest.SlowBody(time.Hour))
		body, err := client.Download(ctx, file)
		require.NoError(t, err)
		_, err = io.ReadAll(body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, body.Close())

		reason := errors.New("shutting down")
		stopping, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(reason) })
		market.Fail(chatstest.OpDownload, chatstest.SlowHeaders(time.Hour))
		_, err = client.Download(stopping, file)
		require.ErrorIs(t, err, reason)
	})
}

// The bubble fails if a goroutine is left in it.
func TestDownload_EarlyCloseReleasesEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		file := market.AddFile("a.jpg", randomBytes(1<<20))
		market.Fail(chatstest.OpDownload, chatstest.EndlessBody(), chatstest.SlowBody(time.Hour))
		client := newClient(t, market, chats.WithMaxParallel(1))
		for range 3 {
			body, err := client.Download(t.Context(), file)
			require.NoError(t, err)
			_, err = io.ReadFull(body, make([]byte, 10))
			require.NoError(t, err)
			require.NoError(t, client.SendText(t.Context(), market.AddChat(chats.Chat{}), "Пока"), "a download takes no slot")
			require.NoError(t, body.Close())
		}
	})
	// Closing the body ends the request's context.
	var requested context.Context
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		requested = req.Context() //nolint:fatcontext // the test checks it later
		return respond(req, http.StatusOK, "content"), nil
	})}))
	body, err := client.Download(t.Context(), chats.File{URL: "https://files.example/a"})
	require.NoError(t, err)
	require.NoError(t, requested.Err())
	require.NoError(t, body.Close())
	require.ErrorIs(t, requested.Err(), context.Canceled)

	// On a socket, goleak finds a connection that is left open.
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	body, err = newClientAt(t, base.URL, chats.APIKey("key")).Download(t.Context(), chats.File{URL: base.URL})
	require.NoError(t, err)
	require.NoError(t, body.Close())
}

func TestDownload_EndlessErrorPageIsBounded(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		for {
			if _, err := w.Write([]byte(strings.Repeat("no ", 300_000))); err != nil {
				return
			}
		}
	})
	_, err := download(t, newClientAt(t, base.URL, chats.APIKey("key")), base.URL)
	require.ErrorIs(t, err, chats.ErrServer)
	assert.Less(t, len(err.Error()), 700)
}

// The key that was sent is redacted, not the one that the source returns next, and so
// are the headers that the caller adds.
func TestDownload_ErrorRedactsEchoedCredential(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "denied to "+r.Header.Get("Api-Key")+" and "+r.Header.Get("Authorization"), http.StatusForbidden)
	})
	calls := 0
	client := newClientAt(t, base.URL, chats.APIKeySource(func(context.Context) (string, error) {
		calls++
		return fmt.Sprintf("SECRET-KEY-%d", calls), nil
	}), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "OAuth ANOTHER-SECRET")
		return nil
	}))
	_, err := client.Download(t.Context(), chats.File{URL: base.URL})
	require.ErrorIs(t, err, chats.ErrForbidden)
	require.ErrorContains(t, err, "denied to [redacted] and OAuth [redacted]")
	assert.Equal(t, 1, calls)
}

// A short value is redacted if it is the key. In other headers only long values are
// treated as secrets.
func TestDownload_RedactsShortKeyButNoOtherShortValue(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Header.Get("Api-Key")+" of "+r.Header.Get("X-Session"), http.StatusForbidden)
	})
	for session, want := range map[string]string{"12345678": "[redacted] of [redacted]", "denied!": "[redacted] of denied!"} {
		client := newClientAt(t, base.URL, chats.APIKey("k3y"), chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
			req.Header.Set("X-Session", session)
			return nil
		}))
		_, err := client.Download(t.Context(), chats.File{URL: base.URL})
		require.ErrorIs(t, err, chats.ErrForbidden)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "k3y")
	}
}
