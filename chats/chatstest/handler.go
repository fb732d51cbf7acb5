package chatstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
)

// OpDownload stands for the request of a file in [Market.Fail], [Market.FailFunc]
// and [Market.Calls]. It is no operation of the API, and no limit counts it.
const OpDownload chats.Operation = "download"

const (
	maxJSONBody = 512 << 10
	maxFormBody = chats.MaxFileSize + 64<<10 // a file and what the form adds to it
)

// request is a request that has arrived whole.
type request struct {
	op     chats.Operation // empty for a path or method that is not the API's
	method string
	path   string
	query  url.Values
	header http.Header
	body   []byte
	at     time.Time // when it is processed
}

func newRequest(r *http.Request, op chats.Operation, body []byte) *request {
	return &request{op: op, method: r.Method, path: r.URL.Path, query: r.URL.Query(), header: r.Header.Clone(), body: body}
}

// endpoint is one operation: a handler works under the Market's lock and returns
// the answer's result, nil where it has none.
type endpoint struct {
	method string
	path   string // below the business
	op     chats.Operation
	handle func(*Market, *request) (any, *problem)
}

var endpoints = []endpoint{
	{http.MethodPost, "/chats", chats.OpGetChats, (*Market).getChats},
	{http.MethodGet, "/chat", chats.OpGetChat, (*Market).getChat},
	{http.MethodPost, "/chats/history", chats.OpGetChatHistory, (*Market).getChatHistory},
	{http.MethodGet, "/chats/message", chats.OpGetChatMessage, (*Market).getChatMessage},
	{http.MethodPost, "/chats/new", chats.OpCreateChat, (*Market).createChat},
	{http.MethodPost, "/chats/message", chats.OpSendMessageToChat, (*Market).sendMessageToChat},
	{http.MethodPost, "/chats/file/send", chats.OpSendFileToChat, (*Market).sendFileToChat},
}

// route finds the operation of a request.
func route(method, path string) chats.Operation {
	if method == http.MethodGet && strings.HasPrefix(path, filesPath) {
		return OpDownload
	}
	_, below := splitPath(path)
	for _, e := range endpoints {
		if e.method == method && e.path == below {
			return e.op
		}
	}
	return ""
}

// splitPath parts the business from what is below it.
func splitPath(path string) (business, below string) {
	rest, found := strings.CutPrefix(path, "/v2/businesses/")
	slash := strings.IndexByte(rest, '/')
	if !found || slash < 0 {
		return "", ""
	}
	return rest[:slash], rest[slash:]
}

// visit is one request from its arrival until its answer is over.
type visit struct {
	op    chats.Operation
	fault Fault
	room  bool   // whether it is within the limit of parallel requests
	leave func() // at its end; only the first call counts
}

// arrive counts a request in and takes the fault that waits for it.
func (m *Market) arrive(op chats.Operation) *visit {
	v := &visit{op: op, fault: m.takeFault(op), room: true, leave: func() {}}
	if v.fault.refused || !isAPI(op) {
		return v
	}
	m.lock()
	defer m.mu.Unlock()
	v.room = m.limits.enter()
	v.leave = sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.limits.leave()
	})
	return v
}

func isAPI(op chats.Operation) bool { return op != "" && op != OpDownload }

// serve answers a request. The only error is that of a context which ended
// before the answer's header was due.
func (m *Market) serve(ctx context.Context, v *visit, r *request) (reply, error) {
	if v.fault.instead == nil && !v.room {
		m.lock()
		defer m.mu.Unlock()
		return m.finish(m.parallelReply(r.op, time.Now())), nil
	}
	if err := sleep(ctx, m.settings.latency+v.fault.delay); err != nil {
		return reply{}, err
	}
	rep := m.process(v, r)
	return rep, sleep(ctx, rep.wait)
}

func (m *Market) process(v *visit, r *request) reply {
	m.lock()
	defer m.mu.Unlock()
	r.at = time.Now()
	if v.fault.late > 0 {
		r.at = r.at.Add(v.fault.late)
		m.late = append(m.late, r)
		return reply{dropped: true}
	}
	if v.fault.instead != nil {
		return m.finish(v.fault.instead(m, r.op))
	}
	rep := m.handle(r)
	if v.fault.change != nil {
		rep = v.fault.change(rep)
	}
	return m.finish(rep)
}

