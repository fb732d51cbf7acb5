// Package redact removes secrets from texts that come from the network, before they reach an
// error or a log.
package redact

import (
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Placeholder replaces a secret in a text.
const Placeholder = "[redacted]"

// maxText is the maximum length of a sanitized text, in characters, and maxInput the number
// of bytes of which it is made.
const (
	maxText  = 512
	maxInput = 64 << 10
)

// minPart is the length of the shortest part of a secret that is redacted. Shorter ones say
// little, and redacting them would make texts unreadable.
const minPart = 8

// Secrets are values that must be redacted from all text.
type Secrets []string

// Redact replaces every secret, and every part of one of minPart characters or more,
// however it is written: in another case, or escaped for a URL, HTML or JSON, also several
// times.
func (s Secrets) Redact(text string) string {
	values := make([][]byte, len(s))
	for i, secret := range s {
		values[i], _ = normalize(secret)
	}
	plain, from := normalize(text)
	var out strings.Builder
	end := 0 // of what has been written
	for i := 0; i < len(plain); {
		n := longestPart(values, plain[i:])
		if n == 0 {
			i++
			continue
		}
		out.WriteString(text[end:from[i]] + Placeholder)
		i += n
		end = from[i]
	}
	return out.String() + text[end:]
}

// longestPart returns the length of the longest part of a value with which text begins, or
// 0.
func longestPart(values [][]byte, text []byte) (longest int) {
	for _, value := range values {
		for start := range value {
			n := 0
			for n < len(text) && start+n < len(value) && text[n] == value[start+n] {
				n++
			}
			if n >= min(minPart, len(value)) {
				longest = max(longest, n)
			}
		}
	}
	return longest
}

// maxEscapes is how many times an escaped text is decoded.
const maxEscapes = 6

// normalize returns a text in lower case and without escapes, and where each byte of it
// stands in the text. Secrets are ASCII, so bytes are sufficient.
func normalize(text string) (plain []byte, from []int) {
	plain, from = []byte(text), make([]int, len(text)+1)
	for i := range from {
		from[i] = i
	}
	for range maxEscapes {
		plain, from = decodeEscapes(plain, from)
	}
	for i, c := range plain {
		if 'A' <= c && c <= 'Z' {
			plain[i] += 'a' - 'A'
		}
	}
	return plain, from
}

// escapes matches the escapes of ASCII characters: %41, \u0041, \x41, \/ and &amp;, the
// backslash as often as JSON in JSON doubles it.
var escapes = regexp.MustCompile(`(?i)%[0-7][0-9a-f]|\\+(?:u00[0-7][0-9a-f]|x[0-7][0-9a-f]|[^ux])|&#?[a-z0-9]{1,10};`)

// decodeEscapes decodes one level of escapes.
func decodeEscapes(text []byte, from []int) (plain []byte, at []int) {
	end := 0 // of what has been decoded
	for _, m := range escapes.FindAllIndex(text, -1) {
		if char, ok := unescape(string(text[m[0]:m[1]])); ok {
			plain = append(append(plain, text[end:m[0]]...), char)
			at = append(at, from[end:m[0]+1]...)
			end = m[1]
		}
	}
	return append(plain, text[end:]...), append(at, from[end:]...)
}

// unescape returns the character that is escaped, and false if there is no such character.
func unescape(escape string) (char byte, ok bool) {
	if escape[0] == '&' {
		decoded := html.UnescapeString(escape)
		return decoded[0], len(decoded) == 1
	}
	if digits := strings.TrimLeft(escape, `%\`); len(digits) > 1 {
		code, _ := strconv.ParseUint(digits[len(digits)-2:], 16, 8)
		return byte(code), true
	}
	return escape[len(escape)-1], true
}

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

// SanitizeError returns an error with a sanitized text: net/http quotes a malformed line
// of a response, whatever it contains. An error whose text held a secret is not wrapped,
// because its text could be printed.
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

// OfRequest returns the secrets of the request for a link: the Api-Key, and what has been
// added to the headers and to the query of the link. Redacting short values would make
// texts unreadable.
func OfRequest(req *http.Request, link string) (all Secrets) {
	for name, values := range req.Header {
		for value := range strings.FieldsSeq(strings.Join(values, " ")) {
			if name == "Api-Key" || name != "User-Agent" && len(value) >= minPart {
				all = append(all, value)
			}
		}
	}
	for _, values := range req.URL.Query() {
		for _, value := range values {
			if len(value) >= minPart/2 && !strings.Contains(link, url.QueryEscape(value)) {
				all = append(all, value)
			}
		}
	}
	_, password, _ := req.BasicAuth()
	return append(all, password)
}
