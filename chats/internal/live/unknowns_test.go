package live_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const library = "../.." // the directory of package chats

// Each row names at least one test.
func TestUnknowns_NameExistingTests(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(library, "UNKNOWNS.md"))
	require.NoError(t, err)
	tests := testsBelow(t, library)
	name := regexp.MustCompile(`\bTest[A-Z]\w*`)
	lines := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], "-") || strings.TrimSpace(cells[3]) == "tests" {
			continue
		}
		lines++
		named := name.FindAllString(cells[3], -1)
		assert.NotEmpty(t, named, "no test: %s", line)
		for _, test := range named {
			assert.True(t, tests[test], "%s does not exist: %s", test, cells[1])
		}
	}
	assert.Greater(t, lines, 20)
}

func testsBelow(t *testing.T, root string) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range function.FindAllSubmatch(text, -1) {
			tests[string(match[1])] = true
		}
		return err
	})
	require.NoError(t, err)
	return tests
}
