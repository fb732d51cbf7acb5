package upload

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckFileName(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]string{
		"":                       "is empty",
		"\xff.jpg":               "is not valid UTF-8",
		"photos/a.jpg":           "must be a name without a path",
		`C:\a.jpg`:               "must be a name without a path",
		"..":                     "must be a name without a path",
		" . ":                    "must be a name without a path",
		"..a":                    "",
		"a\u0085.jpg":            "contains a control character",
		strings.Repeat("ж", 128): "256 bytes, at most 255 allowed",
		strings.Repeat("a", 255): "",
		"Счёт № 5 (копия) <1>; \"a\".pdf": "",
	} {
		assert.Equal(t, reason, CheckFileName(name), "%q", name)
	}
}
