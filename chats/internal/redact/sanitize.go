package redact

import (
	"errors"
	"strings"
	"unicode"
)

// maxText is the maximum length of a sanitized text, in characters. maxInput is the maximum number
// of bytes of the input that are used.
const (
	maxText  = 512
	maxInput = 64 << 10
)

// Sanitize makes a text fit for an error: one printable line of at most 512 characters,
// without secrets.
func (s Secrets) Sanitize(text string) string {
	text = text[:min(len(text), maxInput)]
	words := strings.FieldsFunc(strings.ToValidUTF8(s.Redact(text), "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	runes := []rune(strings.Join(words, " "))
	return string(runes[:min(len(runes), maxText)])
}

// SanitizeError returns an error with a sanitized text, because net/http quotes malformed lines
// of a response. It does not wrap an error whose text contains a secret, because that text could
// be printed.
func (s Secrets) SanitizeError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := s.Sanitize(text)
	switch {
	case clean == text:
		return err
	case s.Redact(text) != text:
		return errors.New(clean)
	default:
		return &sanitizedError{clean, err}
	}
}

type sanitizedError struct {
	text string
	err  error
}

func (e *sanitizedError) Error() string { return e.text }

func (e *sanitizedError) Unwrap() error { return e.err }
