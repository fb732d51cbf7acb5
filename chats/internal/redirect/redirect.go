// Package redirect decides which redirects an HTTP client follows, and what it sends after one.
package redirect

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Refuse returns a copy of client that does not follow redirects: it returns the response instead,
// without its Location.
func Refuse(client *http.Client) *http.Client {
	own := *client
	own.Transport = hideLocation{cmp.Or(client.Transport, http.DefaultTransport)}
	return &own
}

// hideLocation hides the target of a redirect from net/http. CheckRedirect is called too
// late: by then the address has been parsed and the body rewound, and if either fails,
// the response and its status are lost.
type hideLocation struct{ next http.RoundTripper }

func (t hideLocation) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp != nil && resp.StatusCode/100 == 3 {
		resp.Header = resp.Header.Clone()
		resp.Header.Del("Location")
	}
	return resp, err
}

// Strip returns a copy of client that drops all headers except User-Agent and Accept-Encoding once
// a redirect leads to another host, and then asks the CheckRedirect of client, if it has one.
// net/http would forward most headers, including the Api-Key and the link itself as Referer, and
// would restore them if a redirect led back.
func Strip(client *http.Client) *http.Client {
	own := *client
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
