package chats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

const repoRoot = ".."

// readmes are the README in its languages, with the words that its tables use.
var readmes = map[string]struct{ operations, failures, repeated string }{
	"README.md":    {"| operation |", "| failure |", "repeated"},
	"README.ru.md": {"| операция |", "| что случилось |", "повтор"},
}

func readRepo(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repoRoot, name))
	require.NoError(t, err)
	return string(text)
}

// readmeBlocks are the pieces of Go in a README.
func readmeBlocks(t *testing.T, name string) []string {
	t.Helper()
	found := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readRepo(t, name), -1)
	blocks := make([]string, len(found))
	for i, block := range found {
		blocks[i] = block[1]
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// readmeTable gives the rows of the table whose header begins so.
func readmeTable(t *testing.T, text, header string) [][]string {
	t.Helper()
	_, after, found := strings.Cut(text, header)
	require.True(t, found, "no table %q", header)
	var rows [][]string
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "|---") || len(rows) == 0 && !strings.HasPrefix(line, "| ") {
			continue // what is left of the header
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		rows = append(rows, tableCells(strings.Trim(strings.TrimSpace(line), "|")))
	}
	require.NotEmpty(t, rows, "the table %q is empty", header)
	return rows
}

func tableCells(line string) []string {
	row := strings.Split(line, "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

func TestTheReadmesOperationsAreTheContracts(t *testing.T) {
	t.Parallel()
	digits := regexp.MustCompile(`\D`)
	for name, words := range readmes {
		limits := map[chats.Operation]int{}
		for _, row := range readmeTable(t, readRepo(t, name), words.operations) {
			require.Len(t, row, 5, "%s: %v", name, row)
			op := chats.Operation(row[0])
			limits[op], _ = strconv.Atoi(digits.ReplaceAllString(row[3], ""))
			route := contract.Routes()[op]
			assert.Equal(t, route.Method+" "+strings.TrimPrefix(route.Path, "/v2/businesses/{businessId}"), row[2], name)
			for method := range strings.SplitSeq(row[1], ", ") {
				_, exists := reflect.TypeFor[*chats.Client]().MethodByName(method)
				assert.True(t, exists, "%s: Client has no method %s", name, method)
			}
			if page := map[chats.Operation]int{
				chats.OpGetChats: chats.MaxChatsPage, chats.OpGetChatHistory: chats.MaxHistoryPage,
			}[op]; page > 0 {
				assert.Equal(t, strconv.Itoa(page), row[4], name)
			}
		}
		assert.Equal(t, contract.RateLimits(), limits, name)
	}
}

func TestTheReadmesRetriesAreThePackageDocumentations(t *testing.T) {
	t.Parallel()
	want := retriesOfTheDocumentation(t)
	for name, words := range readmes {
		got := readmeTable(t, readRepo(t, name), words.failures)
		require.Len(t, got, len(want), name)
		for i, row := range got {
			for column, cell := range row {
				cell = strings.ReplaceAll(cell, words.repeated, "repeated")
				if column > 0 || name == "README.md" {
					assert.Equal(t, want[i][column], cell, "%s: %v", name, row)
				}
			}
		}
	}
}

func retriesOfTheDocumentation(t *testing.T) [][]string {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(readRepo(t, "chats/doc.go")) {
		if row, isTable := strings.CutPrefix(line, "//\t"); isTable && strings.Count(row, "|") == 2 {
			rows = append(rows, tableCells(row))
		}
	}
	require.Greater(t, len(rows), 1)
	return rows[1:]
}

func TestTheReadmesShowTheSameCode(t *testing.T) {
	t.Parallel()
	comments := regexp.MustCompile(`// .*`)
	code := func(name string) []string {
		blocks := readmeBlocks(t, name)
		for i, block := range blocks {
			blocks[i] = comments.ReplaceAllString(block, "//")
		}
		return blocks
	}
	assert.Equal(t, code("README.md"), code("README.ru.md"))
}

// TestTheBuyerIsAnswered stands in the README, word for word.
func TestTheBuyerIsAnswered(t *testing.T) {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	market.CustomerSays(chat, "Здравствуйте! Где мой заказ?")
	market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter()) // posted, but the answer is lost

	if err := answerAll(t.Context(), market.Client()); err != nil {
		t.Fatal(err)
	}

	messages := market.Messages(chat)
	if len(messages) != 2 || messages[1].Sender != chats.SenderPartner {
		t.Errorf("the buyer should have one answer: %+v", messages)
	}
}

// answerAll is the program that the README tests.
func answerAll(ctx context.Context, client *chats.Client) error {
	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	var list []chats.Chat
	for chat, err := range client.Chats(ctx, waiting) {
		if err != nil {
			return err
		}
		list = append(list, chat)
	}
	for _, chat := range list {
		if _, err := client.SendTextConfirmed(ctx, chat.ID, "Здравствуйте! Разбираемся, скоро ответим."); err != nil {
			return err
		}
	}
	return nil
}

func TestTheReadmesTestIsThisOne(t *testing.T) {
	t.Parallel()
	source := readRepo(t, "chats/readme_test.go")
	block := slices.IndexFunc(readmeBlocks(t, "README.md"), func(b string) bool { return strings.HasPrefix(b, "func Test") })
	require.NotEqual(t, -1, block)
	assert.Contains(t, source, "\n"+readmeBlocks(t, "README.md")[block])
}

// What the README's pieces may take for readmeGranted, beside the packages that they name.
const readmeGranted = `
var err error

func answerAll(context.Context, *chats.Client) error { return nil }

var (
	in  interface{ Wake(context.Context, chats.ChatID) error }
	crm interface{ Save(context.Context, chats.Chat, chats.Message) error }
)

func task(
	ctx context.Context, client *chats.Client, business chats.BusinessID, key string,
	chatID chats.ChatID, orderID chats.OrderID, last chats.MessageID,
) error {
%s	return nil
}
`

var readmeImports = map[string]string{
	"chats": "github.com/ymchats/ymchats-go/chats", "chatstest": "github.com/ymchats/ymchats-go/chats/chatstest",
	"context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "io": "io", "os": "os",
	"slog": "log/slog", "sql": "database/sql", "testing": "testing", "time": "time", "tls": "crypto/tls",
	"notify": "github.com/ymchats/ymchats-go/chats/notify", "inbox": "github.com/ymchats/ymchats-go/chats/inbox",
	"sqlstore": "github.com/ymchats/ymchats-go/chats/sqlstore",
}

// readmeProgram makes a piece of Go a whole file.
func readmeProgram(block string) string {
	if strings.HasPrefix(block, "package ") {
		return block
	}
	statements, declarations := block, ""
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+block, 0); err == nil {
		statements, declarations = "", block
	}
	body := declarations + fmt.Sprintf(readmeGranted, statements)
	var file strings.Builder
	file.WriteString("package p\n")
	for name, path := range readmeImports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(body) {
			fmt.Fprintf(&file, "import %s %q\n", name, path)
		}
	}
	return file.String() + body
}

