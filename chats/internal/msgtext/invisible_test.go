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
	}
}
