package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// asProgram makes the test binary run as the program.
const asProgram = "INBOX_EXAMPLE_RUN_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemo_ContinuesAfterRestart(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, demo(t.Context(), &out))
	for _, text := range []string{"субботу?", "[sticker]", "Спасибо!", "Вы ещё здесь?", "после двух"} {
		assert.Equal(t, 1, strings.Count(out.String(), text), out.String())
	}
}

// program is a process of the example.
type program struct {
	cmd *exec.Cmd

	mu    sync.Mutex
	lines []string
}

func start(t *testing.T, server *chatstest.Server, database string, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &program{cmd: exec.Command(self, append([]string{"-interval", "100ms"}, args...)...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1", "DATABASE_URL="+database,
		"YANDEX_MARKET_API_KEY="+server.Key(),
		fmt.Sprintf("YANDEX_MARKET_BUSINESS_ID=%d", server.Business()),
		"YANDEX_MARKET_BASE_URL="+server.URL)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.kill)
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, scanner.Text())
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// printed counts the lines with this text.
func (p *program) printed(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		if strings.HasSuffix(line, ": "+text) {
			n++
		}
	}
	return n
}

func printedBy(programs []*program, text string) (n int) {
	for _, p := range programs {
		n += p.printed(text)
	}
	return n
}

// testKills kills the program again and again while a customer writes. Every message is
// printed, and only the last one before a kill may be printed twice.
func testKills(t *testing.T, copies int, database string, args ...string) {
	t.Helper()
	server := chatstest.NewServer(t, chatstest.WithParallelLimit(0))
	chat := server.AddChat(chats.Chat{})
	var all []*program
	begin := func() {
		for range copies {
			all = append(all, start(t, server, database, args...))
		}
	}
	begin()
	// The first start delivers only what is written after it.
	require.Eventually(t, func() bool { return server.Calls(chats.OpGetChats) >= 3 }, 2*time.Minute, 10*time.Millisecond)
	for round := range 4 {
		for i := range 3 {
			text := fmt.Sprintf("message %d.%d", round, i)
			server.CustomerSays(chat, text)
			require.Eventually(t, func() bool { return printedBy(all, text) > 0 }, 2*time.Minute, 10*time.Millisecond, text)
		}
		for _, p := range all {
			p.kill() // -9
		}
		server.CustomerSays(chat, fmt.Sprintf("between the runs, %d", round))
		begin()
	}
	last := "between the runs, 3"
	require.Eventually(t, func() bool { return printedBy(all, last) > 0 }, 2*time.Minute, 10*time.Millisecond)
	for round := range 4 {
		assert.Equal(t, 1, printedBy(all, fmt.Sprintf("message %d.0", round)))
		assert.Equal(t, 1, printedBy(all, fmt.Sprintf("message %d.1", round)))
		assert.LessOrEqual(t, printedBy(all, fmt.Sprintf("message %d.2", round)), 2, "it may have been killed before the commit")
		assert.Equal(t, 1, printedBy(all, fmt.Sprintf("between the runs, %d", round)))
	}
}

func TestInbox_SurvivesKillsOnSQLite(t *testing.T) {
	t.Parallel()
	testKills(t, 1, "", "-db", filepath.Join(t.TempDir(), "inbox.db"))
}

func TestInbox_SurvivesKillsOnPostgreSQLWithStandby(t *testing.T) {
	if os.Getenv("DATABASE_URL") == "" {
		t.Skip("needs PostgreSQL: set DATABASE_URL, or run ../../sqlstore/integration/postgres.sh go test ./...")
	}
	t.Parallel()
	testKills(t, 2, os.Getenv("DATABASE_URL"))
}

func TestNewClient_RejectsInvalidBusinessID(t *testing.T) {
	t.Parallel()
	_, err := newClient(func(string) string { return "name" })
	assert.ErrorContains(t, err, "YANDEX_MARKET_BUSINESS_ID")
}

func TestAdmin_ShowsWhetherTheInboxIsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		store, closeStore, err := openStore(t.Context(), filepath.Join(t.TempDir(), "inbox.db"), "")
		require.NoError(t, err)
		in, err := inbox.New(market.Client(), store, inbox.WithStartTime(time.Time{}), inbox.WithWorkers(1))
		require.NoError(t, err)
		const text = "Где мой заказ?" // Where is my order?
		customer := chats.Customer{Name: "Мария"}
		first, second := market.AddChat(chats.Chat{Customer: customer}), market.AddChat(chats.Chat{Customer: customer})
		market.CustomerSays(first, text)
		market.CustomerSays(second, text)
		handler := adminHandler(in, 2*time.Minute)
		get := func(path string) (int, string) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			for _, secret := range []string{text, customer.Name, market.Key()} {
				assert.NotContains(t, w.Body.String(), secret)
			}
			return w.Code, w.Body.String()
		}
		check := func(status int, fields string, samples ...string) {
			t.Helper()
			code, body := get("/healthz")
			assert.Equal(t, status, code, body)
			assert.Contains(t, body, fields)
			code, body = get("/metrics")
			assert.Equal(t, http.StatusOK, code, body)
			for _, sample := range samples {
				assert.Regexp(t, "(?m)^ymchats_inbox_"+sample+"$", body)
			}
		}

		check(http.StatusOK, `"behind":false,"role":"idle","chats":0`, "leader 0", "last_sweep_seconds 0")
		time.Sleep(3 * time.Minute)
		check(http.StatusServiceUnavailable, `"behind":true`, "last_sweep_seconds 180") // no first sweep

		ctx, stop := context.WithCancel(t.Context())
		hang, ended := make(chan struct{}), make(chan error)
		go func() {
			ended <- in.Run(ctx, func(_ context.Context, d inbox.Delivery) error {
				<-hang
				return fmt.Errorf("cannot save %q of %s", d.Message.Text, d.Chat.Customer.Name)
			})
		}()
		time.Sleep(time.Minute)
		check(http.StatusOK, `"chats":2,"due":2`, "leader 1", "due_chats 2", "failing_chats 0", `quota_remaining\{operation="getChats"\} 24\d\d`)
		time.Sleep(2 * time.Minute)
		check(http.StatusServiceUnavailable, `"behind":true`, `oldest_due_seconds 1[78]\d(\.\d+)?`, `last_sweep_seconds \d\d?(\.\d+)?`)
		close(hang)
		time.Sleep(time.Minute)
		check(http.StatusOK, fmt.Sprintf(`"failing":[{"chat":%d,`, first), "due_chats 0", "oldest_due_seconds 0", "failing_chats 2")
		stop()
		require.NoError(t, <-ended)
		time.Sleep(3 * time.Minute)
		check(http.StatusServiceUnavailable, `"behind":true`, "leader 0") // no sweeps

		closeStore()
		for _, path := range []string{"/healthz", "/metrics"} {
			code, body := get(path)
			assert.Equal(t, http.StatusServiceUnavailable, code, body)
		}
	})
}

func TestMetrics_EscapesLabels(t *testing.T) {
	t.Parallel()
	status := inbox.Status{Quota: map[chats.Operation]chats.Limit{"a\"\\\n": {Remaining: 7}}}
	text := metrics(&status, 90*time.Second, 0)
	assert.Contains(t, text, "\nymchats_inbox_quota_remaining{operation=\"a\\\"\\\\\\n\"} 7\n")
	assert.Contains(t, text, "# TYPE ymchats_inbox_oldest_due_seconds gauge\nymchats_inbox_oldest_due_seconds 90\n")
}

// With one of the two variables, it is not the demo that is wanted.
func TestRun_NeedsBothVariables(t *testing.T) {
	for _, name := range []string{"YANDEX_MARKET_API_KEY", "YANDEX_MARKET_BUSINESS_ID"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("YANDEX_MARKET_API_KEY", "")
			t.Setenv("YANDEX_MARKET_BUSINESS_ID", "")
			t.Setenv(name, "7")
			assert.Error(t, run(t.Context(), settings{interval: time.Second}))
		})
	}
}
