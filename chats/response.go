package chats

import (
	"bytes"
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

// maxErrorBody bounds how much of a body is searched for one.
const maxErrorBody = 64 << 10

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
