package chats

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// defaultTransport is one for all clients that bring none: they share its TLS
// sessions. Market closes every connection, so that a call costs a handshake, and
// a resumed one costs half. Nothing is read from the environment: for a proxy
// pass a client of your own. HTTP/1.1 only, because there "not connected" means
// "not sent", which is what the repeating of a send stands on.
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

// withRedirects copies the client, which may be shared, and sets how the copy
// follows redirects.
func withRedirectPolicy(client *http.Client, check func(*http.Request, []*http.Request) error) *http.Client {
	own := *client
	own.CheckRedirect = check
	return &own
}

// noLocation hides from net/http where an answer redirects to. CheckRedirect comes
// too late to refuse: by then the address has been parsed and the body rewound, and
// where either fails the answer with its status is lost.
type hideLocation struct{ next http.RoundTripper }

func (t hideLocation) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp != nil && resp.StatusCode/100 == 3 {
		resp.Header = resp.Header.Clone()
		resp.Header.Del("Location")
	}
	return resp, err
}

// origin tells two hosts apart: another scheme or port is another host.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
