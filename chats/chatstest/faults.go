package chatstest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Fault describes what goes wrong with one request. The zero Fault is equivalent to [OK].
type Fault struct {
	dialError bool
	early     bool // respond after bodyBytes of the request's body
	bodyBytes int64
	delay     time.Duration                           // before processing
	late      time.Duration                           // drop now, process later
	replay    bool                                    // respond with the previous response
	respond   func(*limits, chats.Operation) response // instead of processing
	rewrite   func(response) response                 // after processing
}

// bodyLimit is how much of the request's body is read.
func (f Fault) bodyLimit() int64 {
	if f.early {
		return f.bodyBytes
	}
	return maxFormBody + 1
}

// Response is the response that [Rewrite] passes to its function. The Content-Length
// header is updated to match Body; if the function deletes the header, the response declares no
// length.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK processes the request as usual, for example between two requests that fail.
func OK() Fault { return Fault{} }

// Delay delays the processing of the request by d. If the request's context is done during the
// delay, the request is not processed.
func Delay(d time.Duration) Fault { return Fault{delay: d} }

// Status responds with the given status and body. The request is not processed. As with every
// fault, a 1xx, 204 or 304 has no body.
func Status(code int, body string) Fault { return Respond(code, nil, body) }

// Respond responds with the given status and body. The given headers are added to the usual ones or
// replace those of the same name, for example the Retry-After of a 429, a Date that is days off, or
// the Location of a redirect. A header without values removes the usual one. A Content-Length below
// the length of the body cuts the body off; with a greater Content-Length, the connection is closed
// after the body. The request is not processed.
func Respond(code int, header http.Header, body string) Fault {
	return respond("status", func(l *limits, op chats.Operation) response {
		resp := newResponse(code, contentType(body), []byte(body))
		if isAPI(op) {
			resp = l.withHeaders(resp, op, time.Now())
		}
		for name, values := range header {
			resp.header[http.CanonicalHeaderKey(name)] = values
		}
		return resp.asDeclared()
	})
}

// RespondEarly responds like [Status] as soon as n bytes of the request's body have been read, and
// closes the connection. The request is not processed.
func RespondEarly(n int, code int, body string) Fault {
	f := Status(code, body)
	f.early, f.bodyBytes = true, int64(n)
	return f
}

// Rewrite processes the request and passes the response to a function, which may edit it,
// for example to add a byte order mark, to report an exhausted quota with a 200, to add a
// Content-Encoding to a file, or to shorten the body. The function must not use the Market.
func Rewrite(change func(*Response)) Fault {
	return rewrite("rewrite", func(resp response) response {
		edited := Response{resp.status, resp.header, bytes.Clone(resp.body)}
		change(&edited)
		resp.status, resp.header, resp.body = edited.Status, edited.Header, edited.Body
		if resp.length() < 0 {
			return resp
		}
		return resp.withBody(edited.Body)
	})
}

// Replay responds with the previous response of the operation, like a broken cache, without
// processing the request. Replay acts like [OK] if there is no previous response.
func Replay() Fault { return Fault{replay: true} }

// StatusAfter processes the request and then responds with the given status and body, for
// example a 500 after the message has been stored.
func StatusAfter(code int, body string) Fault {
	return rewrite("status after", func(resp response) response { return resp.replaced(code, body) })
}

// HTML responds like a gateway in front of Market, with an HTML page and without limit
// headers. The request is not processed.
func HTML(code int) Fault {
	title := strconv.Itoa(code) + " " + http.StatusText(code)
	page := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title +
		"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return respond("html", func(*limits, chats.Operation) response {
		return newResponse(code, contentType(page), []byte(page))
	})
}

// Malformed processes the request and responds with 200 and the given body.
func Malformed(body string) Fault {
	return rewrite("malformed", func(resp response) response { return resp.replaced(http.StatusOK, body) })
}

