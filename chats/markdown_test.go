package chats_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

const repoRoot = ".."

var (
	fence        = regexp.MustCompile("(?s)```.*?```")
	markdownLink = regexp.MustCompile(`\]\(([^)]+)\)`)
)

func readRepo(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repoRoot, name))
	require.NoError(t, err)
	return string(text)
}

// allPages are the pages for people, goPages those with Go for users.
func allPages(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.ru.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "chats/UNKNOWNS.md", "chats/BENCHMARKS.md"}
	return append(pages, goPages(t)...)
}

func goPages(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	pages := []string{"README.md"}
	for _, page := range docs {
		pages = append(pages, path.Join("chats", filepath.ToSlash(page)))
	}
	return pages
}

func goBlocks(t *testing.T, page string) []string {
	t.Helper()
	found := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readRepo(t, page), -1)
	blocks := make([]string, len(found))
	for i, block := range found {
		blocks[i] = block[1]
	}
	return blocks
}

// readTable returns the rows of the first table in page whose header begins like this.
func readTable(t *testing.T, page, header string) [][]string {
	t.Helper()
	_, after, found := strings.Cut(readRepo(t, page), header)
	require.True(t, found, "%s: no table %q", page, header)
	var rows [][]string
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "|---") || len(rows) == 0 && !strings.HasPrefix(line, "| ") {
			continue // the rest of the header
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		rows = append(rows, tableCells(strings.Trim(strings.TrimSpace(line), "|")))
	}
	require.NotEmpty(t, rows, "%s: the table %q is empty", page, header)
	return rows
}

func tableCells(line string) []string {
	row := strings.Split(line, "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

func firstColumn(rows [][]string) []string {
	column := make([]string, len(rows))
	for i, row := range rows {
		column[i] = row[0]
	}
	return column
}

func TestDocs_OperationsMatchContract(t *testing.T) {
	t.Parallel()
	limits := map[chats.Operation]int{}
	for _, row := range readTable(t, "chats/docs/rate-limits.md", "| operation |") {
		require.Len(t, row, 5, "%v", row)
		op := chats.Operation(row[0])
		limits[op], _ = strconv.Atoi(strings.ReplaceAll(row[3], ",", ""))
		route := contract.Routes()[op]
		assert.Equal(t, route.Method+" "+strings.TrimPrefix(route.Path, "/v2/businesses/{businessId}"), row[2])
		for method := range strings.SplitSeq(row[1], ", ") {
			_, exists := reflect.TypeFor[*chats.Client]().MethodByName(method)
			assert.True(t, exists, "Client has no method %s", method)
		}
		if page := map[chats.Operation]int{
			chats.OpGetChats: chats.MaxChatsPage, chats.OpGetChatHistory: chats.MaxHistoryPage,
		}[op]; page > 0 {
			assert.Equal(t, strconv.Itoa(page), row[4])
		}
	}
	assert.Equal(t, contract.RateLimits(), limits)
}

// The table in the package documentation is run by TestPackageDoc_RetryTable.
func TestDocs_RetriesMatchPackageDocumentation(t *testing.T) {
	t.Parallel()
	var want [][]string
	for line := range strings.Lines(readRepo(t, "chats/doc.go")) {
		if row, isTable := strings.CutPrefix(line, "//\t"); isTable && strings.Count(row, "|") == 2 {
			want = append(want, tableCells(row))
		}
	}
	require.Greater(t, len(want), 1)
	assert.Equal(t, want[1:], readTable(t, "chats/docs/errors-and-retries.md", "| failure |"))
}

func TestDocs_ListEveryOption(t *testing.T) {
	t.Parallel()
	for page, pkg := range map[string]string{
		"chats/docs/configuration.md": "chats", "chats/docs/inbox.md": "inbox", "chats/docs/outbox.md": "outbox",
		"chats/docs/webhooks.md": "notify", "chats/docs/testing.md": "chatstest",
	} {
		var options []string
		for _, match := range regexp.MustCompile(`(?m)^func (With\w+)`).FindAllStringSubmatch(exported(t, pkg), -1) {
			options = append(options, match[1])
		}
		assert.ElementsMatch(t, options, firstColumn(readTable(t, page, "| option |")), page)
	}
}

func TestDocs_ListEveryFault(t *testing.T) {
	t.Parallel()
	rows := readTable(t, "chats/docs/testing.md", "| fault |")
	var faults []string
	for _, match := range regexp.MustCompile(`(?m)^func (\w+)\(.*\) Fault$`).FindAllStringSubmatch(exported(t, "chatstest"), -1) {
		faults = append(faults, match[1])
	}
	assert.ElementsMatch(t, faults, firstColumn(rows))

	var want [][]string
	for line := range strings.Lines(readRepo(t, "chats/chatstest/doc.go")) {
		row := regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(strings.TrimPrefix(line, "//\t")), -1)
		if strings.HasPrefix(line, "//\t") && len(row) == 3 {
			want = append(want, row)
		}
	}
	require.Greater(t, len(want), 1)
	assert.Equal(t, want[1:], rows, "the package documentation has another table")
}

func TestDocs_ListEveryError(t *testing.T) {
	t.Parallel()
	var errs []string
	for _, match := range regexp.MustCompile(`(?m)^var (Err\w+)`).FindAllStringSubmatch(exported(t, "chats"), -1) {
		errs = append(errs, match[1])
	}
	assert.ElementsMatch(t, errs, firstColumn(readTable(t, "README.md", "| error |")))
	assert.ElementsMatch(t, errs, firstColumn(readTable(t, "README.ru.md", "| ошибка |")))
}

func TestDocs_ListEveryFieldOfRetryPolicy(t *testing.T) {
	t.Parallel()
	var fields []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[chats.RetryPolicy]()) {
		fields = append(fields, field.Name)
	}
	assert.Equal(t, fields, firstColumn(readTable(t, "chats/docs/errors-and-retries.md", "| field |")))
}

