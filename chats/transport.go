package chats

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/recent"
)

// defaultTransport returns the transport of all clients that are created without
// [WithHTTPClient]. They share its TLS sessions: Market closes every connection, so each
// request costs a handshake, and resuming a session halves that cost. It reads nothing from
// the environment; to use a proxy, pass your own client. It speaks only HTTP/1.1, in which
// "not connected" means "not sent"; retries of sends rely on that.
var defaultTransport = sync.OnceValue(func() http.RoundTripper {
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(64),
		},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
	}
})

// silentServers are the servers that have closed connections of the default transport unannounced;
// Market does not support keep-alive. The clients that share the connections share it.
var silentServers recent.Set[string]

// withRedirectPolicy returns a copy of client, which may be shared, with check as its
// CheckRedirect.
func withRedirectPolicy(client *http.Client, check func(*http.Request, []*http.Request) error) *http.Client {
	own := *client
	own.CheckRedirect = check
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

// origin returns the scheme, host and port of u. Hosts with a different scheme or port count
// as different hosts.
func origin(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