// finish adds the headers of every answer.
func (m *Market) finish(rep reply) reply {
	if rep.header != nil {
		m.traces++
		rep.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		rep.header.Set("Traceparent", fmt.Sprintf("00-%032x-%016x-01", m.traces, m.traces))
	}
	return rep
}

// handle does what a request asks for.
func (m *Market) handle(r *request) reply {
	switch r.op {
	case OpDownload:
		return m.serveFile(r)
	case "":
		return m.unknown(r).reply()
	}
	if p := m.admit(r); p != nil {
		return m.told(r, p.reply())
	}
	if !m.limits.charge(r.op, r.at) {
		return m.hourlyReply(r.op, r.at)
	}
	for _, e := range endpoints {
		if e.op == r.op {
			result, p := e.handle(m, r)
			if p != nil {
				return m.told(r, p.reply())
			}
			return m.told(r, jsonReply(http.StatusOK, envelope{Status: "OK", Result: result}))
		}
	}
	panic("chatstest: no endpoint for " + string(r.op)) // route takes the operations from the same table
}

// told is the answer with the headers of the limits.
func (m *Market) told(r *request, rep reply) reply {
	m.limits.tell(rep.header, r.op, r.at)
	return rep
}

func (m *Market) unknown(r *request) *problem {
	_, below := splitPath(r.path)
	for _, e := range endpoints {
		if e.path == below {
			return &problem{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Request method '" + r.method + "' is not supported"}
		}
	}
	return notFound("No resource at %s", r.path)
}

// admit checks the credential and the business.
func (m *Market) admit(r *request) *problem {
	if p := m.authorize(r.header); p != nil {
		return p
	}
	text, _ := splitPath(r.path)
	business, err := strconv.ParseInt(text, 10, 64)
	if err != nil || business < 1 {
		return badRequest("Parameter 'businessId' must be a number above 0: '%s'", text)
	}
	if chats.BusinessID(business) != m.settings.business {
		return forbidden("No access to business: %d", business)
	}
	return nil
}

func (m *Market) authorize(header http.Header) *problem {
	key, authorization := header.Get("Api-Key"), header.Get("Authorization")
	token, isBearer := strings.CutPrefix(authorization, "Bearer ")
	switch {
	case key != "" && key != m.key:
		return unauthorized("Api-Key is unknown")
	case key != "":
		return nil
	case !isBearer:
		return unauthorized("Neither Api-Key nor OAuth token is given")
	case token != fakeToken:
		return forbidden("OAuth token is invalid or has expired")
	}
	return nil
}

// decode reads a JSON object. Unknown fields are ignored, as on the real Market.
func (r *request) decode(into any) *problem {
	mediaType, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return r.unsupported()
	}
	if len(r.body) > maxJSONBody {
		return badRequest("The request is larger than %d bytes", maxJSONBody)
	}
	if !utf8.Valid(r.body) {
		return badRequest("The request is not UTF-8")
	}
	if body := bytes.TrimSpace(r.body); len(body) == 0 || body[0] != '{' {
		return badRequest("The request must be a JSON object")
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return badRequest("The request cannot be read: %v", err)
	}
	return nil
}

func (r *request) unsupported() *problem {
	return &problem{
		http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE",
		"Content-Type '" + r.header.Get("Content-Type") + "' is not supported",
	}
}

// id reads a required parameter of the query.
func (r *request) id(name string) (int64, *problem) {
	id, err := strconv.ParseInt(r.query.Get(name), 10, 64)
	if err != nil || id < 1 {
		return 0, badRequest("Parameter '%s' must be a number above 0: '%s'", name, r.query.Get(name))
	}
	return id, nil
}

func badRequest(format string, values ...any) *problem {
	return &problem{http.StatusBadRequest, "BAD_REQUEST", fmt.Sprintf(format, values...)}
}

func unauthorized(text string) *problem {
	return &problem{http.StatusUnauthorized, "UNAUTHORIZED", text}
}

func forbidden(format string, values ...any) *problem {
	return &problem{http.StatusForbidden, "FORBIDDEN", fmt.Sprintf(format, values...)}
}

func notFound(format string, values ...any) *problem {
	return &problem{http.StatusNotFound, "NOT_FOUND", fmt.Sprintf(format, values...)}
}
