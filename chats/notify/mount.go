package notify

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mount registers the handler on mux for notifications to a URL that was entered in the seller's
// cabinet with the given path. It registers the path itself, the path with the /notification that
// Market appends, and the path with /notification twice, in case the URL already ends with
// /notification. Each is registered with and without a trailing slash, and for POST only, so mux
// can serve other methods on these paths.
//
// Serve the returned handler instead of mux. If the URL was entered with a trailing slash, Market
// posts to a path with a double slash. An [http.ServeMux] redirects such a request before matching
// patterns, and Market is not known to follow redirects. The returned handler instead cleans the
// path if the clean path leads to a [Handler] on mux; all other requests reach mux unchanged.
//
// The path must begin with a slash and, apart from slashes at its end, must not contain empty or
// dot segments, wildcards, escapes, whitespace, a query or a host. Mount panics with a
// [chats.ArgumentError] if mux is nil or the path is invalid. Like [http.ServeMux.Handle], it also
// panics if a pattern conflicts with a pattern that is already registered.
func (h *Handler) Mount(mux *http.ServeMux, path string) http.Handler {
	if mux == nil {
		panic(badArgument("mux", "is nil"))
	}
	if err := checkPath(path); err != nil {
		panic(err)
	}
	base := strings.TrimRight(path, "/")
	for _, p := range []string{base, base + "/notification", base + "/notification/notification"} {
		if p != "" {
			mux.Handle("POST "+p, h)
		}
		mux.Handle("POST "+p+"/{$}", h)
	}
	return slashCleaner{mux}
}

func checkPath(p string) error {
	base := strings.TrimRight(p, "/")
	switch {
	case !strings.HasPrefix(p, "/"):
		return badArgument("path", "must begin with a slash")
	case base != "" && path.Clean(base) != base:
		return badArgument("path", "must not have empty or dot segments")
	case !utf8.ValidString(p) || strings.ContainsAny(p, "{}%?#") || strings.ContainsFunc(p, isSpaceOrControl):
		return badArgument("path", "must not have wildcards, escapes, whitespace or a query")
	}
	return nil
}

func isSpaceOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// slashCleaner serves a mux, without redirecting requests for its Handlers to a clean path.
type slashCleaner struct {
	mux *http.ServeMux
}

func (c slashCleaner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if clean := path.Clean("/" + r.URL.Path); clean != r.URL.Path {
		cleaned := withPath(r, clean)
		if handler, _ := c.mux.Handler(cleaned); isMounted(handler) {
			r = cleaned
		}
	}
	c.mux.ServeHTTP(w, r)
}

func isMounted(handler http.Handler) bool {
	_, ok := handler.(*Handler)
	return ok
}

// withPath returns a copy of r with another path.
func withPath(r *http.Request, path string) *http.Request {
	cleaned := *r
	cleaned.URL = new(url.URL)
	*cleaned.URL = *r.URL
	cleaned.URL.Path, cleaned.URL.RawPath = path, ""
	return &cleaned
}
