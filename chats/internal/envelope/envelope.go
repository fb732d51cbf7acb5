// Package envelope reads the bodies of API responses, {"status", "result", "errors"}, and
// whatever a server or a gateway sends in their place.
package envelope

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Body is the body of a response.
type Body struct {
	Text []byte
	// Whole is set if the body has the announced length. If its JSON ends early nevertheless, the
	// server sent it that way.
	Whole    bool
	Redactor Redactor
}

// Redactor removes secrets from texts.
type Redactor interface {
	Redact(text string) string
	// Sanitize also makes the text fit for an error: printable, short, one line.
	Sanitize(text string) string
}

const (
	statusOK    = "OK"
	statusError = "ERROR"
)

// bareOK is Market's response to a send. The decoder would take a twentieth of the time of the call.
const bareOK = `{"status":"OK"}`

var (
	// ErrStatus is returned for a body with the status ERROR and a reason, which is in its Details.
	ErrStatus = errors.New("response status is ERROR")
	// ErrNoReason is returned for a body with the status ERROR that gives no reason.
	ErrNoReason = errors.New("response status is ERROR, without a reason")
	// ErrErrors is returned together with the result, if there is one.
	ErrErrors = errors.New("response has status OK and errors")
	// ErrNoStatus is returned together with the result, if there is one.
	ErrNoStatus = errors.New("response has no status")
	// ErrUnknownStatus is returned together with the result, if there is one.
	ErrUnknownStatus = errors.New("response has an unknown status")
)

type envelope[T any] struct {
	Status  string `json:"status"`
	Result  *T     `json:"result"`
	Errors  any    `json:"errors"`
	Message any    `json:"message"` // in place of the errors
}

// Decode returns the result of a body, or nil if it has none. It decodes into prepared if that
// is not nil, so that a list allocated for the page size need not grow. A field whose type
// differs from the one in T is converted or dropped. The error matches [io.ErrUnexpectedEOF] if
// the body was cut off.
func Decode[T any](b Body, prepared *T) (*T, error) {
	if string(b.Text) == bareOK {
		return prepared, nil
	}
	env := envelope[T]{Result: prepared}
	if err := env.unmarshal(b.Text); err != nil {
		if err = env.repair(b.Text, err); err != nil {
			return nil, b.jsonError(err)
		}
	}
	switch env.Status {
	case statusOK:
		if env.Errors != nil && dropEmpty(env.Errors) != nil {
			return env.Result, ErrErrors
		}
		return env.Result, nil
	case statusError:
		if !hasText(env.Errors) && !hasText(env.Message) {
			return nil, ErrNoReason
		}
		return nil, ErrStatus
	case "":
		return env.Result, ErrNoStatus
	}
	return env.Result, ErrUnknownStatus
}

// errRepeatedList is returned for a body in which two lists have the same name, except for its case.
var errRepeatedList = errors.New("a list occurs twice")

// unmarshal decodes a body whose lists occur once. encoding/json would decode the second list of a
// name, which may differ in case, into the elements of the first, so that a message without a text
// got that of another.
func (env *envelope[T]) unmarshal(text []byte) error {
	err := json.Unmarshal(text, env)
	if err == nil && (hasRepeated(text, "essages\"", "ESSAGES\"") || hasRepeated(text, "hats\"", "HATS\"") || hasRepeatedPayload(text)) {
		return errRepeatedList
	}
	return err
}

// hasRepeated reports whether a name occurs twice, in lower or upper case.
func hasRepeated(text []byte, lower, upper string) bool {
	n := bytes.Count(text, []byte(lower))
	return n > 1 || bytes.Contains(text, []byte(`S"`)) && n+bytes.Count(text, []byte(upper)) > 1 // one search is faster than a count
}

// hasRepeatedPayload reports whether a message may have two lists of files. Between the IDs of two
// messages there is one list, unless the order of the fields differs.
func hasRepeatedPayload(text []byte) bool {
	_, rest, found := bytes.Cut(text, []byte(`ayload"`))
	for found {
		var between []byte
		if between, rest, found = bytes.Cut(rest, []byte(`ayload"`)); found && !bytes.Contains(between, []byte(`"messageId"`)) {
			return true
		}
	}
	return false
}

// repair decodes a body that unmarshal has rejected with err.
func (env *envelope[T]) repair(text []byte, err error) error {
	if isSyntaxError(err) {
		text = repairSyntax(text)
		err = env.unmarshal(text)
	}
	if err != nil && !isSyntaxError(err) {
		*env = envelope[T]{}
		err = decodeRepaired(text, env)
	}
	var mistyped *json.UnmarshalTypeError // everything else has been decoded
	if env.Status == statusError && errors.As(err, &mistyped) {
		return nil
	}
	return err
}

// jsonError returns the sanitized error of the decoder, which may quote any amount of the body.
func (b Body) jsonError(err error) error {
	isBlank := len(bytes.TrimSpace(b.Text)) == 0
	switch {
	case (isBlank || endsEarly(err)) && !b.Whole:
		return fmt.Errorf("invalid JSON response: %w", io.ErrUnexpectedEOF)
	case isBlank:
		return errors.New("empty response")
	}
	text := err.Error()
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) { // the error's own text names Go types
		text = "unexpected " + mistyped.Value + " in " + cmp.Or(mistyped.Field, "the body")
	}
	return errors.New("invalid JSON response: " + b.Redactor.Sanitize(text))
}
