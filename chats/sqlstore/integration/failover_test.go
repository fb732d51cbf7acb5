package integration

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// cluster is a PostgreSQL server and a replica that confirms every commit, behind an address that
// stays the same. A replica that is behind would lose commits in a failover.
type cluster struct {
	t       *testing.T
	bin     string
	process *syscall.SysProcAttr
	dir     string
	ports   [2]int
	primary int // 0 or 1
	address string

	mu     sync.Mutex
	target string
	conns  map[net.Conn]struct{}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	bin := os.Getenv("POSTGRES_BIN")
	if bin == "" {
		t.Skip("left out: the failover to a replica. Run ./postgres.sh go test ./... or set POSTGRES_BIN")
	}
	program, err := filepath.EvalSymlinks(filepath.Join(bin, "pg_ctl"))
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "ymchats-cluster") //nolint:usetesting // another user must reach it
	require.NoError(t, err)
	c := &cluster{t: t, bin: filepath.Dir(program), dir: dir, conns: make(map[net.Conn]struct{})}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	c.runAs(os.Getenv("POSTGRES_USER"))
	for n := range c.ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c.ports[n] = listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // TCP
		require.NoError(t, listener.Close())
	}
	c.command("initdb", "-D", c.data(0), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	c.configure()
	c.start(0)
	c.addReplica()
	c.forward()
	c.point()
	return c
}

// runAs chooses who runs the servers: root may not.
func (c *cluster) runAs(name string) {
	c.t.Helper()
	if name == "" {
		return
	}
	u, err := user.Lookup(name)
	require.NoError(c.t, err)
	uid, err := strconv.Atoi(u.Uid)
	require.NoError(c.t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(c.t, err)
	require.NoError(c.t, os.Chown(c.dir, uid, gid))
	c.process = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func (c *cluster) data(n int) string { return filepath.Join(c.dir, fmt.Sprint("data", n)) }

func (c *cluster) command(program string, args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = c.dir, c.process
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	output, err := os.CreateTemp(c.dir, program) // a server that goes on would keep a pipe open
	require.NoError(c.t, err)
	defer output.Close() //nolint:errcheck // it is read only
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(output.Name())
		require.NoError(c.t, err, "%s %v: %s", program, args, text)
	}
}

func (c *cluster) configure() {
	c.t.Helper()
	file, err := os.OpenFile(filepath.Join(c.data(0), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(c.t, err)
	_, err = fmt.Fprintf(file, "listen_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nfsync = off\n", c.dir)
	require.NoError(c.t, err)
	require.NoError(c.t, file.Close())
}

func (c *cluster) start(n int) {
	c.t.Helper()
	c.command("pg_ctl", "-D", c.data(n), "-o", fmt.Sprint("-p ", c.ports[n]), "-l", c.data(n)+".log", "-w", "start")
	c.t.Cleanup(func() { c.stop(n) })
}

// stop is what a crash does. The server may have been stopped already.
func (c *cluster) stop(n int) {
	c.t.Helper()
	if _, err := os.Stat(filepath.Join(c.data(n), "postmaster.pid")); err == nil {
		c.command("pg_ctl", "-D", c.data(n), "-m", "immediate", "-w", "stop")
	}
}

// addReplica makes the other server a new replica of the primary, and waits until commits wait
// for it.
func (c *cluster) addReplica() {
	c.t.Helper()
	replica := 1 - c.primary
	require.NoError(c.t, os.RemoveAll(c.data(replica)))
	c.command("pg_basebackup", "-D", c.data(replica), "-R", "-X", "stream", "-c", "fast", "--no-sync",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", c.ports[c.primary]))
	c.start(replica)
	db := c.open(c.primary)
	execSQL(c.t, db, `ALTER SYSTEM SET synchronous_standby_names = '*'`)
	execSQL(c.t, db, `SELECT pg_reload_conf()`)
	require.Eventually(c.t, func() bool {
		var synchronous int
		err := db.QueryRowContext(c.t.Context(), `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`).Scan(&synchronous)
		return err == nil && synchronous == 1
	}, patience, 50*time.Millisecond)
}

func (c *cluster) open(n int) *sql.DB {
	c.t.Helper()
	return database{sqlstore.PostgreSQL, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.ports[n])}.open(c.t)
}

// failover ends the primary without notice, and the replica takes its place after a while.
func (c *cluster) failover(after time.Duration) {
	c.t.Helper()
	c.stop(c.primary)
	<-time.After(after)
	c.primary = 1 - c.primary
	c.command("pg_ctl", "-D", c.data(c.primary), "-w", "promote")
	c.point()
}

// point makes the address lead to the primary. Connections to the former one end.
func (c *cluster) point() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = fmt.Sprint("127.0.0.1:", c.ports[c.primary])
	for conn := range c.conns {
		_ = conn.Close()
	}
}

// forward makes the address.
func (c *cluster) forward() {
	c.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	c.address = listener.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.connect(client) })
		}
	})
	c.t.Cleanup(func() {
		_ = listener.Close()
		c.point()
		all.Wait()
	})
}

func (c *cluster) connect(client net.Conn) {
	defer client.Close() //nolint:errcheck // it may be closed
	c.mu.Lock()
	target := c.target
	c.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // it may be closed
	c.mu.Lock()
	c.conns[client], c.conns[server] = struct{}{}, struct{}{}
	c.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_, _ = pair[0].Close(), pair[1].Close()
		})
	}
	both.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, client)
	delete(c.conns, server)
}

func (c *cluster) database(name string) database {
	c.t.Helper()
	execSQL(c.t, c.open(c.primary), `CREATE DATABASE `+name)
	return database{sqlstore.PostgreSQL, "postgres://postgres@" + c.address + "/" + name + "?sslmode=disable"}
}

// A crash of the primary, the replica in its place, and back: while two processes run an inbox, and
// two others count in rows that show each Save.
func TestFailover_ToAReplicaAndBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	counting := c.database("counting")
	counters := []*child{start(t, "increment", counting), start(t, "increment", counting)}
	s := newShop(t, c.database("inbox"))
	s.pause = 30 * time.Millisecond
	for _, after := range []time.Duration{0, 7 * time.Second} { // which is longer than a lease lasts
		s.talk(50)
		began, failed := time.Now(), make(chan time.Duration)
		go func() {
			c.failover(after)
			failed <- time.Since(began)
		}()
		s.talk(100)
		down := <-failed
		s.talk(50)
		took := s.awaitAll(30*time.Second, 0)
		t.Logf("failover within %v, the longest wait of a message %v", down.Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		c.addReplica()
	}
	s.awaitAll(10*time.Second, 0)

	store := counting.store(t)
	for _, counter := range counters {
		counter.kill()
	}
	found, values := values(t, store), 0
	for chat, printed := range saved(t, counters...) {
		values += len(printed)
		assert.GreaterOrEqual(t, found[chat], highest(printed), "a Save is lost")
	}
	t.Logf("%d Saves, none lost or made twice", values)
}
