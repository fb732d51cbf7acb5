package chats_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// An object store serves a .gz file with Content-Encoding: gzip, whatever was asked for.
func TestDownload_StoredGzipIsNotUnpacked(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	compressed := gzip.NewWriter(&file)
	_, _ = compressed.Write(make([]byte, 5<<20))
	require.NoError(t, compressed.Close())
	for _, length := range []bool{true, false} {
		base := newFileServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			if length {
				w.Header().Set("Content-Length", strconv.Itoa(file.Len()))
			}
			_, _ = w.Write(file.Bytes())
		})
		client := newClientAt(t, base.URL, chats.APIKey("key"))
		attachment, err := client.Download(t.Context(), chats.File{Name: "отчёт.csv.gz", URL: base.URL + "/a", Size: int64(file.Len())})
		require.NoError(t, err)
		content, err := io.ReadAll(attachment)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(file.Bytes(), content), "%d bytes", len(content))
		require.NoError(t, attachment.Close())
		assert.Equal(t, []string{"identity"}, base.headers()[0]["Accept-Encoding"])
	}
}

func TestDownload_ShortContentIsError(t *testing.T) {
	t.Parallel()
	chunked := func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "content")
	}
	closesEarly := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "content")
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		size    int64 // of the File
		short   bool
	}{
		{"no length, no size", chunked, 0, false},
		{"no length, the size", chunked, 7, false},
		{"no length, longer than the size", chunked, 6, false},
		{"no length, shorter than the size", chunked, 8, true},
		{"the length, shorter than the size", content, 8, true},
		{"the length, no size", content, 0, false},
		{"shorter than the length", closesEarly, 0, true},
		{"shorter than the length, the size", closesEarly, 7, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := newFileServer(t, tt.handler)
			attachment, err := newClientAt(t, base.URL, chats.APIKey("key")).Download(t.Context(), chats.File{URL: base.URL, Size: tt.size})
			require.NoError(t, err)
			got, err := io.ReadAll(attachment)
			require.NoError(t, attachment.Close())
			assert.Equal(t, "content", string(got))
			if !tt.short {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, chats.OpDownload, e.Operation)
			assert.Equal(t, http.StatusOK, e.StatusCode)
		})
	}
}

// A transport of the caller's need not check the length.
func TestDownload_LengthIsCheckedWithAnyTransport(t *testing.T) {
	t.Parallel()
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusOK, "content")
		resp.ContentLength = 10
		return resp, nil
	})}))
	_, err := readAttachment(t, client, chats.File{URL: "https://files.example/a"})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "3 bytes are missing")
}

func readAttachment(t *testing.T, client *chats.Client, file chats.File) (string, error) {
	t.Helper()
	attachment, err := client.Download(t.Context(), file)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(attachment)
	return string(content), errors.Join(err, attachment.Close())
}

func TestDownload_ReadErrorHidesCredential(t *testing.T) {
	t.Parallel()
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusOK, "")
		resp.ContentLength = -1
		auth := req.Header.Get("Authorization")
		resp.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, fmt.Errorf("lost %s: %w", auth, errDisk) }))
		return resp, nil
	})}), withAttachmentHeader("Authorization", "OAuth ANOTHER-SECRET"))
	_, err := readAttachment(t, client, chats.File{URL: "https://files.example/a"})
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	require.ErrorContains(t, err, "lost OAuth [redacted]")
	assert.NotContains(t, err.Error(), "ANOTHER-SECRET")
}

func TestDownload_DescribesAttachment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ disposition, fileName, want string }{
		{``, "фото.jpg", "фото.jpg"},
		{`attachment`, "фото.jpg", "фото.jpg"},
		{`attachment; filename="a.jpg"`, "фото.jpg", "a.jpg"},
		{`inline; filename="a.jpg"; filename*=UTF-8''%D1%84%D0%BE%D1%82%D0%BE.jpg`, "", "фото.jpg"},
		{`attachment; filename="=?UTF-8?B?0YTQvtGC0L4uanBn?="`, "", "фото.jpg"},
		{`attachment; filename="../../etc/passwd"`, "", "passwd"},
		{`attachment; filename="C:\\Users\\a.jpg"`, "", "a.jpg"},
		{`attachment; filename="C:a.jpg"`, "", "a.jpg"},
		{`attachment; filename="C:D:a.jpg"`, "", "a.jpg"},
		{`attachment; filename="C:D:.."`, "E:F:b.jpg", "b.jpg"},
		{`attachment; filename="C:.."`, "12:30.jpg", "12:30.jpg"},
		{`attachment; filename=".."`, "b.jpg", "b.jpg"},
		{`attachment; filename=""`, "../b.jpg", "b.jpg"},
		{`attachment; filename*=UTF-8''a%0D%0Ab.jpg`, "b.jpg", "b.jpg"},
		{`attachment; filename*=UTF-8''a%00`, "a\x00", ""},
		{`attachment; filename="unterminated`, "b.jpg", "b.jpg"},
		{``, `..\..\`, ""},
		{``, "", ""},
	} {
		base := newFileServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg")
			if tt.disposition != "" {
				w.Header().Set("Content-Disposition", tt.disposition)
			}
			_, _ = io.WriteString(w, "content")
		})
		attachment, err := newClientAt(t, base.URL, chats.APIKey("key")).Download(t.Context(), chats.File{Name: tt.fileName, URL: base.URL})
		require.NoError(t, err)
		require.NoError(t, attachment.Close())
		assert.Equal(t, tt.want, attachment.Name, "%s, %s", tt.disposition, tt.fileName)
		assert.Equal(t, "image/jpeg", attachment.ContentType)
		assert.EqualValues(t, 7, attachment.Size)
	}
	base := newFileServer(t, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() })
	attachment, err := newClientAt(t, base.URL, chats.APIKey("key")).Download(t.Context(), chats.File{URL: base.URL})
	require.NoError(t, err)
	require.NoError(t, attachment.Close())
	assert.EqualValues(t, -1, attachment.Size)
}

// redirectTo redirects to the query's "to", if it has one.
func redirectTo(w http.ResponseWriter, r *http.Request) {
	if to := r.URL.Query().Get("to"); to != "" {
		redirect(to)(w, r)
		return
	}
	content(w, r)
}

// Once a download has left the host of the base URL, nothing is added again.
func TestDownload_RedirectBackGetsNoCredential(t *testing.T) {
	t.Parallel()
	base, other := newFileServer(t, redirectTo), newFileServer(t, redirectTo)
	client := newClientAt(t, base.URL, chats.APIKey("ACMA:secret:1"), withAttachmentHeader("X-Session", "a session"))
	away := other.URL + "/away?to=" + url.QueryEscape(base.URL+"/back")
	got, err := readAttachment(t, client, chats.File{URL: base.URL + "/a?to=" + url.QueryEscape(away)})
	require.NoError(t, err)
	assert.Equal(t, "content", got)
	require.Len(t, base.headers(), 2)
	assert.Equal(t, "ACMA:secret:1", base.headers()[0].Get("Api-Key"))
	assertPlain(t, other.headers()[0])
	assertPlain(t, base.headers()[1])
}

func TestDownload_AsksCallersCheckRedirect(t *testing.T) {
	t.Parallel()
	base := newFileServer(t, redirectTo)
	var asked []string
	refusal := error(nil)
	client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL(base.URL), chats.WithHTTPClient(&http.Client{
		Transport: base.Client().Transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			asked = append(asked, via[0].URL.Path+" to "+req.URL.Path)
			return refusal
		},
	}))
	require.NoError(t, err)
	got, err := readAttachment(t, client, chats.File{URL: base.URL + "/a?to=/end"})
	require.NoError(t, err)
	assert.Equal(t, "content", got)
	assert.Equal(t, []string{"/a to /end"}, asked)

	refusal = errDisk
	_, err = readAttachment(t, client, chats.File{URL: base.URL + "/a?to=/end"})
	require.ErrorIs(t, err, errDisk)
	refusal = http.ErrUseLastResponse
	_, err = readAttachment(t, client, chats.File{URL: base.URL + "/a?to=/end"})
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, http.StatusFound, e.StatusCode)
	assert.Len(t, base.headers(), 4, "only the first redirect was followed")
}

func TestDownload_EscapedSlashStays(t *testing.T) {
	t.Parallel()
	var paths []string
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		if paths = append(paths, r.RequestURI); len(paths) == 1 {
			redirect("/c%2Fd/e%20f?x=%2F%3d")(w, r)
			return
		}
		content(w, r)
	})
	_, err := readAttachment(t, newClientAt(t, base.URL, chats.APIKey("key")), chats.File{URL: base.URL + "/file_shortterm/a%2Fb%2fc/%D1%84?id=1%2F2&e="})
	require.NoError(t, err)
	assert.Equal(t, []string{"/file_shortterm/a%2Fb%2fc/%D1%84?id=1%2F2&e=", "/c%2Fd/e%20f?x=%2F%3d"}, paths)
}

// A link may contain the file's name unescaped. The rest of the link must be sent unchanged.
func TestDownload_EscapesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	var got, target string
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusFound)
			return
		}
		got = r.RequestURI
		content(w, r)
	})
	client := newClientAt(t, base.URL, chats.APIKey("key"))
	for link, want := range map[string]string{
		"/a%2Fb/вид сбоку.jpg":         "/a%2Fb/%D0%B2%D0%B8%D0%B4%20%D1%81%D0%B1%D0%BE%D0%BA%D1%83.jpg",
		"/a%2fb|c^{d}`\\\"<>[e]":       "/a%2fb%7Cc%5E%7Bd%7D%60%5C%22%3C%3E[e]",
		"/a?name=my file.pdf&b=%2F+":   "/a?name=my%20file.pdf&b=%2F+",
		"/a?name=вид.pdf&b=\"<{|}>&c=": "/a?name=%D0%B2%D0%B8%D0%B4.pdf&b=\"<{|}>&c=",
		"/a%2Fb?c \n":                  "/a%2Fb?c",
		"/a%2Fb?":                      "/a%2Fb?",
		"/a%2Fb/-50%.jpg?c=%2F":        "/a%2Fb/-50%25.jpg?c=%2F",
		"/%d/a%%2Fb%F":                 "/%25d/a%25%2Fb%25F",
	} {
		_, err := readAttachment(t, client, chats.File{URL: base.URL + link})
		require.NoError(t, err, link)
		assert.Equal(t, want, got)

		target, got = strings.TrimSpace(link), "" // a header has no whitespace at its ends
		_, err = readAttachment(t, client, chats.File{URL: base.URL + "/redirect"})
		assert.NoError(t, err, link)
		assert.Equal(t, want, got, "after a redirect")
	}
	_, err := client.Download(t.Context(), chats.File{URL: "https://files.example/a\tb"})
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
}

