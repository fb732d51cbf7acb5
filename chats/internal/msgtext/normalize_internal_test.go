package msgtext

import (
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
)

func TestIsInvisible_AgreesWithTheTables(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := unicode.In(r, unicode.Cc, unicode.Cf) && !unicode.IsSpace(r)
		if got := isInvisible(r); got != want {
			assert.Equal(t, want, got, "%U", r)
		}
		if isPlain(r) && r != ' ' && unicode.IsSpace(r) {
			assert.Fail(t, "not plain", "%U", r)
		}
	}
}

// What is said to be normal is what the rest of Normalize leaves as it is.
func FuzzIsNormal(f *testing.F) {
	for _, text := range []string{"", " ", "a", "a b", "a  b", " a", "a ", "a&amp;b", "a\u00a0b", "a\u00adb", "Да, нет", "a\xffb", "a\tb", "\u200b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if isNormal(text) {
			assert.Equal(t, text, Normalize("&#32;"+text))
		}
	})
}
