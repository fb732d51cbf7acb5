package chatstest

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ymchats/ymchats-go/chats"
)

// ServeHTTP makes the Market an [http.Handler] for a server of your own. If a fault drops the
// response, ServeHTTP panics with [http.ErrAbortHandler], as net/http expects; if a fault truncates
// the response, ServeHTTP writes less than the declared length, so that net/http closes the
// connection. Set [WithFileBase] to the server's URL, so that downloads reach it.
func (m *Market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := route(r.Method, r.URL.Path)
	f := m.begin(r.Context(), op)
	defer f.done()
	if f.fault.early {
		w.Header().Set("Connection", "close") // otherwise net/http reads the rest of the body
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, f.fault.bodyLimit()))
	if err != nil || f.fault.dialError {
		panic(http.ErrAbortHandler)
	}
	resp, err := m.serve(r.Context(), f, newRequest(r, op, body))
	if err != nil || resp.dropped {
		panic(http.ErrAbortHandler)
	}
	if resp.statusLine != "" {
		writeLine(w, resp.statusLine)
		return
	}
	resp.writeHeader(w)
	if err := resp.write(w, r, f.done); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (r response) writeHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	if r.undelimited {
		w.Header().Set("Transfer-Encoding", "identity") // net/http: not chunked
	}
	w.WriteHeader(r.status)
}

// writeLine writes the status line, which is not HTTP, and closes the connection.
func writeLine(w http.ResponseWriter, line string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(conn, line+"\r\n\r\n")
	_ = conn.Close()
}

// write calls done before the client can have received the whole response: the client's
// next request may arrive before this goroutine returns.
func (r response) write(w http.ResponseWriter, req *http.Request, done func()) error {
	body := &stream{response: r}
	flush := http.NewResponseController(w).Flush
	for {
		piece, err := body.next(req.Context())
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // net/http closes the connection if less was written than declared
		}
		if err != nil {
			return err
		}
		if r.endless || body.complete() {
			done()
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		if r.bodyDelay > 0 || r.length() < 0 { // otherwise net/http declares the length of a short body
			_ = flush() // a writer that cannot flush does not buffer
		}
	}
}

// Server is a [Market] on a loopback listener.
type Server struct {
	*Market

	// URL is the base URL, without a trailing slash.
	URL  string
	http *httptest.Server
}

// NewServer starts a Market on a listener, which is closed when the test ends. Within
// testing/synctest use [Market.Transport]: a goroutine that waits for a socket is not durably
// blocked.
func NewServer(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	return newServer(tb, (*httptest.Server).Start, options)
}

// NewTLSServer is like [NewServer] but uses HTTPS. [Server.Client] and [Server.Transport] trust the
// server's certificate.
func NewTLSServer(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	return newServer(tb, (*httptest.Server).StartTLS, options)
}

func newServer(tb testing.TB, start func(*httptest.Server), options []Option) *Server {
	tb.Helper()
	s := &Server{}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
	}))
	start(s.http)
	tb.Cleanup(func() {
		s.http.CloseClientConnections() // ends an endless response
		s.http.Close()
	})
	s.URL = s.http.URL
	s.Market = NewMarket()
	s.defaults = []Option{WithFileBase(s.URL)}
	s.SetOptions(options...)
	return s
}

// Transport returns a transport that trusts the server's certificate.
func (s *Server) Transport() http.RoundTripper { return s.http.Client().Transport }

// Client returns a client of the server. The options are applied after the server's own.
func (s *Server) Client(options ...chats.Option) *chats.Client {
	options = append([]chats.Option{chats.WithBaseURL(s.URL)}, options...)
	return s.client(&http.Client{Transport: s.Transport()}, options)
}
