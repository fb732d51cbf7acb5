package chats

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/internal/envelope"
)

// ownTransport is a copy of the default transport that trusts a test's server.
func ownTransport(t *testing.T, server *httptest.Server) *http.Transport {
	t.Helper()
	transport, is := defaultTransport().(*http.Transport)
	require.True(t, is)
	own := transport.Clone()
	own.TLSClientConfig.RootCAs = x509.NewCertPool()
	own.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	own.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	t.Cleanup(own.CloseIdleConnections)
	return own
}

func secureServer(t *testing.T, version uint16) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status":"OK","result":{"chatId":1}}`))
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
	server.Config.SetKeepAlivesEnabled(false)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused handshake is what is tested
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestTheDefaultTransport(t *testing.T) {
	t.Parallel()
	transport, is := defaultTransport().(*http.Transport)
	require.True(t, is)
	assert.NotSame(t, http.DefaultTransport, transport)
	assert.NotNil(t, transport.TLSClientConfig.ClientSessionCache)
	assert.GreaterOrEqual(t, transport.TLSClientConfig.MinVersion, uint16(tls.VersionTLS12))
	assert.Positive(t, transport.TLSHandshakeTimeout)
	assert.Zero(t, transport.ResponseHeaderTimeout, "AttemptTimeout alone says how long to wait")
	assert.Positive(t, transport.MaxResponseHeaderBytes)
	assert.Equal(t, 30*time.Second, transport.IdleConnTimeout)
	assert.Nil(t, transport.Proxy, "nothing is read from the environment")
	assert.False(t, transport.ForceAttemptHTTP2)

	one, err := New(1, APIKey("key"))
	require.NoError(t, err)
	two, err := New(2, APIKey("key"))
	require.NoError(t, err)
	assert.Same(t, transport, one.config.client.Transport)
	assert.Same(t, transport, two.config.client.Transport, "the sessions are shared")
}

// The vendor closes every connection; a call then costs a handshake, and a resumed
// one costs half.
func TestTLSSessionsAreResumed(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := secureServer(t, version)
		var resumed []bool
		transport := ownTransport(t, server)
		client, err := New(1, APIKey("key"), WithBaseURL(server.URL), WithHTTPClient(&http.Client{Transport: resumption{transport, &resumed}}))
		require.NoError(t, err)
		for range 3 {
			_, err := client.Chat(t.Context(), 1)
			require.NoError(t, err)
		}
		assert.Equal(t, []bool{false, true, true}, resumed)
	}
}

type resumption struct {
	next http.RoundTripper
	seen *[]bool
}

func (r resumption) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err == nil {
		*r.seen = append(*r.seen, resp.TLS.DidResume)
	}
	return resp, err
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	server := secureServer(t, tls.VersionTLS11)
	client, err := New(1, APIKey("key"), WithBaseURL(server.URL), WithRetry(RetryPolicy{MaxAttempts: 1}),
		WithHTTPClient(&http.Client{Transport: ownTransport(t, server)}))
	require.NoError(t, err)
	_, err = client.Chat(t.Context(), 1)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "protocol version")
}

// Hosts that were given as a client without a transport use net/http's own.
func TestAClientWithoutATransport(t *testing.T) {
	t.Parallel()
	client, err := New(1, APIKey("key"), WithHTTPClient(&http.Client{Timeout: time.Minute}))
	require.NoError(t, err)
	assert.Nil(t, client.config.client.Transport, "redirect.Refuse uses net/http's own then")
}

func TestResponse_ReleaseOfNone(t *testing.T) {
	t.Parallel()
	assert.NotPanics(t, func() { (*response)(nil).release() })
}

// What was decoded into a prepared page shows whether there was a list.
func TestReadList_NoticesThatThereIsNoList(t *testing.T) {
	t.Parallel()
	type page struct{ List []int }
	read := func(body string, prepared *page) error {
		decoded, err := envelope.Decode(envelope.Body{Text: []byte(body)}, prepared)
		require.NoError(t, err)
		_, _, err = readList(decoded.List, 1, errNoChats, func(n *int) (int, error) { return *n, nil })
		return err
	}
	for body, want := range map[string]error{
		`{"status":"OK","result":{"list":[]}}`: nil, `{"status":"OK","result":{"list":[1]}}`: nil,
		`{"status":"OK","result":{"list":null}}`: errNoChats, `{"status":"OK","result":{}}`: errNoChats, `{"status":"OK"}`: errNoChats,
	} {
		for _, size := range []int{1, 100} {
			assert.Equal(t, want, read(body, &page{List: make([]int, 0, size)}), body)
		}
	}
	_, _, err := readList[int, int](nil, 1, errNoChats, nil)
	require.ErrorIs(t, err, errNoChats)
}
