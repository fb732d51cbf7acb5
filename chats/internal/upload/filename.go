package upload

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFileName is the maximum length of a file name in bytes of UTF-8, as in file systems. Market
// documents no maximum.
const maxFileName = 255

// CheckFileName returns the reason why a file cannot be sent under a name, or an empty string.
func CheckFileName(name string) (reason string) {
	switch {
	case name == "":
		return "is empty"
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case strings.ContainsAny(name, `/\`) || strings.Trim(name, ". ") == "": // ".." is a path, too
		return "must be a name without a path"
	case len(name) > maxFileName:
		return fmt.Sprintf("%d bytes, at most %d allowed", len(name), maxFileName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "contains a control character"
	}
	return ""
}
