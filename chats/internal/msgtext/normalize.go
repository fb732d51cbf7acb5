package msgtext

import (
	"html"
	"strings"
	"unicode"
)

// maxUnescapes is the maximum number of times that a text is unescaped.
const maxUnescapes = 4

// Normalize returns the normalized form of a text; texts with the same form count as the same
// message. It removes differences that a server is known to introduce: in the kind and number of
// whitespace characters, in control and zero-width characters, and in HTML escapes.
func Normalize(text string) string {
	if isNormal(text) {
		return text
	}
	for range maxUnescapes {
		unescaped := html.UnescapeString(text)
		if unescaped == text {
			break
		}
		text = unescaped
	}
	text = strings.Map(func(r rune) rune {
		if isInvisible(r) {
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// isNormal reports whether Normalize would certainly return the text unchanged. For most texts,
// this check takes a tenth of the time that the normalization takes.
func isNormal(text string) bool {
	last := ' '
	for _, r := range text {
		if r == '&' || r == ' ' && last == ' ' || !isPlain(r) {
			return false
		}
		last = r
	}
	return last != ' '
}

// isPlain reports whether a character is in a range without control and format characters, and
// without whitespace other than the space.
func isPlain(r rune) bool { return ' ' <= r && r <= '~' || '\u00AE' <= r && r < '\u0600' }

// isInvisible reports whether a character is a control or format character other than
// whitespace.
func isInvisible(r rune) bool {
	return !isPlain(r) && unicode.In(r, unicode.Cc, unicode.Cf) && !unicode.IsSpace(r)
}
