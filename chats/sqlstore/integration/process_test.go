package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// Some tests need processes that can be killed and frozen: this program again, with a
// role in its environment.
const (
	envRole    = "INTEGRATION_ROLE"
	envDialect = "INTEGRATION_DIALECT"
	envDSN     = "INTEGRATION_DSN"
)

var roles = map[string]func(database) error{"new": playNew, "increment": playIncrement, "inbox": playInbox, "outbox": playOutbox}

// playRole returns the exit status.
func playRole(role string) int {
	dialect, err := strconv.Atoi(os.Getenv(envDialect))
	if err == nil {
		err = roles[role](database{sqlstore.Dialect(dialect), os.Getenv(envDSN)})
	}
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

// child is a process that plays a role.
type child struct {
	cmd   *exec.Cmd
	stdin io.Writer
	ended chan struct{} // closed at the end of its output

	mu     sync.Mutex
	output []string // complete lines: one that a kill has cut off does not count
	read   int
}

func start(t *testing.T, role string, d database) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), envRole+"="+role, envDialect+"="+strconv.Itoa(int(d.dialect)), envDSN+"="+d.dsn)
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	require.NoError(t, err)
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go c.collect(stdout)
	t.Cleanup(c.kill)
	return c
}

func (c *child) collect(stdout io.Reader) {
	defer close(c.ended)
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		c.mu.Lock()
		c.output = append(c.output, strings.TrimSuffix(line, "\n"))
		c.mu.Unlock()
	}
}

func (c *child) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.output...)
}

// line returns the next line of the output.
func (c *child) line(t *testing.T) string {
	t.Helper()
	c.read++
	c.awaitLines(t, c.read)
	return c.lines()[c.read-1]
}

func (c *child) awaitLines(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(c.lines()) >= n }, patience, time.Millisecond)
}

func (c *child) write(t *testing.T, line string) {
	t.Helper()
	_, err := fmt.Fprintln(c.stdin, line)
	require.NoError(t, err)
}

func (c *child) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(signal))
}

// stop freezes the process, and waits until it stands still: the signal alone returns while
// threads of the process go on.
func (c *child) stop(t *testing.T) {
	t.Helper()
	c.signal(t, syscall.SIGSTOP)
	var status syscall.WaitStatus
	err := error(syscall.EINTR)
	for errors.Is(err, syscall.EINTR) {
		_, err = syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	}
	require.NoError(t, err)
	require.True(t, status.Stopped(), "the process has ended: %v", status)
}

// kill is kill -9, and waits for the end. It may be called again.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
	_ = c.cmd.Wait()
}
