// Package redact removes secrets from texts that come from the network, before they reach an
// error or a log.
package redact

import (
	"bytes"
	"cmp"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Placeholder replaces a secret in a text.
const Placeholder = "[redacted]"

// minPart is the length of the shortest part of a secret that is redacted. Shorter parts reveal
// little, and redacting them would make texts unreadable.
const minPart = 8

// Secrets are values that must be redacted from all text.
type Secrets []string

// Redact replaces every secret, and every part of a secret that has at least minPart characters.
// It finds secrets in upper or lower case, in base64, base32 or hexadecimal, with punctuation or tags
// between their letters and digits, or escaped, once or several times, for a URL, HTML, JSON or
// another language.
func (s Secrets) Redact(text string) string {
	known := s.windows()
	long := windows{minPart: known[minPart]}
	plain, from := []byte(text), make([]int, len(text)+1)
	for i := range from {
		from[i] = i
	}
	var hidden []span
	for range maxEscapes + 1 { // at each level, because what looks like an escape may be part of a secret
		hidden = append(hidden, known.find(plain, from, from[1:])...)
		hidden = append(hidden, long.find(compact(plain, from))...)
		decoded, at := decodeEscapes(plain, from)
		if len(decoded) == len(plain) {
			break
		}
		plain, from = decoded, at
	}
	slices.SortFunc(hidden, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out strings.Builder
	end := 0 // of the text that has been written
	for _, part := range hidden {
		if part.from >= end {
			out.WriteString(text[end:part.from] + Placeholder)
		}
		end = max(end, part.to)
	}
	return out.String() + text[end:]
}

// maxError is the length of the longest error response that RedactBody searches for parts of
// secrets.
const maxError = 64 << 10

// RedactBody is like Redact, but returns the text as it is if it does not echo a whole secret;
// finding that out takes next to no time. In an error response of at most maxError bytes, it also
// finds parts of a secret.
func (s Secrets) RedactBody(text []byte, isError bool) []byte {
	if isError && len(text) <= maxError || s.areEchoed(text) {
		return []byte(s.Redact(string(text)))
	}
	return text
}

// RedactHeader returns a copy of a header, in which the values that echo a whole secret are redacted.
func (s Secrets) RedactHeader(header http.Header) http.Header {
	header = header.Clone() // a transport may keep it
	for _, values := range header {
		for i, value := range values {
			if s.areEchoed([]byte(value)) {
				values[i] = s.Redact(value)
			}
		}
	}
	return header
}

// areEchoed reports whether a text contains a whole secret, which may be escaped, or in upper or lower
// case. It looks for the longest part of the secret that no escape changes.
func (s Secrets) areEchoed(text []byte) bool {
	isPunctuation := func(c rune) bool { return c < '0' || c > '9' && c < 'A' || c > 'Z' && c < 'a' || c > 'z' }
	for _, secret := range s {
		part := ""
		for run := range strings.FieldsFuncSeq(secret, isPunctuation) {
			if len(run) > len(part) {
				part = run
			}
		}
		if len(part) < minPart {
			part = secret
		}
		for _, form := range []string{part, strings.ToLower(part), strings.ToUpper(part)} {
			if len(form) >= minPart && bytes.Contains(text, []byte(form)) {
				return true
			}
		}
	}
	return false
}

// windows holds all parts of minPart characters of the secrets, in lower case and packed, indexed by
// length. A shorter secret is a single part. Longer parts consist of these.
type windows [minPart + 1]map[uint64]bool

// pack returns up to minPart characters as a number, so that a map of them needs no allocations.
func pack(part []byte) (packed uint64) {
	for _, c := range part {
		packed = packed<<8 | uint64(c)
	}
	return packed
}

// maxCached is the maximum number of sets of secrets whose windows are cached.
const maxCached = 64

var (
	cacheLock sync.Mutex
	cache     = map[string]windows{}
)

// windows returns the windows of the secrets. They are cached, because building them takes longer
// than searching the text of an error.
func (s Secrets) windows() windows {
	cacheLock.Lock()
	defer cacheLock.Unlock()
	key := strings.Join(s, "\x00")
	known, ok := cache[key]
	if !ok {
		if len(cache) >= maxCached {
			clear(cache)
		}
		known = s.newWindows()
		cache[key] = known
	}
	return known
}

func (s Secrets) newWindows() (all windows) {
	for _, secret := range s {
		plain := []byte(secret)
		all.add(plain)
		all.addEncoded(plain)
		for range maxEscapes { // because text that looks like an escape is decoded in Redact, too
			decoded, _ := decodeEscapes(plain, make([]int, len(plain)+1))
			if len(decoded) == len(plain) || len(decoded) < minPart {
				break
			}
			plain = decoded
			all.add(plain)
		}
	}
	return all
}

func (w *windows) add(value []byte) {
	n := min(minPart, len(value))
	if n == 0 {
		return
	}
	if w[n] == nil {
		w[n] = make(map[uint64]bool, 1024)
	}
	value = lower(value)
	for i := range len(value) - n + 1 {
		w[n][pack(value[i:i+n])] = true
	}
}

// addEncoded adds the forms of the beginning of a longer secret in base64 and base32, at any offset
// in the encoded text and in any case, in hexadecimal, as decimal bytes, and without punctuation.
func (w *windows) addEncoded(secret []byte) {
	if len(secret) < minPart {
		return
	}
	secret = secret[:min(len(secret), maxText)]
	forms := []string{string(secret), hex.EncodeToString(secret), fmt.Sprintf("%d", secret)}
	for _, plain := range [][]byte{secret, bytes.ToLower(secret), bytes.ToUpper(secret)} {
		for before := range 3 {
			whole := (before + len(plain)) / 3 * 3 // the remaining characters depend on the text that follows
			text := append(make([]byte, before), plain...)[:whole]
			forms = append(forms, base64.StdEncoding.EncodeToString(text)[(before*4+2)/3:])
		}
		for before := range 5 {
			whole := (before + len(plain)) / 5 * 5
			text := append(make([]byte, before), plain...)[:whole]
			forms = append(forms, base32.StdEncoding.EncodeToString(text)[(before*8+4)/5:])
		}
	}
	for _, form := range forms {
		if value, _, _ := compact([]byte(form), make([]int, len(form)+1)); len(value) >= minPart {
			w.add(value)
		}
	}
}

// compact drops the characters that may separate those of a secret: short tags, the colours of a
// terminal, and everything except letters and digits. It returns where each remaining character begins and ends.
func compact(text []byte, at []int) (plain []byte, from, to []int) {
	plain, from, to = make([]byte, 0, len(text)), make([]int, 0, len(text)), make([]int, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
			plain, from, to = append(plain, c), append(from, at[i]), append(to, at[i+1])
		case c == '<':
			i += max(bytes.IndexByte(text[i:min(i+128, len(text))], '>'), 0)
		case c == '\x1b':
			i += max(bytes.IndexByte(text[i:min(i+16, len(text))], 'm'), 0)
		}
	}
	return plain, from, to
}

// span is a part of a text.
type span struct{ from, to int }

// find returns the spans that consist of windows. from and to hold the positions at which each
// byte of plain begins and ends in the original text.
func (w *windows) find(plain []byte, from, to []int) (all []span) {
	plain = lower(plain)
	for n, known := range w {
		end := 0 // of the last span in plain
		for i := 0; known != nil && i+n <= len(plain); i++ {
			if !known[pack(plain[i:i+n])] {
				continue
			}
			if i >= end {
				all = append(all, span{from: from[i]})
			}
			end = i + n
			all[len(all)-1].to = to[end-1]
		}
	}
	return all
}

// lower returns a copy of text in lower case. Only ASCII matters, because secrets are ASCII.
func lower(text []byte) []byte {
	text = slices.Clone(text)
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			text[i] += 'a' - 'A'
		}
	}
	return text
}

