package chats

import (
	"errors"
	"strings"
	"unicode"
)

// redacted replaces a secret in a text.
const redacted = "[redacted]"

// maxText is the maximum length of a text from the server in an error, in characters.
const maxText = 512

// secrets are values that must be redacted from all text.
type secrets []string

func (s secrets) redact(text string) string {
	for _, raw := range s {
		if raw != "" {
			text = strings.ReplaceAll(text, raw, redacted)
		}
	}
	return text
}

// sanitize makes a text from the network fit for an error: one printable line of at most
// maxText characters, without secrets.
func (s secrets) sanitize(text string) string {
	words := strings.FieldsFunc(strings.ToValidUTF8(s.redact(text), "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	runes := []rune(strings.Join(words, " "))
	return string(runes[:min(len(runes), maxText)])
}

// sanitizeError returns an error with a sanitized text: net/http quotes a malformed line
// of a response, whatever it contains. An error whose text held a secret is not wrapped,
// because its text could be printed.
func (s secrets) sanitizeError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := s.sanitize(text)
	switch {
	case clean == text:
		return err
	case s.redact(text) != text:
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
