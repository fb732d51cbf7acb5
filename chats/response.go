package chats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/ymchats/ymchats-go/gen"
)

// answer is what came back of the last attempt, its body read whole.
type response struct {
	op       Operation
	rule     rule
	status   int
	header   http.Header
	body     *bytes.Buffer
	bodyErr  error // the body could not be read to its end
	attempts int
	limit    Limit
	secrets  secrets // to be taken out of whatever the server echoes

	decodeErr  error // a 2xx that is not what it should be
	stopReason error // why it was not repeated, where that says more than the status
}

func (r *response) ok() bool { return r.status >= 200 && r.status < 300 }

// cut: the connection broke before the body was whole.
func (r *response) truncated() bool { return r.bodyErr != nil && !errors.Is(r.bodyErr, errTooLarge) }

// release gives the buffer back. Nothing of the body may be used afterwards.
func (r *response) release() {
	if r != nil {
		putBuffer(r.body)
		r.body = nil
	}
}

// envelope is what every body is wrapped into.
type envelope[T any] struct {
	Status gen.EnvelopeStatus `json:"status"`
	Result *T                 `json:"result"`
	Errors []gen.ErrorDetail  `json:"errors"`
}

// decode reads the result of a 2xx. A result that is prepared, with a list sized
// to the page, spares the list its growing. With errNewStatus a result may come, too.
func decode[T any](r *response, prepared *T) (*T, error) {
	if r.bodyErr != nil {
		return nil, r.bodyErr
	}
	env := envelope[T]{Result: prepared}
	err := json.Unmarshal(r.body.Bytes(), &env)
	var mistyped *json.UnmarshalTypeError // all the rest has been read
	if err != nil && (env.Status != gen.EnvelopeStatusError || !errors.As(err, &mistyped)) {
		return nil, r.jsonError(err)
	}
	switch env.Status {
	case gen.EnvelopeStatusOK:
		return env.Result, nil
	case gen.EnvelopeStatusError:
		return nil, errStatusError
	}
	if env.Status != "" {
		return env.Result, errUnknownStatus
	}
	return nil, errNoStatus
}

var (
	// errDeclared: 2xx, but the body says ERROR. Its details say why.
	errStatusError = errors.New("the body's status is ERROR")
	errNoStatus    = errors.New("the body has no status")
	// errNewStatus: a word that is new fails no page. Whether a message was posted it
	// leaves open.
	errUnknownStatus = errors.New("the body has no status that is known")
	errNoResult      = errors.New("the answer has no result")
)

// brokenBody cleans the decoder's error, which may quote the body at any length.
func (r *response) jsonError(err error) error {
	if len(bytes.TrimSpace(r.body.Bytes())) == 0 {
		return errors.New("the answer is empty")
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) { // its text is of Go's types
		return errors.New("the answer is not the JSON it should be: " + r.sanitize(mistyped.Field+" is a "+mistyped.Value))
	}
	return errors.New("the answer is not the JSON it should be: " + r.sanitize(err.Error()))
}

// missing tells an absent list from an empty one. encoding/json replaces a slice by
// an empty one for [], by nil for null, and leaves it as it was when it met none.
func missing[T any](list []T) bool { return list == nil || len(list) == 0 && cap(list) > 0 }

// maxText bounds a text that the server put into an error, and maxErrorBody how much
// of a body is looked at for one.
const (
	maxText      = 512
	maxErrorBody = 64 << 10
)

// details reads what it can of an error's body: the envelope, a bare message, or
// whatever text there is.
func (r *response) details() []Detail {
	if r.body == nil {
		return nil
	}
	text := []byte(r.secrets.redact(r.body.String())) // before anything is cut, or a part of a secret could stay
	text = text[:min(len(text), maxErrorBody)]
	var body struct {
		Errors  []struct{ Code, Message any }
		Message any
	}
	_ = json.Unmarshal(text, &body) // what does not fit stays empty
	var all []Detail
	for _, e := range body.Errors[:min(len(body.Errors), 10)] {
		if d := (Detail{r.sanitize(e.Code), r.sanitize(e.Message)}); d != (Detail{}) {
			all = append(all, d)
		}
	}
	if len(all) > 0 {
		return all
	}
	bare := r.sanitize(body.Message)
	if bare == "" {
		bare = r.sanitize(plainText(text))
	}
	if bare == "" {
		return nil
	}
	return []Detail{{Message: bare}}
}