func TestAttachmentOAuth_AddsTokenForMarketsHostsOnly(t *testing.T) {
	t.Parallel()
	calls := 0
	auth := chats.AttachmentOAuth(func(context.Context) (string, error) { calls++; return "y0_token", nil })
	for link, want := range map[string]string{
		"https://files.messenger.yandex.net/a":           "OAuth y0_token",
		"https://files.messenger.yandex.ru:443/a":        "OAuth y0_token",
		"https://FILES.messenger.yandex.ru/a":            "OAuth y0_token",
		"http://files.messenger.yandex.net/a":            "",
		"https://files.messenger.yandex.net:8443/a":      "",
		"https://files.messenger.yandex.net.evil/a":      "",
		"https://xfiles.messenger.yandex.net/a":          "",
		"https://evil/files.messenger.yandex.net":        "",
		"https://api.partner.market.yandex.ru/a":         "",
		"https://files.messenger.yandex.net@evil/a":      "",
		"https://evil#https://files.messenger.yandex.ru": "",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
		require.NoError(t, err)
		require.NoError(t, auth(t.Context(), req))
		assert.Equal(t, want, req.Header.Get("Authorization"), link)
	}
	assert.Equal(t, 3, calls, "the token is asked for only where it is used")

	market := chatstest.NewMarket(chatstest.WithFileBase("https://files.messenger.yandex.net"))
	file := market.AddFile("a.jpg", []byte("content"))
	for want, token := range map[string]func(context.Context) (string, error){
		"the disk is gone": func(context.Context) (string, error) { return "", errDisk },
		"empty":            func(context.Context) (string, error) { return "", nil },
		"space":            func(context.Context) (string, error) { return "OAuth y0_token", nil },
	} {
		client := newClient(t, market, chats.WithAttachmentAuth(chats.AttachmentOAuth(token)))
		_, err := client.Download(t.Context(), file)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "y0_token")
	}
	assert.Zero(t, market.Calls(chatstest.OpDownload))
	_, err := chats.New(1, chats.APIKey("key"), chats.WithAttachmentAuth(chats.AttachmentOAuth(nil)))
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
}