// RateLimitedHourly responds with a 420 that reports the hourly quota as exhausted until
// the given time. The fault affects one request only; to enforce a quota, use [WithHourlyLimit].
func RateLimitedHourly(until time.Time) Fault {
	return Fault{respond: func(l *limits, op chats.Operation) response {
		resp := l.quotaExceeded(op, time.Now())
		resp.header.Set("X-RateLimit-Resource-Remaining", "0")
		resp.header.Set("X-RateLimit-Resource-Until", until.UTC().Format(http.TimeFormat))
		return resp
	}}
}

// RateLimitedParallel responds with a 420 that reports too many concurrent requests.
func RateLimitedParallel() Fault {
	return Fault{respond: func(l *limits, op chats.Operation) response {
		return l.parallelExceeded(op, time.Now())
	}}
}

// Refused makes the dial fail: no part of the request is written. Only [Market.Transport] can make
// a dial fail; on a listener, where the connection exists before the request, Refused acts like
// [DropBefore].
func Refused() Fault { return Fault{dialError: true} }

// DropBefore closes the connection as soon as the request has arrived, without processing
// it.
func DropBefore() Fault {
	return Fault{respond: func(*limits, chats.Operation) response { return response{dropped: true} }}
}

// DropAfter processes the request, then closes the connection without a response.
func DropAfter() Fault {
	return Fault{rewrite: func(response) response { return response{dropped: true} }}
}

// ProcessLate closes the connection immediately but processes the request after a delay
// of d, so a message may be stored after the request for it has failed. Without a delay it acts like
// [DropAfter].
func ProcessLate(d time.Duration) Fault {
	if d <= 0 {
		return DropAfter()
	}
	return Fault{late: d}
}

// SlowHeaders processes the request and delays the response by d.
func SlowHeaders(d time.Duration) Fault {
	return Fault{rewrite: func(resp response) response {
		resp.headerDelay = d
		return resp
	}}
}

// SlowBody processes the request and delays the second half of the response's
// body by d.
func SlowBody(d time.Duration) Fault {
	return rewrite("slow body", func(resp response) response {
		resp.bodyDelay = d
		return resp
	})
}

// Truncate processes the request and declares the full length of the response, but closes
// the connection after n bytes of the body, or before the last byte if the body is not
// longer than n.
func Truncate(n int) Fault {
	return rewrite("truncate", func(resp response) response {
		resp.truncated, resp.keep = true, max(min(n, len(resp.body)-1), 0)
		return resp
	})
}

// TruncateSilently processes the request, sends at most n bytes of the response's body
// without declaring a length, and closes the connection, so only the content shows
// whether something is missing. Unlike [Truncate], it does not shorten a body of n bytes
// or fewer.
func TruncateSilently(n int) Fault {
	return rewrite("truncate silently", func(resp response) response {
		resp.body, resp.undelimited = resp.body[:min(max(n, 0), len(resp.body))], true
		resp.header.Del("Content-Length")
		return resp
	})
}

// BadStatusLine processes the request and sends the given line instead of an HTTP
// response. On a listener this fault needs an [http.Hijacker], which HTTP/2 does not provide.
func BadStatusLine(line string) Fault {
	return Fault{rewrite: func(response) response { return response{statusLine: line} }}
}

// EndlessBody processes the request and responds with 200 and a body that never ends.
func EndlessBody() Fault {
	return rewrite("endless body", func(resp response) response {
		resp.status, resp.body, resp.endless = http.StatusOK, []byte(`{"status":"OK","endless":"`), true
		resp.header.Del("Content-Length")
		return resp
	})
}

func respond(name string, create func(*limits, chats.Operation) response) Fault {
	return Fault{respond: func(l *limits, op chats.Operation) response { return create(l, op).marked(name) }}
}

func rewrite(name string, change func(response) response) Fault {
	return Fault{rewrite: func(resp response) response { return change(resp).marked(name) }}
}

// replaced returns a response with another status and body but the same limit headers.
func (r response) replaced(code int, body string) response {
	r.status = code
	r.header.Set("Content-Type", contentType(body))
	return r.withBody([]byte(body))
}

func contentType(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "<") {
		return "text/html; charset=utf-8"
	}
	return "application/json"
}
