package chatstest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ymchats/ymchats-go/chats"
)

// ServeHTTP makes the Market an [http.Handler], for a server of the user's own.
// An answer that a fault drops or cuts off panics with [http.ErrAbortHandler],
// as net/http wants it. Files then need [WithFileBase].
func (m *Market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := route(r.Method, r.URL.Path)
	v := m.arrive(op)
	defer v.leave()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxFormBody+1))
	if err != nil || v.fault.refused {
		panic(http.ErrAbortHandler)
	}
	rep, err := m.serve(r.Context(), v, newRequest(r, op, body))
	if err != nil || rep.dropped {
		panic(http.ErrAbortHandler)
	}
	for name, values := range rep.header {
		w.Header()[name] = values
	}
	w.WriteHeader(rep.status)
	if err := rep.write(w, r, v.leave); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// write counts the request out before the client can have the whole answer: its
// next request may be quicker than this goroutine.
func (r reply) write(w http.ResponseWriter, req *http.Request, leave func()) error {
	body := &stream{reply: r}
	flush := http.NewResponseController(w).Flush
	for {
		piece, err := body.next(req.Context())
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // net/http ends the connection where less was written than declared
		}
		if err != nil {
			return err
		}
		if r.endless || body.over() {
			leave()
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		if r.pause > 0 {
			_ = flush() // a writer that cannot flush has nothing to hold back
		}
	}
}

// Server is a [Market] on a listener of the loopback interface.
type Server struct {
	*Market

	// URL is the base URL, without a slash at its end.
	URL  string
	http *httptest.Server
}

// NewServer starts a Market on a listener and closes it with the test. Within
// testing/synctest use [Market.Transport]: a socket is not durably blocked.
func NewServer(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	return newServer(tb, (*httptest.Server).Start, options)
}

// NewTLSServer is [NewServer] over https. [Server.Client] and [Server.Transport]
// trust its certificate.
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
		s.http.CloseClientConnections() // ends an endless answer
		s.http.Close()
	})
	s.URL = s.http.URL
	s.Market = NewMarket(append([]Option{WithFileBase(s.URL)}, options...)...)
	return s
}

// Transport goes to the server over its listener.
func (s *Server) Transport() http.RoundTripper { return s.http.Client().Transport }

// Client makes a client of the server. Options come after the server's own.
func (s *Server) Client(options ...chats.Option) *chats.Client {
	options = append([]chats.Option{chats.WithBaseURL(s.URL)}, options...)
	return s.client(&http.Client{Transport: s.Transport()}, options)
}