// exported is the exported API of a package, one name per line.
func exported(t *testing.T, pkg string) string {
	t.Helper()
	return readRepo(t, "api/exported/"+pkg+".txt")
}

// What the snippets may use, apart from the packages that they name.
const snippetScope = `
var err error

var (
	in  *inbox.Inbox
	crm interface{ Save(context.Context, chats.Chat, chats.Message) error }
)

func answerAll(context.Context, *chats.Client) error { return nil }

func task(
	ctx context.Context, client *chats.Client, business chats.BusinessID, key string,
	chatID chats.ChatID, orderID chats.OrderID, last chats.MessageID,
) error {
%s	return nil
}
`

var snippetImports = map[string]string{
	"chats": "github.com/ymchats/ymchats-go/chats", "chatstest": "github.com/ymchats/ymchats-go/chats/chatstest",
	"context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "io": "io", "netip": "net/netip", "os": "os",
	"slog": "log/slog", "sql": "database/sql", "testing": "testing", "time": "time", "tls": "crypto/tls",
	"notify": "github.com/ymchats/ymchats-go/chats/notify", "inbox": "github.com/ymchats/ymchats-go/chats/inbox",
	"outbox": "github.com/ymchats/ymchats-go/chats/outbox", "sqlstore": "github.com/ymchats/ymchats-go/chats/sqlstore", "synctest": "testing/synctest",
}

// snippetFile makes a whole file of a snippet.
func snippetFile(block string) string {
	if strings.HasPrefix(block, "package ") {
		return block
	}
	statements, declarations, scope := block, "", snippetScope
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+block, 0); err == nil {
		statements, declarations = "", block
	}
	if strings.HasPrefix(declarations, "func answerAll(") {
		scope = strings.ReplaceAll(scope, "func answerAll(", "func _(")
	}
	body := declarations + fmt.Sprintf(scope, statements)
	var file strings.Builder
	file.WriteString("package p\n")
	for name, importPath := range snippetImports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(body) {
			fmt.Fprintf(&file, "import %s %q\n", name, importPath)
		}
	}
	return file.String() + body
}

// The snippets are compiled, but not linked, as packages of this module that exist
// in an overlay only.
func TestDocs_SnippetsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the compiler")
	}
	t.Parallel()
	dir, err := filepath.Abs(repoRoot)
	require.NoError(t, err)
	replace := map[string]string{}
	for _, page := range goPages(t) {
		for i, block := range goBlocks(t, page) {
			formatted, err := format.Source([]byte(block))
			require.NoError(t, err, "%s: %s", page, block)
			assert.Equal(t, block, string(formatted), "%s: gofmt", page)

			name := fmt.Sprintf("%s-%d", strings.TrimSuffix(path.Base(page), ".md"), i)
			file := filepath.Join(t.TempDir(), name+".go")
			require.NoError(t, os.WriteFile(file, []byte(snippetFile(block)), 0o600))
			replace[filepath.Join(dir, "snippets", name, "snippet.go")] = file
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(file, overlay, 0o600))

	compile := exec.CommandContext(t.Context(), "go", "list", "-export", "-overlay="+file, "./snippets/...")
	compile.Dir = dir
	out, err := compile.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, len(replace), bytes.Count(out, []byte("/snippets/")), "%s", out)
}