// plain is the text of a body of no known shape. JSON is written anew, so that a secret
// is found however it was escaped; an envelope with nothing in it is no text.
func plainText(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return markup.ReplaceAllString(string(text[:min(len(text), 8*maxText)]), " ")
	}
	fields, isObject := value.(map[string]any)
	for _, name := range []string{"status", "result", "errors", "message"} {
		if v := fields[name]; name == "status" || name == "result" || isEmpty(v) {
			delete(fields, name)
		}
	}
	if value == nil || isObject && len(fields) == 0 {
		return ""
	}
	written, _ := json.Marshal(value) //nolint:errchkjson // what was read can be written
	return string(written)
}

func isEmpty(value any) bool {
	list, isList := value.([]any)
	return value == nil || value == "" || isList && len(list) == 0
}

// markup is what a gateway's page has around its text.
var markup = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)>|<[^>]*>`)

// clean is a text of the answer, fit for an error; what is none is empty.
func (r *response) sanitize(value any) string {
	text, _ := value.(string)
	return r.secrets.sanitize(text)
}

// failed is the answer as an error, or nil for a good one.
func (r *response) err() *Error {
	if r.ok() && r.decodeErr == nil {
		return nil
	}
	e := &Error{
		Operation:   r.op,
		StatusCode:  r.status,
		Details:     r.details(),
		Attempts:    r.attempts,
		TraceParent: r.sanitize(r.header.Get("Traceparent")),
		cause:       r.stopReason,
	}
	if isRateLimited(r.status) {
		limit := r.limit
		e.Limit = &limit
	}
	e.applyRefusal()
	if r.ok() {
		e.classify2xx(r)
	}
	if !r.rule.repeatable && r.outcomeUnknown(e) {
		e.kinds = append(e.kinds, ErrOutcomeUnknown)
	}
	return e
}

// classify2xx: a declared error is one by its details; anything else, and an ERROR
// without any, breaks the contract. Of a body that is not an envelope the text is
// of no use.
func (e *Error) classify2xx(r *response) {
	if r.decodeErr == errStatusError && len(e.Details) > 0 {
		return
	}
	e.kinds = append(e.kinds, ErrProtocol)
	e.cause = joinCause(r.decodeErr, e.cause)
	e.Details = nil
}

// leavesDoubt: whether a send that was answered so may have been posted.
func (r *response) outcomeUnknown(e *Error) bool {
	if r.ok() {
		return errors.Is(e, ErrProtocol)
	}
	return r.status >= 500 || isTimeoutStatus(r.status)
}

// isGivenUp: 408 and 499 speak of a request given up on, not of one refused.
func isTimeoutStatus(status int) bool { return status == http.StatusRequestTimeout || status == 499 }

// refused takes out of the cause that the hour is used up: Limit says so.
func (e *Error) applyRefusal() {
	var exhausted *quotaError
	if !errors.As(e.cause, &exhausted) {
		return
	}
	e.Limit, e.kinds = &exhausted.limit, append(e.kinds, ErrRateLimited)
	var stopped *stoppedError
	if errors.As(e.cause, &stopped) {
		e.cause = joinCause(stopped.last, exhausted.cause)
	} else {
		e.cause = exhausted.cause
	}
}

// failure makes an *Error of a call that has no answer.
func (c *call) failure(ctx context.Context, err error) *Error {
	e := &Error{Operation: c.op, Attempts: c.attempts, cause: err}
	e.applyRefusal()
	var broken *transportError
	if errors.As(err, &broken) && !c.rule.repeatable && !broken.unsent && !broken.permanent {
		e.kinds = append(e.kinds, ErrOutcomeUnknown)
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		// net/http gives the context's cause instead.
		e.kinds = append(e.kinds, ended)
	}
	return e
}

// answerBody lets the generated client read an answer.
type responseBody struct {
	io.Reader
	response *response
}

func (b *responseBody) Close() error {
	b.Reader = bytes.NewReader(nil)
	b.response.release()
	return nil
}

// response is the answer as the generated client expects it.
func (r *response) httpResponse(req *http.Request) *http.Response {
	var body io.Reader = bytes.NewReader(r.body.Bytes())
	if r.bodyErr != nil {
		body = io.MultiReader(body, errorReader{r.bodyErr})
	}
	return &http.Response{
		Status:        strconv.Itoa(r.status) + " " + http.StatusText(r.status),
		StatusCode:    r.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        r.header,
		Body:          &responseBody{Reader: body, response: r},
		ContentLength: int64(r.body.Len()),
		Request:       req,
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }
