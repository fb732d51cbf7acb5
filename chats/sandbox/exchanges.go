package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

const (
	maxExchanges  = 500      // in the log
	maxLoggedBody = 32 << 10 // of each request and response
	maxCheckBody  = chats.MaxFileSize + 64<<10
)

// exchange is one call to the API.
type exchange struct {
	N         int             `json:"n"`
	At        time.Time       `json:"at"`
	Millis    int64           `json:"ms"`
	Operation chats.Operation `json:"operation"` // empty: no operation has this method and path
	Method    string          `json:"method"`
	Target    string          `json:"target"` // path and query
	Status    int             `json:"status"` // 0: no response
	Fault     string          `json:"fault,omitempty"`
	Broken    []string        `json:"broken,omitempty"` // rules of the contract
	Max       string          `json:"max,omitempty"`    // the quota
	Remaining string          `json:"remaining,omitempty"`

	RequestHeader  []string `json:"requestHeader,omitempty"`
	RequestBody    string   `json:"requestBody,omitempty"`
	ResponseHeader []string `json:"responseHeader,omitempty"`
	ResponseBody   string   `json:"responseBody,omitempty"`
}

// summary returns the exchange without headers and bodies, which only its details show.
func (e exchange) summary() exchange {
	e.RequestHeader, e.RequestBody, e.ResponseHeader, e.ResponseBody = nil, "", nil, ""
	return e
}

// exchangeLog holds the latest exchanges.
type exchangeLog struct {
	mu   sync.Mutex
	list []exchange // ascending
	last int
}

func (l *exchangeLog) add(e exchange) exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.N = l.last
	if len(l.list) >= maxExchanges {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, e)
	return e
}

func (l *exchangeLog) get(n int) (exchange, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, found := slices.BinarySearchFunc(l.list, n, func(e exchange, n int) int { return cmp.Compare(e.N, n) })
	if !found {
		return exchange{}, false
	}
	return l.list[i], true
}

// summaries returns the last n exchanges, newest first.
func (l *exchangeLog) summaries(n int) []exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []exchange{}
	for i := len(l.list) - 1; i >= 0 && len(all) < n; i-- {
		all = append(all, l.list[i].summary())
	}
	return all
}

func (l *exchangeLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// serveAPI passes a call to the Market and logs it.
func (s *sandbox) serveAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // like Market, so that no client mistakes a dropped connection for an idle one
	began := time.Now()
	op := operationOf(r)
	fault, name := s.faults.take(op)
	if name != "" {
		s.hub.publish("settings", s.settings())
	}
	sent := &teeBody{ReadCloser: r.Body}
	r.Body = sent
	recorded := &recorder{ResponseWriter: w}
	defer func() {
		aborted := recover() // http.ErrAbortHandler, if the connection is to be closed
		e := newExchange(r, op, sent.data.Bytes(), recorded)
		e.At, e.Millis, e.Fault = began, time.Since(began).Milliseconds(), name
		e = s.exchanges.add(e)
		s.hub.publish("exchange", e.summary())
		if aborted != nil {
			panic(aborted)
		}
	}()
	s.current().market.ServeHTTP(recorded, r.WithContext(chatstest.ContextWithFault(r.Context(), fault)))
}

// operationOf returns the operation of a request, or "".
func operationOf(r *http.Request) chats.Operation {
	if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/files/") {
		return chats.OpDownload
	}
	below, found := strings.CutPrefix(r.URL.Path, "/v2/businesses/")
	slash := strings.IndexByte(below, '/')
	if !found || slash < 0 {
		return ""
	}
	return operations[r.Method+" "+below[slash:]]
}

func newExchange(r *http.Request, op chats.Operation, body []byte, response *recorder) exchange {
	header := response.Header()
	e := exchange{
		Operation: op, Method: r.Method, Target: cut(r.URL.RequestURI(), 2<<10), Status: response.status,
		Max: header.Get("X-Ratelimit-Resource-Limit"), Remaining: header.Get("X-Ratelimit-Resource-Remaining"),
		RequestHeader: headerLines(r.Header), RequestBody: printable(r.Header.Get("Content-Type"), body),
	}
	if response.status != 0 {
		e.ResponseHeader = headerLines(header)
		e.ResponseBody = printable(header.Get("Content-Type"), response.body.Bytes())
		if response.cut {
			e.ResponseBody += "…"
		}
	}
	if op != chats.OpDownload {
		rules, err := contract.BrokenRules(r, body)
		if err != nil {
			rules = []string{"not checked: " + err.Error()}
		}
		e.Broken = rules[:min(len(rules), 20)]
	}
	return e
}

func headerLines(header http.Header) []string {
	lines := []string{}
	for name, values := range header {
		for _, value := range values {
			if len(lines) < 60 && !isPolicy(name) {
				lines = append(lines, name+": "+cut(value, 1<<10))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// isPolicy reports whether a header is one that the sandbox sets but Market does not.
func isPolicy(name string) bool {
	switch name {
	case "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy":
		return true
	}
	return false
}

// printable returns a body as text.
func printable(contentType string, body []byte) string {
	mediaType, params, _ := mime.ParseMediaType(contentType)
	switch {
	case mediaType == "multipart/form-data":
		return printableForm(body, params["boundary"])
	case len(body) > maxLoggedBody:
		return printable(contentType, bytes.ToValidUTF8(body[:maxLoggedBody], nil)) + "…"
	case !utf8.Valid(body) || bytes.ContainsRune(body, 0):
		return fmt.Sprintf("(%d bytes)", len(body))
	}
	return string(body)
}

func printableForm(body []byte, boundary string) string {
	var text strings.Builder
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	for range 10 {
		part, err := form.NextPart()
		if err != nil {
			break
		}
		n, _ := io.Copy(io.Discard, part)
		_, _ = fmt.Fprintf(&text, "%s: %s, %s, %d bytes\n", cut(part.FormName(), 100), strconv.Quote(cut(part.FileName(), 300)),
			cut(part.Header.Get("Content-Type"), 100), n)
	}
	return text.String()
}

func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// teeBody keeps what the Market reads of a request's body.
type teeBody struct {
	io.ReadCloser
	data bytes.Buffer
}

func (b *teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.data.Write(p[:min(n, max(maxCheckBody-b.data.Len(), 0))])
	return n, err
}

// recorder keeps the beginning of a response.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	cut    bool
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	room := maxLoggedBody - r.body.Len()
	r.body.Write(p[:min(len(p), room)])
	r.cut = r.cut || len(p) > room
	return r.ResponseWriter.Write(p)
}
