package chatstest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// FaultHeader is set on every answer that may break the API's contract on
// purpose, and names the fault. Who holds answers against the contract can tell
// by it which ones to leave alone.
const FaultHeader = "X-Chatstest-Fault"

// Fault is what goes wrong with one request. The zero Fault is [OK].
type Fault struct {
	refused bool
	delay   time.Duration                        // before anything is done
	late    time.Duration                        // drop now, process later
	instead func(*Market, chats.Operation) reply // answers without processing
	change  func(reply) reply                    // of the answer, after processing
}

// Fail lets the next calls of an operation fail, one fault for each, in turn.
// Faults that are given later wait until these are used up.
func (m *Market) Fail(op chats.Operation, faults ...Fault) {
	m.lock()
	defer m.mu.Unlock()
	m.faults[op] = append(m.faults[op], faults...)
}

// FailFunc asks choose for a fault at every call for which [Market.Fail] has
// none; n counts the calls of the operation from 1. It is called for one request
// at a time, so that a random choice needs no lock of its own, and may use the
// Market but for FailFunc itself. Nil ends it.
func (m *Market) FailFunc(choose func(op chats.Operation, n int) Fault) {
	m.failMu.Lock()
	defer m.failMu.Unlock()
	m.failFunc = choose
}

// takeFault counts a call and finds its fault.
func (m *Market) takeFault(op chats.Operation) Fault {
	fault, n, queued := m.queuedFault(op)
	if queued || op == "" {
		return fault
	}
	m.failMu.Lock()
	defer m.failMu.Unlock()
	if m.failFunc == nil {
		return Fault{}
	}
	return m.failFunc(op, n)
}

func (m *Market) queuedFault(op chats.Operation) (fault Fault, n int, queued bool) {
	m.lock()
	defer m.mu.Unlock()
	m.calls[op]++
	queue := m.faults[op]
	if len(queue) == 0 {
		return Fault{}, m.calls[op], false
	}
	m.faults[op] = queue[1:]
	return queue[0], m.calls[op], true
}

// OK lets a call through, between two that fail.
func OK() Fault { return Fault{} }

// Delay lets the request wait for d before it is processed as usual. A request
// whose context ends meanwhile is never processed.
func Delay(d time.Duration) Fault { return Fault{delay: d} }

// Status answers with a status and a body and does nothing else: what the
// request asks for does not happen.
func Status(code int, body string) Fault {
	return instead("status", func(m *Market, op chats.Operation) reply {
		return m.toldIfAPI(op, plainReply(code, contentType(body), []byte(body)))
	})
}

// StatusAfter does what the request asks for and then answers with a status and
// a body of its own: a 500 after the message was stored.
func StatusAfter(code int, body string) Fault {
	return change("status after", func(rep reply) reply { return rep.replaced(code, body) })
}

// HTML answers as a gateway before Market does, with a page in HTML and without
// the headers of the limits. What the request asks for does not happen.
func HTML(code int) Fault {
	title := strconv.Itoa(code) + " " + http.StatusText(code)
	page := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title +
		"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return instead("html", func(*Market, chats.Operation) reply {
		return plainReply(code, contentType(page), []byte(page))
	})
}

// Malformed does what the request asks for and answers 200 with this body.
func Malformed(body string) Fault {
	return change("malformed", func(rep reply) reply { return rep.replaced(http.StatusOK, body) })
}

// RateLimitedHourly answers 420, the hour's allowance being used up until the
// given time. This fault alone refuses nothing else: see [WithHourlyLimit].
func RateLimitedHourly(until time.Time) Fault {
	return Fault{instead: func(m *Market, op chats.Operation) reply {
		rep := m.hourlyReply(op, time.Now())
		rep.header.Set("X-RateLimit-Resource-Remaining", "0")
		rep.header.Set("X-RateLimit-Resource-Until", until.UTC().Format(http.TimeFormat))
		return rep
	}}
}

// RateLimitedParallel answers 420, too many requests being under way.
func RateLimitedParallel() Fault {
	return Fault{instead: func(m *Market, op chats.Operation) reply {
		return m.parallelReply(op, time.Now())
	}}
}

// Refused is a failed dial: nothing of the request is written. [Market.Transport]
// alone can do it; on a listener it is [DropBefore], as there the connection
// exists before there is a request.
func Refused() Fault { return Fault{refused: true} }

// DropBefore ends the connection when the request has arrived, before anything
// is done.
func DropBefore() Fault {
	return Fault{instead: func(*Market, chats.Operation) reply { return reply{dropped: true} }}
}

// DropAfter does what the request asks for, then ends the connection without an
// answer.
func DropAfter() Fault {
	return Fault{change: func(reply) reply { return reply{dropped: true} }}
}

// ProcessLate ends the connection at once, but what the request asks for happens
// all the same, d later: a message that shows only some time after its call failed.
func ProcessLate(d time.Duration) Fault { return Fault{late: d} }

// SlowHeaders does what the request asks for and answers d later.
func SlowHeaders(d time.Duration) Fault {
	return Fault{change: func(rep reply) reply {
		rep.wait = d
		return rep
	}}
}

// SlowBody answers at once, but the second half of the body comes d later.
func SlowBody(d time.Duration) Fault {
	return change("slow body", func(rep reply) reply {
		rep.pause = d
		return rep
	})
}

// Truncate does what the request asks for and declares the answer's full length,
// but the connection ends after n bytes of it, or before its last byte if it
// is no longer than n.
func Truncate(n int) Fault {
	return change("truncate", func(rep reply) reply {
		rep.cut, rep.keep = true, max(min(n, len(rep.body)-1), 0)
		return rep
	})
}

// EndlessBody does what the request asks for and answers 200 with a body that
// has no end.
func EndlessBody() Fault {
	return change("endless body", func(rep reply) reply {
		rep.status, rep.body, rep.endless = http.StatusOK, []byte(`{"status":"OK","endless":"`), true
		rep.header.Del("Content-Length")
		return rep
	})
}

func instead(name string, answer func(*Market, chats.Operation) reply) Fault {
	return Fault{instead: func(m *Market, op chats.Operation) reply {
		return answer(m, op).marked(name)
	}}
}

func change(name string, answer func(reply) reply) Fault {
	return Fault{change: func(rep reply) reply { return answer(rep).marked(name) }}
}

func (r reply) marked(name string) reply {
	r.header.Set(FaultHeader, name)
	return r
}

// replaced keeps the headers of the limits.
func (r reply) replaced(code int, body string) reply {
	r.status, r.body = code, []byte(body)
	r.header.Set("Content-Type", contentType(body))
	r.header.Set("Content-Length", strconv.Itoa(len(body)))
	return r
}

func (m *Market) toldIfAPI(op chats.Operation, rep reply) reply {
	if isAPI(op) {
		m.limits.tell(rep.header, op, time.Now())
	}
	return rep
}

func contentType(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "<") {
		return "text/html; charset=utf-8"
	}
	return "application/json"
}
