package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/internal/live"
)

func TestWalkthrough_InAnotherLanguage(t *testing.T) {
	t.Parallel()
	s := start(t)
	walk := exec.CommandContext(t.Context(), "./walkthrough.sh", s.config.baseURL)
	out, err := walk.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for op, calls := range map[chats.Operation]int{
		chats.OpGetChats: 4, chats.OpGetChat: 4, chats.OpGetChatHistory: 1, chats.OpGetChatMessage: 2,
		chats.OpCreateChat: 2, chats.OpSendMessageToChat: 2, chats.OpSendFileToChat: 1,
	} {
		assert.GreaterOrEqual(t, s.current().market.Calls(op)+1, calls, op)
		assert.NotZero(t, s.current().market.Calls(op), op)
	}
}

// The tests of package live run against a Market with known conversations; here they use the
// sandbox's conversations.
func TestLive_RunsAgainstTheSandbox(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"oldestFirst", "newestFirst", "newestPageFirst"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			require.NoError(t, s.behaviour.choose("order", order))
			require.NoError(t, s.behaviour.choose("times", "precise"))
			require.NoError(t, s.behaviour.choose("texts", "trimmed"))
			s.current().apply()
			for range 110 {
				s.current().market.CustomerSays(s.current().market.Chats()[0].ID, "Когда?")
			}
			orders := s.current().allOrders()
			report := live.Run(t, live.Config{
				BaseURL: s.config.baseURL, Key: s.key(), Business: s.business(), Order: orders[len(orders)-1].ID,
			})
			t.Logf("\n%s", report)
			assert.Equal(t, map[string]string{
				"oldestFirst": live.OldestFirst, "newestFirst": live.NewestFirst, "newestPageFirst": live.NewestPageFirst,
			}[order], report.Finding("order of messages"))
			assert.Equal(t, "newest first, by updatedAt", report.Finding("order of chats"))
			assert.Equal(t, "inclusive", report.Finding("messageIdFrom"))
			assert.Contains(t, report.Finding("fields and values outside the contract"), "none in ")
			assert.Contains(t, report.Finding("page limits of chats"), "21: 400")
			assert.Contains(t, report.Finding("page limits of messages"), "101: 400")
			assert.Contains(t, report.Finding("attachments"), "without the credential: 403; with it: opens, size as reported: true")
			assert.Equal(t, "the same chat: true", report.Finding("opening a chat twice"))
			assert.Equal(t, "without the spaces at its edges", report.Finding("a text is stored"))
			assert.Equal(t, "at once, name kept: true", report.Finding("a file is stored"))
			assert.Empty(t, broken(s), "it breaks the contract on purpose only")
		})
	}
}

// broken returns the rules that the logged calls broke, except the limits that live tries out.
func broken(s *sandbox) (all []string) {
	for _, e := range s.exchanges.summaries(maxExchanges) {
		for _, rule := range e.Broken {
			if !strings.HasPrefix(rule, "query parameter limit: number must be at most") {
				all = append(all, e.Target+": "+rule)
			}
		}
	}
	return all
}

func TestFaults_OfEveryKindReachTheProgram(t *testing.T) {
	t.Parallel()
	for _, kind := range faultNames() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			once := s.client(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1, AttemptTimeout: time.Second}))
			id := s.current().market.Chats()[0].ID
			_, err := once.Chat(t.Context(), id) // the response that Replay repeats
			require.NoError(t, err)
			mustDo[settings](t, s, http.MethodPost, "/sandbox/faults", rule{Operation: chats.OpGetChat, Fault: kind, Left: 1})
			_, err = once.Chat(t.Context(), id)
			if kind == "replay" || kind == "truncateSilently" && err == nil {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
			eventually(t, "the log", func() bool {
				return len(s.exchanges.summaries(10)) == 2 || kind == "hang" || kind == "slowHeaders" || kind == "slowBody"
			})
			if list := s.exchanges.summaries(1); list[0].N == 2 {
				assert.Equal(t, kind, list[0].Fault)
			}
			assert.Empty(t, s.faults.all(), "it was for one call")
		})
	}
}

