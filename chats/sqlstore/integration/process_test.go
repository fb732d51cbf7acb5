package integration

import (
	"bufio"
	"context"
	"database/sql"
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
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// Some tests need processes that can be killed and frozen: this program again, with
// a part to play in its environment.
const (
	envPart    = "SQLTEST_PART"
	envDialect = "SQLTEST_DIALECT"
	envDSN     = "SQLTEST_DSN"
)

func TestMain(m *testing.M) {
	part := os.Getenv(envPart)
	if part == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := play(part); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func play(part string) error {
	dialect, err := strconv.Atoi(os.Getenv(envDialect))
	if err != nil {
		return err
	}
	d := database{sqlstore.Dialect(dialect), os.Getenv(envDSN)}
	db, err := d.pool()
	if err != nil {
		return err
	}
	return map[string]func(*sql.DB, sqlstore.Dialect) error{"new": playNew, "commit": playCommit, "lease": playLease}[part](db, d.dialect)
}

// playNew makes the table when it is told to.
func playNew(db *sql.DB, dialect sqlstore.Dialect) error {
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if _, err := sqlstore.New(context.Background(), db, dialect); err != nil {
		return err
	}
	fmt.Println("made")
	return nil
}

// playCommit moves the marks of some chats, each in steps of one, until it is
// killed, and says what was committed.
func playCommit(db *sql.DB, dialect sqlstore.Dialect) error {
	store, err := sqlstore.New(context.Background(), db, dialect)
	if err != nil {
		return err
	}
	marks, err := store.Marks(context.Background(), business)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for chat := range chats.ChatID(workers) {
		go func() {
			for mark := marks[chat]; ; {
				next := inbox.Mark{Message: mark.Message + 1, UpdatedAt: time.Now()}
				if err := store.Commit(context.Background(), business, chat, mark, next); err != nil {
					failed <- err
				}
				fmt.Println("committed", chat, next.Message)
				mark = next
			}
		}()
	}
	return <-failed
}

// playLease works under the lease until it is lost.
func playLease(db *sql.DB, dialect sqlstore.Dialect) error {
	store, err := sqlstore.New(context.Background(), db, dialect)
	if err != nil {
		return err
	}
	held, release, err := store.Lease(context.Background(), business)
	if err != nil {
		return err
	}
	defer release()
	marks, err := store.Marks(held, business)
	if err != nil {
		return err
	}
	fmt.Println("held")
	for mark := marks[0]; ; {
		next := inbox.Mark{Message: mark.Message + 1}
		// Not under held: it is the store that has to refuse.
		if err := store.Commit(context.Background(), business, 0, mark, next); err != nil {
			fmt.Println("refused:", err)
			<-held.Done()
			fmt.Println("lost:", context.Cause(held))
			return nil
		}
		mark = next
		fmt.Println("committed", mark.Message)
		select {
		case <-held.Done():
			fmt.Println("lost:", context.Cause(held))
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
}

const (
	business = chats.BusinessID(7)
	workers  = 4
)

// child is a process that plays a part.
type child struct {
	cmd   *exec.Cmd
	stdin io.Writer

	mu    sync.Mutex
	said  []string      // the lines so far
	ended chan struct{} // its output is at an end
	heard int           // how many lines were asked for
}

func start(t *testing.T, part string, d database) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), envPart+"="+part, envDialect+"="+strconv.Itoa(int(d.dialect)), envDSN+"="+d.dsn)
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	require.NoError(t, err)
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go c.listen(stdout)
	t.Cleanup(func() { c.kill() })
	return c
}

// listen hears whole lines: a line that a kill has cut off was not said.
func (c *child) listen(stdout io.Reader) {
	defer close(c.ended)
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		c.mu.Lock()
		c.said = append(c.said, strings.TrimSuffix(line, "\n"))
		c.mu.Unlock()
	}
}

func (c *child) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.said...)
}

// line is the next line that the child says.
func (c *child) line(t *testing.T) string {
	t.Helper()
	c.heard++
	c.says(t, c.heard)
	return c.lines()[c.heard-1]
}

// says waits until the child has said so many lines.
func (c *child) says(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(c.lines()) >= n }, 20*time.Second, time.Millisecond)
}

func (c *child) tell(t *testing.T, line string) {
	t.Helper()
	_, err := fmt.Fprintln(c.stdin, line)
	require.NoError(t, err)
}

func (c *child) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(signal))
}

// kill is kill -9, and waits for the end. It may be called again.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
	_ = c.cmd.Wait()
}
