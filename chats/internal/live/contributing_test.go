package live_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func contributing(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(library, "..", "CONTRIBUTING.md"))
	require.NoError(t, err)
	return string(page)
}

// The map of files names every file of these packages and every internal package or files of
// it, and nothing else.
func TestContributing_MapIsComplete(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	for _, path := range regexp.MustCompile("`(chats/[\\w/.-]+)`").FindAllStringSubmatch(contributing(t), -1) {
		path := strings.TrimSuffix(strings.TrimPrefix(path[1], "chats/"), "/")
		named[path], named[filepath.ToSlash(filepath.Dir(path))] = true, true
		_, err := os.Stat(filepath.Join(library, path))
		require.NoError(t, err)
	}
	for _, pattern := range []string{"*.go", "notify/*.go", "chatstest/*.go", "inbox/*.go", "outbox/*.go", "sqlstore/*.go", "internal/*"} {
		paths, err := filepath.Glob(filepath.Join(library, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			path, err := filepath.Rel(library, path)
			require.NoError(t, err)
			if filepath.Base(path) != "doc.go" && !strings.HasSuffix(path, "_test.go") {
				assert.True(t, named[filepath.ToSlash(path)], "%s is not in the map", path)
			}
		}
	}
}

// The table of mutants names functions and expressions that exist.
func TestContributing_MutantsAreOfExistingFunctions(t *testing.T) {
	t.Parallel()
	_, table, found := strings.Cut(contributing(t), "| mutant | why it survives |\n|---|---|\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	code := regexp.MustCompile("`([^`]+)`")
	function := regexp.MustCompile(`^[a-zA-Z]\w*$`)
	lines := 0
	for line := range strings.Lines(table) {
		lines++
		names := code.FindAllStringSubmatch(strings.Split(line, "|")[1], -1)
		source, err := os.ReadFile(filepath.Join(library, names[0][1]))
		require.NoError(t, err, line)
		for _, name := range names[1:] {
			switch {
			case strings.HasSuffix(name[1], ".go"):
				source, err = os.ReadFile(filepath.Join(library, name[1]))
				require.NoError(t, err, line)
			case function.MatchString(name[1]):
				assert.Regexp(t, `(?m)^(func|var) (\([^)]*\) )?`+name[1]+`\b`, string(source), line)
			default:
				assert.Contains(t, string(source), name[1], line)
			}
		}
	}
	assert.Greater(t, lines, 5)
}
