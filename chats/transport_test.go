package chats_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

// newTLSServer returns a server that counts connections and responds to getChat.
func newTLSServer(t *testing.T) (server *httptest.Server, conns *atomic.Int32) {
	t.Helper()
	conns = &atomic.Int32{}
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		_, _ = io.WriteString(w, `{"status":"OK","result":{"chatId":1}}`)
	}))
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		conns.Add(1)
		return nil, nil
	}}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, conns
}

func TestWire_PermanentTLSErrorsAreNotRetried(t *testing.T) {
	t.Parallel()
	server, conns := newTLSServer(t)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	tests := map[string]*tls.Config{
		"unknown authority": {},
		"wrong name":        {RootCAs: roots, ServerName: "market.example"},
		"unknown authority, by the program's own check": ownVerification(server, func(o *x509.VerifyOptions) { o.Roots = x509.NewCertPool() }),
		"wrong name, by the program's own check":        ownVerification(server, func(o *x509.VerifyOptions) { o.DNSName = "market.example" }),
		"expired, by the program's own check":           ownVerification(server, func(o *x509.VerifyOptions) { o.CurrentTime = time.Now().AddDate(200, 0, 0) }),
		"rejected by the program's own check":           {RootCAs: roots, VerifyConnection: func(tls.ConnectionState) error { return errors.New("not the pinned one") }},
		"rejected by the program's older check":         {RootCAs: roots, VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return errors.New("not the pinned one") }},
		"expired":                                       {RootCAs: roots, Time: func() time.Time { return time.Now().AddDate(200, 0, 0) }},
	}
	for name, config := range tests {
		before := conns.Load()
		transport := &http.Transport{TLSClientConfig: config}
		client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL(server.URL), chats.WithHTTPClient(&http.Client{Transport: transport}),
			chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
		require.NoError(t, err)
		_, err = client.Chat(t.Context(), 1)
		var e *chats.Error
		require.ErrorAs(t, err, &e, name)
		assert.Equal(t, 1, e.Attempts, "%s: %v", name, err)
		assert.EqualValues(t, 1, conns.Load()-before, name)
		err = client.SendText(t.Context(), 1, "Да")
		require.Error(t, err, name)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown, name)
		require.ErrorAs(t, err, &e, name)
		assert.Equal(t, 1, e.Attempts, "%s: %v", name, err)
	}
}

// What the server refuses is no more likely to succeed the next time.
func TestWire_ServersThatRefuseTheClientAreNotRetried(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]*tls.Config{
		"versions":            {MaxVersion: tls.VersionTLS11},
		"ciphers":             {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
		"certificate":         {ClientAuth: tls.RequireAnyClientCert},
		"certificate, in 1.2": {ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
		"protocols":           {NextProtos: []string{"h3"}},
	} {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = config
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		own := server.Client()
		own.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
		client := newClientAt(t, server.URL, chats.APIKey("key"), chats.WithHTTPClient(own), chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
		_, err := client.Chat(t.Context(), 1)
		var e *chats.Error
		require.ErrorAs(t, err, &e, name)
		assert.Equal(t, 1, e.Attempts, "%s: %v", name, err)
		require.ErrorAs(t, client.SendText(t.Context(), 1, "Да"), &e, name)
		assert.Equal(t, 1, e.Attempts, "%s: %v", name, e)
	}
}

// ownVerification returns a configuration with which the program itself verifies the server.
func ownVerification(server *httptest.Server, change func(*x509.VerifyOptions)) *tls.Config {
	options := x509.VerifyOptions{Roots: x509.NewCertPool()}
	options.Roots.AddCert(server.Certificate())
	change(&options)
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		_, err := state.PeerCertificates[0].Verify(options)
		return err
	}}
}

func TestWire_ServerWithoutTLSIsNotRetried(t *testing.T) {
	t.Parallel()
	base := "http://" + newRawServer(t, func(_ *rawServer, conn net.Conn) {
		_, _ = io.WriteString(conn, "220 smtp.example ESMTP\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}).Addr().String()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, address := range []string{base, plain.URL} {
		client := newClientAt(t, "https"+address[len("http"):], chats.APIKey("key"), chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
		err := client.SendText(t.Context(), 1, "Да")
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 1, e.Attempts, "%v", err)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	}
}

// Other failures of a connection may pass.
func TestWire_OtherConnectionFailuresAreRetried(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{errors.New("no route"), &net.OpError{Op: "remote error", Err: tls.AlertError(80)}, io.EOF} {
		attempts := 0
		client, err := chats.New(1, chats.APIKey("key"), chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond, MaxAttempts: 3}),
			chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { attempts++; return nil, failure })}))
		require.NoError(t, err)
		_, err = client.Chat(t.Context(), 1)
		require.ErrorIs(t, err, failure)
		assert.Equal(t, 3, attempts)
	}
}

// Of a proxy's response, net/http returns the status text alone, which could be taken for Market's.
func TestWire_RefusalOfAProxyIsNoResponse(t *testing.T) {
	t.Parallel()
	proxy := newRawServer(t, func(_ *rawServer, conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		}
	}).Addr().String()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})}
	client, err := chats.New(1, chats.APIKey("key"), noRetry, chats.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	require.EqualError(t, client.SendText(t.Context(), 1, "Да"), "chats: sendMessageToChat: no connection: Forbidden")
	_, err = client.Chat(t.Context(), 1)
	require.EqualError(t, err, "chats: getChat: no connection: Forbidden")
}

// The transport of the documentation, also if the default one has been used before.
func TestTransport_OfTheDocumentationSpeaksHTTP1(t *testing.T) {
	t.Parallel()
	server, _ := newTLSServer(t)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	shared, ok := http.DefaultTransport.(*http.Transport)
	require.True(t, ok)
	for _, used := range []bool{false, true} {
		own := shared.Clone()
		own.TLSClientConfig = &tls.Config{RootCAs: roots}
		if used {
			resp, err := own.RoundTrip(httptest.NewRequest(http.MethodGet, server.URL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, "HTTP/2.0", resp.Header.Get("X-Proto"))
		}
		transport := own.Clone()
		transport.Proxy = http.ProxyFromEnvironment
		transport.TLSClientConfig = &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(0), RootCAs: roots}
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(true)
		resp, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, server.URL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "HTTP/1.1", resp.Header.Get("X-Proto"))
		own.CloseIdleConnections()
		transport.CloseIdleConnections()
	}
}