func TestFaults_NextTenAndAlways(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := fmt.Sprintf("/chat?chatId=%d", s.current().market.Chats()[0].ID)
	require.NoError(t, s.faults.add(rule{Operation: chats.OpGetChat, Fault: "before500", Left: 10}))
	require.NoError(t, s.faults.add(rule{Fault: "html502", Left: -1}))
	for n := range 10 {
		status := s.call(t, http.MethodGet, path, "")
		require.Equal(t, 500, status, n)
	}
	for range 3 {
		status := s.call(t, http.MethodGet, path, "")
		require.Equal(t, 502, status)
	}
	s.faults.remove(0)
	status := s.call(t, http.MethodGet, path, "")
	require.Equal(t, 200, status)
}

func TestBehaviour_EveryChoiceIsAccepted(t *testing.T) {
	t.Parallel()
	for _, a := range aspects {
		for _, c := range a.Choices {
			t.Run(a.Name+" "+c.name, func(t *testing.T) {
				t.Parallel()
				s := start(t, "-empty")
				_, err := s.current().placeOrder(order{ID: 77, Customer: "Анна"})
				require.NoError(t, err)
				list := mustDo[settings](t, s, http.MethodPost, "/sandbox/behaviour", map[string]string{"aspect": a.Name, "choice": c.name})
				assert.Equal(t, map[string]string{a.Name: c.name}, list.Chosen)
				client := s.client(t)
				id, err := client.OpenChat(t.Context(), chats.AboutOrder(77))
				require.NoError(t, err)
				require.NoError(t, client.SendText(t.Context(), id, "Здравствуйте"))
				assert.Equal(t, "Здравствуйте", s.current().market.Messages(id)[0].Text)
				chat, err := client.Chat(t.Context(), id)
				require.NoError(t, err)
				assert.Equal(t, "Анна", chat.Customer.Name)
			})
		}
	}
}

func TestExchanges_ShowQuotaBodiesAndForms(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.client(t)
	id := s.current().market.Chats()[0].ID
	require.NoError(t, client.SendText(t.Context(), id, "Здравствуйте"))
	require.NoError(t, client.SendFile(t.Context(), id, "чек.pdf", bytes.NewReader([]byte{0xff, 0, 1})))
	_, err := client.Download(t.Context(), s.current().market.LastMessages(id, 0, 1)[0].Files[0])
	require.NoError(t, err)
	eventually(t, "the log", func() bool { return len(s.exchanges.summaries(10)) == 3 })
	text, _ := s.exchanges.get(1)
	assert.Equal(t, "999/1000", text.Remaining+"/"+text.Max)
	assert.JSONEq(t, `{"message":"Здравствуйте"}`, text.RequestBody)
	assert.JSONEq(t, `{"status":"OK"}`, text.ResponseBody)
	assert.Contains(t, text.RequestHeader, "Api-Key: "+s.key())
	file, _ := s.exchanges.get(2)
	assert.Equal(t, "file: \"чек.pdf\", application/pdf, 3 bytes\n", file.RequestBody)
	download, _ := s.exchanges.get(3)
	assert.Equal(t, "(3 bytes)", download.ResponseBody)
	assert.Empty(t, broken(s))

	for range maxExchanges + 10 {
		s.exchanges.add(exchange{})
	}
	_, found := s.exchanges.get(13)
	assert.False(t, found, "the log is bounded")
	assert.Len(t, s.exchanges.summaries(10_000), maxExchanges)
}

