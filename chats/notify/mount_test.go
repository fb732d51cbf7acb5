package notify_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func postTo(t *testing.T, handler http.Handler, path string) int {
	t.Helper()
	conn := dial(t, handler)
	go func() {
		_, _ = io.WriteString(conn, strings.Replace(head(sentBody, len(sentBody)), "/notification", path, 1))
	}()
	return readStatus(t, conn)
}

// The paths that Market posts to, for every way of entering the address.
func TestMount_ServesWhatMarketPostsTo(t *testing.T) {
	t.Parallel()
	for mounted, addresses := range map[string][]string{
		"/market": {
			"/market", "/market/", "/market//", "//market", "/market/notification", "/market/notification/", "/market//notification",
			"/market?shop=1", "/./market", "/%6Darket/",
		},
		"/market/":    {"/market", "/market/", "/market/notification"},
		"/market//":   {"/market"},
		"/":           {"", "/", "//", "/notification"},
		"/shops/7431": {"/shops/7431", "/shops/7431/", "/shops//7431/"},
		"/маркет":     {"/%D0%BC%D0%B0%D1%80%D0%BA%D0%B5%D1%82", "/%D0%BC%D0%B0%D1%80%D0%BA%D0%B5%D1%82/"},
	} {
		for _, address := range addresses {
			path, query, _ := strings.Cut(address, "?")
			posted := []string{path + "/notification?" + query}
			if path != "" {
				posted = append(posted, address)
			}
			synctest.Test(t, func(t *testing.T) {
				var shop counter
				mux := http.NewServeMux()
				handler := newHandler(t, shop.handle, notify.WithDedupe(0, 0)).Mount(mux, mounted)
				for i, path := range posted {
					assert.Equal(t, http.StatusOK, postTo(t, handler, path), "%s: %s", mounted, path)
					assert.Equal(t, i+1, shop.count(), "%s: %s", mounted, path)
				}
			})
		}
	}
}

// The mux alone serves every path without a double slash.
func TestMount_MuxServesCleanPaths(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	newHandler(t, accept).Mount(mux, "/market")
	for _, path := range []string{
		"/market", "/market/", "/market/notification", "/market/notification/", "/market/notification/notification",
		"/market/notification/notification/",
	} {
		r := request(sentBody)
		r.URL.Path = path
		assert.Equal(t, http.StatusOK, send(t, mux, r).status, path)
	}
}

func TestMount_LeavesOtherRequestsToMux(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, pattern := range []string{"GET /", "POST /market/orders", "POST /{shop}/notification"} {
		mux.Handle(pattern, page) // none of them must conflict
	}
	handler := newHandler(t, accept).Mount(mux, "/market")
	for target, want := range map[string]int{
		"POST /market/notification":  http.StatusOK,
		"POST /market//notification": http.StatusOK,
		"GET /market/notification":   http.StatusTeapot,
		"POST /market/orders":        http.StatusTeapot,
		"POST /market//orders":       http.StatusTemporaryRedirect,
		"GET /market//notification":  http.StatusTemporaryRedirect,
		"POST /other/notification":   http.StatusTeapot,
		"POST /orders":               http.StatusMethodNotAllowed,
		"POST /market/a/b":           http.StatusMethodNotAllowed,
	} {
		synctest.Test(t, func(t *testing.T) {
			method, path, _ := strings.Cut(target, " ")
			conn := dial(t, handler)
			go func() {
				_, _ = io.WriteString(conn, strings.Replace(head(pingBody, len(pingBody)), "POST /notification", method+" "+path, 1))
			}()
			status := readStatus(t, conn)
			if want == http.StatusTemporaryRedirect {
				assert.Contains(t, []int{http.StatusMovedPermanently, http.StatusTemporaryRedirect}, status, target) // depends on the Go version
				return
			}
			assert.Equal(t, want, status, target)
		})
	}
}

// Each returned handler serves all the handlers mounted on the mux.
func TestMount_SeveralHandlers(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	var first, second counter
	handlers := []http.Handler{newHandler(t, first.handle, notify.WithDedupe(0, 0)).Mount(mux, "/first"), newHandler(t, second.handle, notify.WithDedupe(0, 0)).Mount(mux, "/second")}
	for _, handler := range handlers {
		for _, path := range []string{"/first//notification", "/second//notification"} {
			r := request(sentBody)
			r.URL.Path = path
			assert.Equal(t, http.StatusOK, send(t, handler, r).status, path)
			assert.Equal(t, path, r.URL.Path, "the request is not modified")
		}
	}
	assert.Equal(t, 2, first.count())
	assert.Equal(t, 2, second.count())
}

func TestMount_ChecksPath(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept)
	for _, path := range []string{
		"", "market", "https://shop.example/market", "shop.example/market", "POST /market", "/a//b", "/a/./b", "/a/../b", "/..",
		"/{shop}", "/a}", "/market?a=b", "/market#a", "/a b", "/a\tb", "/a\nb", "/a%2Fb", "/\xff",
	} {
		mux := http.NewServeMux()
		err := panicOf(func() { handler.Mount(mux, path) })
		var argument *chats.ArgumentError
		require.ErrorAs(t, err, &argument, path)
		assert.Equal(t, "notify", argument.Package)
		assert.Equal(t, "path", argument.Field)
	}
	require.ErrorIs(t, panicOf(func() { handler.Mount(nil, "/market") }), chats.ErrInvalidArgument)
}

func TestMount_TwicePanics(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	handler := newHandler(t, accept)
	handler.Mount(mux, "/market")
	assert.Panics(t, func() { handler.Mount(mux, "/market/") })
	assert.NotPanics(t, func() { handler.Mount(mux, "/other") })
}

func panicOf(f func()) (err error) {
	defer func() { err, _ = recover().(error) }()
	f()
	return nil
}
