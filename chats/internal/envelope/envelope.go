// Package envelope reads the bodies of the API's responses, {"status", "result", "errors"},
// and what else a server or a gateway sends in their place.
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
	// Whole is set if the body has the length that was announced: if its JSON ends early, the
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

var (
	// ErrStatus is returned for a body of status ERROR. Its Details say why.
	ErrStatus = errors.New("response status is ERROR")
	// ErrNoStatus is returned together with the result, if there is one.
	ErrNoStatus = errors.New("response has no status")
	// ErrUnknownStatus is returned together with the result, if there is one.
	ErrUnknownStatus = errors.New("response has an unknown status")
)

type envelope[T any] struct {
	Status string `json:"status"`
	Result *T     `json:"result"`
}

// Decode returns the result of a body, or nil if it has none. It decodes into prepared if
// that is not nil, so that a list of the page's size need not grow. A field that has
// another type than in T is converted or dropped. The error matches [io.ErrUnexpectedEOF]
// if the body was cut off.
func Decode[T any](b Body, prepared *T) (*T, error) {
	env := envelope[T]{Result: prepared}
	if err := json.Unmarshal(b.Text, &env); err != nil {
		if err = env.repair(b.Text, err); err != nil {
			return nil, b.jsonError(err)
		}
	}
	switch env.Status {
	case statusOK:
		return env.Result, nil
	case statusError:
		return nil, ErrStatus
	case "":
		return env.Result, ErrNoStatus
	}
	return env.Result, ErrUnknownStatus
}

// repair decodes a body that encoding/json has refused with err.
func (env *envelope[T]) repair(text []byte, err error) error {
	if isSyntaxError(err) {
		text = repairSyntax(text)
		err = json.Unmarshal(text, env)
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

// jsonError returns the decoder's error sanitized, because it may quote the body at any
// length.
func (b Body) jsonError(err error) error {
	isBlank := len(bytes.TrimSpace(b.Text)) == 0
	endsEarly := isBlank || err.Error() == "unexpected end of JSON input" // encoding/json has no other sign of it
	switch {
	case endsEarly && !b.Whole:
		return fmt.Errorf("invalid JSON response: %w", io.ErrUnexpectedEOF)
	case isBlank:
		return errors.New("empty response")
	}
	text := err.Error()
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) { // its own text names Go types
		text = "unexpected " + mistyped.Value + " in " + cmp.Or(mistyped.Field, "the body")
	}
	return errors.New("invalid JSON response: " + b.Redactor.Sanitize(text))
}
