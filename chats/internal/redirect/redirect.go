// Package redirect decides which redirects an HTTP client follows, and what it sends after one.
package redirect

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Refuse returns a copy of client that does not follow redirects: it returns the response instead,
// without its Location.
func Refuse(client *http.Client) *http.Client {
	own := *client
	own.Transport = locations{cmp.Or(client.Transport, http.DefaultTransport), func(string) string { return "" }}
	return &own
}

// locations changes the targets of redirects before net/http reads them; if there is none, it hides
// the Location. CheckRedirect is called too late: by then the address has been parsed and the body
// rewound, and if either fails, the response and its status are lost.
type locations struct {
	next   http.RoundTripper
	change func(string) string
}

func (t locations) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp != nil && resp.StatusCode/100 == 3 {
		target := t.change(resp.Header.Get("Location"))
		resp.Header = resp.Header.Clone()
		resp.Header.Del("Location")
		if target != "" {
			resp.Header.Set("Location", target)
		}
	}
	return resp, err
}

// Strip returns a copy of client that drops all headers except User-Agent and Accept-Encoding once
// a redirect leads to another host, and then asks the CheckRedirect of client, if it has one.
// net/http would forward most headers, including the Api-Key and the link itself as Referer, and
// would restore them if a redirect led back. The targets of redirects are passed to Escape.
func Strip(client *http.Client) *http.Client {
	own := *client
	own.Transport = locations{cmp.Or(client.Transport, http.DefaultTransport), Escape}
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		req.Header.Del("Referer")
		home := Origin(via[0].URL)
		isForeign := func(r *http.Request) bool { return Origin(r.URL) != home }
		if isForeign(req) || slices.ContainsFunc(via, isForeign) {
			req.Header = http.Header{ //nolint:gosec // these are no secrets
				"User-Agent":      via[0].Header["User-Agent"],
				"Accept-Encoding": via[0].Header["Accept-Encoding"],
			}
		}
		if client.CheckRedirect == nil {
			return nil
		}
		return client.CheckRedirect(req, via)
	}
	return &own
}

// Origin returns the scheme, host and port of u. Hosts with a different scheme or port count
// as different hosts.
func Origin(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

var (
	authority = regexp.MustCompile(`^([^/?]*:)?//[^/?]*`)
	// Complete escapes, and what a URL cannot contain before its query, and in it.
	rawInPath  = regexp.MustCompile("%([0-9A-Fa-f]{2})?|[ \"<>\\\\^`{|}\\x80-\\x{10FFFF}]")
	rawInQuery = regexp.MustCompile(`[ \x80-\x{10FFFF}]`)
)

// Escape returns a link that net/url passes on unchanged. A link may contain a file name as its
// author wrote it, with spaces, percent signs and letters of any language. net/url rejects such a
// link, or escapes its whole path anew, in which %2F is already a slash; it sends a query as it is,
// even with spaces. Escape leaves the rest of the link as it is, byte for byte.
func Escape(link string) string {
	link = strings.TrimSpace(link)
	host := authority.FindString(link)
	path, query, hasQuery := strings.Cut(link[len(host):], "?")
	path = rawInPath.ReplaceAllStringFunc(path, func(raw string) string {
		if len(raw) == len("%2F") && raw[0] == '%' {
			return raw
		}
		return url.PathEscape(raw)
	})
	if hasQuery {
		query = "?" + rawInQuery.ReplaceAllStringFunc(query, url.PathEscape)
	}
	return host + path + query
}