// maxEscapes is how many times an escaped text is decoded.
const maxEscapes = 6

// escapes matches escaped characters, with repeated backslashes as in JSON within JSON:
//   - %41, %u0041, U+0041, 0x41 and =41
//   - \u0041, \U00000041, \u{41}, \x41, \x{41}, \101, \n and \/
//   - &#65; and &#x41; of any length, with or without the semicolon, and &colon;
//   - fullwidth characters
var escapes = regexp.MustCompile(`(?i)(?:%u|U\+)[0-9a-f]{4}|(?:%|0x)[0-9a-f]{2}|=(?:[2-7][0-9a-f]|0[9ad])|` +
	`\\+(?:u(?:0000[0-9a-f]{4}|[0-9a-f]{4})|[ux]\{[0-9a-f]+\}|x[0-9a-f]{2}|[01][0-7]{2}|[^ux])|` +
	`&#(?:x[0-9a-f]+|[0-9]+);?|&[a-z0-9]{1,32};|&(?:amp|lt|gt|quot)|[\x{FF01}-\x{FF5E}]`)

// other replaces an escaped character that is not ASCII, which no secret has.
const other = 0xff

// narrow returns the ASCII character for its fullwidth form, and other for other characters that
// are not ASCII. A byte that is part of such a character is returned unchanged.
func narrow(char rune) byte {
	if char >= 0xFF01 && char <= 0xFF5E {
		char -= 0xFF01 - '!'
	}
	return byte(min(char, other)) //nolint:gosec // a code point is not negative
}

