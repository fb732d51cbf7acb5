package chats

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/redact"
	"github.com/ymchats/ymchats-go/gen"
)

// response is the response to one attempt with its whole body.
type response struct {
	business BusinessID
	op       Operation
	rule     rule
	status   int
	header   http.Header
	body     *bytes.Buffer
	bodyErr  error // why the body could not be read to its end
	isWhole  bool  // the body has the length that was announced
	attempts int
	unsent   bool // the server cannot have the whole request; see uploadUnsent
	limit    Limit
	secrets  redact.Secrets // to redact from what the server echoes

	decodeErr  error // why a 2xx is not a success
	stopReason error // why it was not retried, unless the status explains that
}

func (r *response) ok() bool { return r.status >= 200 && r.status < 300 }

// truncated reports whether the connection broke before the end of the body. Without a
// length of the body only its JSON shows that.
func (r *response) truncated() bool {
	tooLarge := errors.Is(r.bodyErr, errTooLarge) || errors.Is(r.bodyErr, errTooManyItems)
	return r.bodyErr != nil && !tooLarge || errors.Is(r.decodeErr, io.ErrUnexpectedEOF)
}

// time returns the server's time from the Date header, or the local time if there is none.
func (r *response) time() time.Time {
	if date, ok := httpDate(r.header.Get("Date")); ok {
		return date
	}
	return time.Now()
}

// release returns the buffer to the pool. The body must not be used afterwards.
func (r *response) release() {
	if r != nil {
		putBuffer(r.body)
		r.body = nil
	}
}

// envelope wraps every body.
type envelope[T any] struct {
	Status gen.EnvelopeStatus `json:"status"`
	Result *T                 `json:"result"`
	Errors []gen.ErrorDetail  `json:"errors"`
}

// decode returns the result of a 2xx. It decodes into prepared if that is not nil, so that
// a list of the page's size need not grow. With errUnknownStatus and errNoStatus it may
// return a result, too.
func decode[T any](r *response, prepared *T) (*T, error) {
	if r.bodyErr != nil {
		return nil, r.bodyErr
	}
	env := envelope[T]{Result: prepared}
	err := json.Unmarshal(r.body.Bytes(), &env)
	var syntax *json.SyntaxError
	if err != nil && !errors.As(err, &syntax) {
		env = envelope[T]{}
		err = decodeRepaired(r.body.Bytes(), &env)
	}
	var mistyped *json.UnmarshalTypeError // everything else has been decoded
	if err != nil && (env.Status != gen.EnvelopeStatusError || !errors.As(err, &mistyped)) {
		return nil, r.jsonError(err)
	}
	switch env.Status {
	case gen.EnvelopeStatusOK:
		return env.Result, nil
	case gen.EnvelopeStatusError:
		return nil, errStatusError
	case "":
		return env.Result, errNoStatus
	}
	return env.Result, errUnknownStatus
}

// isEnvelope reports whether the body is one of the API's, successful or not. A gateway
// in between sends HTML, nothing, or JSON of its own.
func (r *response) isEnvelope() bool {
	var body struct {
		Status any
		Errors []struct{ Code any }
	}
	if r.body != nil {
		_ = json.Unmarshal(r.body.Bytes(), &body) // what does not match stays empty
	}
	return body.Status == string(gen.EnvelopeStatusOK) || body.Status == string(gen.EnvelopeStatusError) ||
		slices.ContainsFunc(body.Errors, func(e struct{ Code any }) bool { code, _ := e.Code.(string); return code != "" })
}

// isGatewayNotFound reports whether a 404 is not about a chat, message or order: a gateway
// sends it while the API is being deployed.
func (r *response) isGatewayNotFound() bool {
	return r.status == http.StatusNotFound && r.op != OpDownload && !r.isEnvelope()
}

var (
	// errStatusError is returned for a 2xx whose body has status ERROR. Its details say why.
	errStatusError = errors.New("response status is ERROR")
	// errNoStatus and errUnknownStatus do not fail a read that has a result. Whether a message
	// was posted remains unknown.
	errNoStatus      = errors.New("response has no status")
	errUnknownStatus = errors.New("response has an unknown status")
	errNoResult      = errors.New("response has no result")
)

// jsonError returns the decoder's error sanitized, because it may quote the body at any
// length.
func (r *response) jsonError(err error) error {
	isEmpty := len(bytes.TrimSpace(r.body.Bytes())) == 0
	endsEarly := isEmpty || err.Error() == "unexpected end of JSON input" // encoding/json has no other sign of it
	switch {
	case endsEarly && !r.isWhole:
		return fmt.Errorf("invalid JSON response: %w", io.ErrUnexpectedEOF)
	case isEmpty:
		return errors.New("empty response")
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) { // its own text names Go types
		return errors.New("invalid JSON response: " + r.sanitize("unexpected "+mistyped.Value+" in "+cmp.Or(mistyped.Field, "the body")))
	}
	return errors.New("invalid JSON response: " + r.sanitize(err.Error()))
}

// details returns what the body says about an error: the errors of the envelope, a bare
// message, or any text.
func (r *response) details() []Detail {
	if r.body == nil {
		return nil
	}
	text := r.body.Bytes()
	text = []byte(r.secrets.Redact(string(text[:min(len(text), maxErrorBody)])))
	var body struct {
		Errors  []struct{ Code, Message any }
		Message any
	}
	_ = json.Unmarshal(text, &body) // what does not match stays empty
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

// maxErrorBody is the number of bytes of a body that details reads.
const maxErrorBody = 64 << 10

// plainText returns the text of a body of unknown shape. It encodes JSON again, so that an
// escaped secret is found. An empty envelope has no text.
func plainText(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return markup.ReplaceAllString(string(text[:min(len(text), 8*512)]), " ")
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
	written, _ := json.Marshal(value) //nolint:errchkjson // decoded JSON can be encoded
	return string(written)
}

func isEmpty(value any) bool {
	list, isList := value.([]any)
	return value == nil || value == "" || isList && len(list) == 0
}

// markup matches the HTML around the text of a gateway's page.
var markup = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)>|<[^>]*>`)

// sanitize returns a text of the response fit for an error, or "" if value is not a text.
func (r *response) sanitize(value any) string {
	text, _ := value.(string)
	return r.secrets.Sanitize(text)
}

// responseBody is the body that the generated client reads. Close releases the buffer.
type responseBody struct {
	io.Reader
	response *response
}

func (b *responseBody) Close() error {
	b.Reader = bytes.NewReader(nil)
	b.response.release()
	return nil
}

// httpResponse returns the response for the generated client.
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