func TestDocs_LinksResolve(t *testing.T) {
	t.Parallel()
	for _, page := range allPages(t) {
		for _, link := range markdownLink.FindAllStringSubmatch(fence.ReplaceAllString(readRepo(t, page), ""), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			target, anchor, _ := strings.Cut(link[1], "#")
			if target = path.Join(path.Dir(page), target); link[1][0] == '#' {
				target = page
			}
			_, err := os.Stat(filepath.Join(repoRoot, target))
			require.NoError(t, err, "%s: %s", page, link[1])
			if anchor != "" {
				assert.Contains(t, anchors(readRepo(t, target)), anchor, "%s: %s", page, link[1])
			}
		}
	}
}

// anchors are what GitHub makes of the headings.
func anchors(text string) (all []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
	for _, heading := range regexp.MustCompile(`(?m)^##+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := dropped.ReplaceAllString(strings.ToLower(heading[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

func TestDocs_NamesExist(t *testing.T) {
	t.Parallel()
	api := map[string]string{}
	var all strings.Builder
	for _, pkg := range []string{"chats", "chatstest", "inbox", "notify", "outbox", "sqlstore"} {
		api[pkg] = exported(t, pkg)
		all.WriteString(api[pkg])
	}
	everything := all.String()
	for _, page := range allPages(t) {
		text := readRepo(t, page)
		exists := func(name, pattern string, where string) {
			assert.True(t, regexp.MustCompile(pattern).MatchString(where), "%s: there is no %s", page, name)
		}
		for _, m := range regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z-]*)").FindAllStringSubmatch(text, -1) {
			exists(m[0], `(?m)^`+m[1]+`:`, readRepo(t, "Makefile"))
		}
		for _, m := range regexp.MustCompile(`\b(chats|chatstest|inbox|notify|outbox|sqlstore)\.([A-Z]\w+)`).FindAllStringSubmatch(text, -1) {
			exists(m[0], `(?m)^(const|func|type|var) `+m[2]+`\b`, api[m[1]])
		}
		for _, m := range regexp.MustCompile(`\b(?:Err|With)[A-Z]\w+`).FindAllString(text, -1) {
			exists(m, `(?m)^(func|var) `+m+`\b`, everything)
		}
		members := regexp.MustCompile("`(?:\\w+\\.)?(Client|Inbox|Outbox|Market|Error|RetryPolicy)\\.([A-Z]\\w+)")
		for _, m := range members.FindAllStringSubmatch(text, -1) {
			exists(m[0], `(?m)^(method \(\*?`+m[1]+`\) |type `+m[1]+` struct, field )`+m[2]+`\b`, everything)
		}
	}
}

func TestContributing_NamesExist(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	for _, glob := range []string{"*_test.go", "*/*_test.go"} {
		files, err := filepath.Glob(glob)
		require.NoError(t, err)
		for _, file := range files {
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(readRepo(t, "chats/"+file), -1) {
				tests[m[1]] = true
			}
		}
	}
	for _, page := range []string{"CONTRIBUTING.md", "SECURITY.md"} {
		for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(readRepo(t, page), -1) {
			assert.True(t, tests[m[1]], "%s: there is no %s", page, m[1])
		}
	}
	for _, m := range regexp.MustCompile("`((?:api|chats|gen|inbox)/[\\w/.-]*|\\w+\\.go)[`,]").FindAllStringSubmatch(readRepo(t, "CONTRIBUTING.md"), -1) {
		file := m[1]
		if !strings.Contains(file, "/") || strings.HasPrefix(file, "inbox/") {
			file = "chats/" + file
		}
		_, err := os.Stat(filepath.Join(repoRoot, file))
		_, inMarket := os.Stat(filepath.Join(repoRoot, "chats/chatstest", path.Base(file))) // the steps name some of them alone
		assert.True(t, err == nil || inMarket == nil, "CONTRIBUTING.md: there is no %s", file)
	}
}

func TestReadme_LinksEveryPage(t *testing.T) {
	t.Parallel()
	readme := readRepo(t, "README.md")
	for _, page := range append(goPages(t)[1:], "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "chats/UNKNOWNS.md", "chats/BENCHMARKS.md") {
		assert.Contains(t, readme, "]("+page, "README.md does not link it")
	}
}