// Fifty concurrent programs each get the right responses.
func TestSandbox_FiftyPrograms(t *testing.T) {
	t.Parallel()
	s := start(t, "-empty")
	require.NoError(t, s.behaviour.choose("parallel", "unlimited"))
	s.current().apply()
	var programs sync.WaitGroup
	for n := range 50 {
		id := s.current().market.AddChat(chats.Chat{})
		client := s.client(t)
		programs.Go(func() {
			for i := range 10 {
				text := fmt.Sprintf("program %d, text %d", n, i)
				message, err := client.SendTextConfirmed(t.Context(), id, text)
				assert.NoError(t, err)
				assert.Equal(t, text, message.Text)
			}
		})
	}
	programs.Wait()
	for _, c := range s.current().market.Chats() {
		assert.Len(t, s.current().market.Messages(c.ID), 10)
	}
	assert.Empty(t, broken(s))
}

// The exported test compiles and passes, whatever the texts and the behaviour.
func TestExport_CompilesAndPasses(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, a := range aspects {
		require.NoError(t, s.behaviour.choose(a.Name, a.Choices[len(a.Choices)-1].name))
	}
	id := s.current().market.Chats()[0].ID
	s.current().market.AddMessage(id, chats.SenderMarket, "html. `strings.` \"regexp.\" \\ %d \x00 \u2028\n*/", s.current().market.AddFile(`od"d.bin`, []byte("data")))
	dir := t.TempDir()
	for _, c := range s.current().market.Chats() {
		status, source := s.do(t, http.MethodGet, fmt.Sprintf("/sandbox/chats/%d/test", c.ID), nil)
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("chat%d_test.go", c.ID)), []byte(source), 0o600))
	}
	for _, a := range aspects { // each behaviour that can be exported, on its own
		for _, c := range a.Choices {
			for name := range s.behaviour.all() {
				require.NoError(t, s.behaviour.choose(name, defaultOf(name)))
			}
			require.NoError(t, s.behaviour.choose(a.Name, c.name))
			_, source := s.do(t, http.MethodGet, fmt.Sprintf("/sandbox/chats/%d/test", id), nil)
			source = strings.ReplaceAll(source, fmt.Sprintf("TestChat%d", id), "TestBehaviour_"+a.Name+"_"+c.name)
			require.NoError(t, os.WriteFile(filepath.Join(dir, a.Name+c.name+"_test.go"), []byte(source), 0o600))
		}
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		text := strings.ReplaceAll(string(data), "=> ../..", "=> "+root)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-mod=mod", "-count=1", "-v", ".")
	run.Dir = dir
	run.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := run.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, 7, strings.Count(string(out), "--- PASS: TestChat"), "%s", out)
	assert.Positive(t, strings.Count(string(out), "--- PASS: TestBehaviour_texts_masked"))
}

func defaultOf(name string) string {
	for _, a := range aspects {
		if a.Name == name {
			return a.Choices[0].name
		}
	}
	return ""
}

func TestOperations_AreTheContracts(t *testing.T) {
	t.Parallel()
	routes := map[string]chats.Operation{}
	for op, route := range contract.Routes() {
		routes[route.Method+" "+strings.TrimPrefix(route.Path, "/v2/businesses/{businessId}")] = op
	}
	assert.Equal(t, routes, operations)
}

// The commands in the READMEs work as written.
func TestReadme_LinesWork(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, page := range []string{"README.md", "README.ru.md"} {
		text, err := os.ReadFile("../../" + page)
		require.NoError(t, err)
		_, lines, found := strings.Cut(string(text), "```sh\nmake sandbox")
		require.True(t, found)
		lines, _, _ = strings.Cut(lines, "```")
		_, lines, _ = strings.Cut(lines, "\n") // make sandbox does not return
		lines, last, found := strings.Cut(lines, "go run -C ")
		require.True(t, found)
		_, err = os.Stat("../../" + strings.Fields(last)[0] + "/go.mod")
		require.NoError(t, err)
		run := exec.CommandContext(t.Context(), "bash", "-euc", strings.ReplaceAll(lines, "http://127.0.0.1:8070", s.config.baseURL))
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), `{"status":"OK","result":{"chats":[{"chatId":`, page)
	}
}
