package main

import (
	"bufio"
	"bytes"
	"fmt"
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
	"github.com/ymchats/ymchats-go/chats/chatstest"
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

// With one of the two variables, it is not the demo that is wanted.
func TestRun_NeedsBothVariables(t *testing.T) {
	for _, name := range []string{"YANDEX_MARKET_API_KEY", "YANDEX_MARKET_BUSINESS_ID"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("YANDEX_MARKET_API_KEY", "")
			t.Setenv("YANDEX_MARKET_BUSINESS_ID", "")
			t.Setenv(name, "7")
			assert.Error(t, run(t.Context(), "", "", time.Second))
		})
	}
}
