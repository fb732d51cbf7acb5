// Package msgtext splits and compares the texts of messages.
package msgtext

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// breaks are the places where a text may be split, in order of preference.
var breaks = []*regexp.Regexp{
	regexp.MustCompile(`\n[\t\r\p{Z}]*\n[\s\p{Z}]*`),                                            // paragraphs
	regexp.MustCompile(`[.!?…؟۔।]["'»”’)\]]*[\s\p{Z}]+|[。！？]["'”’）」』]*[\s\p{Z}]*|\n[\s\p{Z}]*`), // sentences and lines
	regexp.MustCompile(`[\s\p{Z}]+`),                                                            // words
}

// Split splits a text into parts of at most longest characters (Unicode code points). It prefers
// to split after a paragraph, then after a sentence or line, then after a word. If a word is too
// long, it splits where that does not change how its characters are displayed, if possible. Only
// the whitespace at the splits is dropped, and parts that could not be found in a history: those
// without a visible character. A text that is short enough is returned unchanged; a blank text has
// no parts. Invalid UTF-8 is kept, with each byte counting as a character.
func Split(text string, longest int) (parts []string) {
	if Normalize(text) == "" {
		return nil
	}
	for text != "" {
		part, at := text, runeOffset(text, longest)
		if at < len(text) {
			at = splitAt(text, at)
			part = strings.TrimRightFunc(text[:at], unicode.IsSpace)
		}
		if Normalize(part) != "" {
			parts = append(parts, part)
		}
		text = strings.TrimLeftFunc(text[at:], unicode.IsSpace)
	}
	return parts
}

// runeOffset returns the offset of the character with index n, or len(text) if text is shorter.
func runeOffset(text string, n int) int {
	for offset := range text {
		if n == 0 {
			return offset
		}
		n--
	}
	return len(text)
}

// splitAt returns where to split a text so that the first part has at most end bytes, not counting
// trailing whitespace.
func splitAt(text string, end int) int {
	// Whitespace at a split is dropped, so it may exceed the maximum.
	window := text[:len(text)-len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))]
	for _, pattern := range breaks {
		if all := pattern.FindAllStringIndex(window, -1); len(all) > 0 && all[len(all)-1][1] > 0 {
			return all[len(all)-1][1]
		}
	}
	for at := end; at > 0; {
		last, size := utf8.DecodeLastRuneInString(text[:at])
		next, _ := utf8.DecodeRuneInString(text[at:])
		if !belongTogether(last, next) {
			return at
		}
		at -= size
	}
	return end
}

// viramas join the letters around them into one, in the scripts of India, Cambodia and Burma.
const viramas = "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0ccd\u0d4d\u17d2\u1039"

// belongTogether reports whether a split between two characters would change how they are
// displayed. Flags are pairs of regional indicators; any two of those are kept together.
func belongTogether(last, next rune) bool {
	const zeroWidthJoiner = '\u200d'
	isFlag := func(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }
	isModifier := func(r rune) bool { return r >= 0x1F3FB && r <= 0x1F3FF }
	// The beginning of a Korean syllable, and other parts of a Korean, Thai or Lao one.
	isLead := func(r rune) bool { return r >= 0x1100 && r <= 0x115F || r >= 0xA960 && r <= 0xA97C }
	isPart := func(r rune) bool {
		return r >= 0x1160 && r <= 0x11FF || r >= 0xD7B0 && r <= 0xD7FB || r == 0x0E33 || r == 0x0EB3
	}
	return last == zeroWidthJoiner || isModifier(next) || isFlag(last) && isFlag(next) || isPart(next) ||
		isLead(last) && (isLead(next) || next >= 0xAC00 && next <= 0xD7A3) || unicode.Is(unicode.Prepended_Concatenation_Mark, last) ||
		strings.ContainsRune(viramas, last) && unicode.IsLetter(next) ||
		unicode.In(next, unicode.M, unicode.Cf)
}
