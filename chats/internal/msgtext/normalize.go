package msgtext

import (
	"html"
	"strings"
	"unicode"
)

// maxUnescapes is the maximum number of times that a text is unescaped.
const maxUnescapes = 4

// Normalize returns what two texts must have in common to be the same message. It drops
// what a server is known to change: the kind and number of whitespace characters, control
// and zero-width characters, and HTML escapes.
func Normalize(text string) string {
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

// isInvisible reports whether a character is a control or format character other than
// whitespace. It decides most texts without the tables, of which each lookup takes long.
func isInvisible(r rune) bool {
	hasNone := ' ' <= r && r <= '~' || '\u00AE' <= r && r < '\u0600'
	return !hasNone && unicode.In(r, unicode.Cc, unicode.Cf) && !unicode.IsSpace(r)
}
