package chats

import (
	"crypto/tls"
	"net"
	"net/http"
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
// Market does not support keep-alive. The clients that share the connections share this set.
var silentServers recent.Set[string]
