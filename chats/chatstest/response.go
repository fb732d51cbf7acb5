package chatstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// FaultHeader is the header that names the fault. It is set on every response that may
// violate the API's contract because of a fault or [WithOddItems]. A test that checks responses
// against the contract can skip such responses.
const FaultHeader = "X-Chatstest-Fault"

// response is an HTTP response and the way it is delivered.
type response struct {
	status int
	header http.Header
	body   []byte

	dropped       bool          // the connection is closed instead
	statusLine    string        // not HTTP; sent instead of the response
	unreadRequest bool          // the request's body was not read to its end
	headerDelay   time.Duration // before the header
	bodyDelay     time.Duration // before the second half of the body
	truncated     bool          // the connection is closed after keep bytes of the body
	keep          int
	undelimited   bool // the end of the connection is the end of the body
	endless       bool
}

// envelope is the body of every response of the API.
type envelope struct {
	Status string     `json:"status"`
	Result any        `json:"result,omitempty"`
	Errors []apiError `json:"errors,omitempty"`
}

type apiError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func jsonResponse(status int, body envelope) response {
	text, err := json.Marshal(body)
	if err != nil {
		panic("chatstest: " + err.Error()) // a time after the year 9999
	}
	return newResponse(status, "application/json", text)
}

// withBody replaces the body.
func (r response) withBody(body []byte) response {
	r.body = body
	r.header.Set("Content-Length", strconv.Itoa(len(body)))
	return r
}

// copied returns a copy with its own headers.
func (r response) copied() response {
	r.header = r.header.Clone()
	return r
}

// length returns the declared length of the body, or -1 if there is none.
func (r response) length() int64 {
	n, err := strconv.ParseInt(r.header.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// asDeclared cuts the body off at the declared length, or truncates the response if the body is
// shorter than that. On a listener, net/http would do the latter, and send nothing in the first case.
func (r response) asDeclared() response {
	if declared, n := r.length(), int64(len(r.body)); declared >= 0 {
		r.body, r.truncated, r.keep = r.body[:min(declared, n)], declared > n, len(r.body)
	}
	return r
}

// withoutForbiddenBody drops the body if HTTP allows none with the status, because no client would
// ever see it.
func (r response) withoutForbiddenBody() response {
	isBodiless := r.status/100 == 1 || r.status == http.StatusNoContent || r.status == http.StatusNotModified
	if isBodiless && len(r.body) > 0 {
		r.truncated, r.undelimited = false, false
		return r.withBody(nil)
	}
	return r
}

// marked sets the header that marks a deliberate violation of the contract.
func (r response) marked(name string) response {
	if r.header == nil { // a function of Rewrite may drop it
		r.header = http.Header{}
	}
	r.header.Set(FaultHeader, name)
	return r
}

func newResponse(status int, contentType string, body []byte) response {
	return response{
		status: status,
		header: http.Header{
			"Content-Type":   {contentType},
			"Content-Length": {strconv.Itoa(len(body))},
		},
		body: body,
	}
}

// problem is an API error; nil means success.
type problem struct {
	status  int
	code    string
	message string
}

func (p *problem) response() response {
	return jsonResponse(p.status, envelope{Status: "ERROR", Errors: []apiError{{p.code, p.message}}})
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

func unsupported(contentType string) *problem {
	return &problem{
		http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE",
		"Content-Type '" + contentType + "' is not supported",
	}
}
