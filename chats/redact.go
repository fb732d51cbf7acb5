package chats

import (
	"errors"
	"strings"
	"unicode"
)

const redacted = "[redacted]"

// maxText bounds a text that the server put into an error.
const maxText = 512

// secrets are what may show in no text, whoever wrote it.
type secrets []string

func (s secrets) redact(text string) string {
	for _, raw := range s {
		if raw != "" {
			text = strings.ReplaceAll(text, raw, redacted)
		}
	}
	return text
}

// clean makes a text from the network fit for an error: one line, printable, bounded,
// without a secret.
func (s secrets) sanitize(text string) string {
	words := strings.FieldsFunc(strings.ToValidUTF8(s.redact(text), "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	runes := []rune(strings.Join(words, " "))
	return string(runes[:min(len(runes), maxText)])
}

// masked is an error whose text is clean: net/http quotes the broken line of an answer,
// whatever it holds. One that held a secret is not unwrapped any more.
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