// The pieces are compiled, and not linked, as packages of this module which are laid
// over it and exist nowhere on the disk.
func TestTheReadmesCodeCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the compiler's time")
	}
	t.Parallel()
	dir, err := filepath.Abs(repoRoot)
	require.NoError(t, err)
	replace := map[string]string{}
	for i, block := range readmeBlocks(t, "README.md") {
		formatted, err := format.Source([]byte(block))
		require.NoError(t, err, block)
		assert.Equal(t, block, string(formatted), "gofmt")

		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.go", i))
		require.NoError(t, os.WriteFile(file, []byte(readmeProgram(block)), 0o600))
		replace[filepath.Join(dir, "readme", strconv.Itoa(i), "piece.go")] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(file, overlay, 0o600))

	compile := exec.CommandContext(t.Context(), "go", "list", "-export", "-overlay="+file, "./readme/...")
	compile.Dir = dir
	out, err := compile.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, len(replace), bytes.Count(out, []byte("/readme/")), "%s", out)
}

func TestTheReadmesNameWhatExists(t *testing.T) {
	t.Parallel()
	makefile := readRepo(t, "Makefile")
	for name := range readmes {
		text := readRepo(t, name)
		for _, target := range regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z-]*)").FindAllStringSubmatch(text, -1) {
			assert.Regexp(t, `(?m)^`+target[1]+`:`, makefile, name)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
			if anchor, within := strings.CutPrefix(link[1], "#"); within {
				assert.Contains(t, readmeAnchors(text), anchor, name)
				continue
			}
			_, err := os.Stat(filepath.Join(repoRoot, link[1]))
			require.NoError(t, err, name)
		}
		for _, word := range regexp.MustCompile(`\bErr[A-Z][A-Za-z]+`).FindAllString(text, -1) {
			assert.Contains(t, readRepo(t, "chats/errors.go"), "\t"+word+" = ", name)
		}
	}
}

// readmeAnchors are what GitHub makes of the headings.
func readmeAnchors(text string) (anchors []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
	for _, heading := range regexp.MustCompile(`(?m)^##+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := dropped.ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
	}
	return anchors
}