// decodeEscapes decodes one level of escapes.
func decodeEscapes(text []byte, from []int) (plain []byte, at []int) {
	end := 0 // of the text that has been decoded
	for _, m := range escapes.FindAllIndex(text, -1) {
		if char, ok := unescape(string(text[m[0]:m[1]])); ok {
			plain = append(append(plain, text[end:m[0]]...), char)
			at = append(at, from[end:m[0]+1]...)
			end = m[1]
		}
	}
	return append(plain, text[end:]...), append(at, from[end:]...)
}

// unescape returns the character of an escape. ok is false if it is not a valid escape.
func unescape(escape string) (char byte, ok bool) {
	code := strings.TrimLeft(escape, `\`)
	isBackslash := len(code) < len(escape)
	switch {
	case escape[0] == '&' || escape[0] >= utf8.RuneSelf:
		decoded := html.UnescapeString(escape)
		first, size := utf8.DecodeRuneInString(decoded)
		if size < len(decoded) { // not a character reference, or one of several characters
			return other, decoded != escape
		}
		return narrow(first), true
	case isBackslash && (code == "n" || code == "r" || code == "t"):
		return ' ', true
	case isBackslash && (len(code) < 2 || !strings.ContainsAny(code[:1], "uUxX01")):
		return escape[len(escape)-1], true
	case isBackslash && code[0] <= '1':
		octal, _ := strconv.ParseUint(code, 8, 8)
		return byte(octal), true
	}
	hexadecimal, _ := strconv.ParseUint(strings.Trim(strings.TrimPrefix(code, "0"), "%=uU+xX{}"), 16, 64)
	return narrow(rune(min(hexadecimal, unicode.MaxRune))), true
}

// OfRequest returns the secrets of the request for a link: the Api-Key, values added to the
// headers and to the query of the link, and the user and password. It omits short values, because
// redacting them would make texts unreadable.
func OfRequest(req *http.Request, link string) (all Secrets) {
	for name, values := range req.Header {
		for value := range strings.FieldsSeq(strings.Join(values, " ")) {
			if name == "Api-Key" || name != "User-Agent" && name != "Accept-Encoding" && len(value) >= minPart {
				all = append(all, value)
			}
		}
	}
	for name, values := range req.URL.Query() {
		for _, value := range values {
			value = cmp.Or(value, name) // a token without a name
			if len(value) >= minPart/2 && !strings.Contains(link, url.QueryEscape(value)) {
				all = append(all, value)
			}
		}
	}
	_, header, _ := req.BasicAuth()
	ofURL, _ := req.URL.User.Password()
	all = append(all, cmp.Or(header, ofURL)) // net/http sends the password of the URL only if there is no header
	if name := req.URL.User.Username(); len(name) >= minPart && !strings.Contains(link, name) {
		all = append(all, name) // it may be a token
	}
	return all
}
