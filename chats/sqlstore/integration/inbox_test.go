package integration

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// playInbox runs an inbox and prints what it handles. Its input is the address of the
// Market, a key, and then each chat that a push has named.
func playInbox(d database) error {
	db, err := d.pool()
	if err != nil {
		return err
	}
	ctx := context.Background()
	store, err := sqlstore.New(ctx, db, d.dialect)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	in, err := newInbox(store, lines)
	if err != nil {
		return err
	}
	go func() {
		for lines.Scan() {
			var chat chats.ChatID
			if _, err := fmt.Sscan(lines.Text(), &chat); err == nil {
				_ = in.Wake(ctx, chat) // if it fails, the next sweep finds the message
			}
		}
	}()
	return in.Run(ctx, func(_ context.Context, d inbox.Delivery) error {
		fmt.Println("handled", d.Chat.ID, d.Message.ID, time.Now().UnixMicro())
		return nil
	})
}

func newInbox(store inbox.Store, lines *bufio.Scanner) (*inbox.Inbox, error) {
	lines.Scan()
	address := lines.Text()
	lines.Scan()
	client, err := chats.New(business, chats.APIKey(lines.Text()), chats.WithBaseURL(address))
	if err != nil {
		return nil, err
	}
	return inbox.New(client, store, inbox.WithPollInterval(3*time.Second),
		inbox.WithLogger(slog.New(slog.NewTextHandler(os.Stdout, nil))))
}

// shop has a Market whose customers write, and two processes that run its inbox.
type shop struct {
	t         *testing.T
	store     *sqlstore.Store
	market    *chatstest.Market
	chats     []chats.ChatID
	sent      map[chats.MessageID]time.Time
	processes []*child      // all that were started
	running   []*child      // the last two
	pause     time.Duration // between two messages
}

func newShop(t *testing.T, d database) *shop {
	t.Helper()
	market := chatstest.NewMarket(chatstest.WithBusiness(business))
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: "api.partner.market.yandex.ru"})
		},
		Transport: contract.Transport(t, market.Transport()),
	})
	t.Cleanup(server.Close)
	s := &shop{t: t, store: d.store(t), market: market, sent: make(map[chats.MessageID]time.Time), pause: 10 * time.Millisecond}
	for range 10 {
		s.chats = append(s.chats, market.AddChat(chats.Chat{}))
	}
	for range 2 {
		s.start(d, server.URL)
	}
	s.await("one works, the other stands by", 10*time.Second, func() bool {
		state, err := s.store.Business(t.Context(), business)
		return err == nil && !state.Full.FinishedAt.IsZero() && strings.Contains(s.output(), "standing by")
	})
	return s
}

func (s *shop) start(d database, address string) {
	c := start(s.t, "inbox", d)
	s.processes, s.running = append(s.processes, c), append(s.running, c)
	c.write(s.t, address)
	c.write(s.t, s.market.Key())
}

func (s *shop) await(what string, within time.Duration, condition func() bool) {
	s.t.Helper()
	if !*checkTimes {
		within *= busyFactor
	}
	if !assert.Eventually(s.t, condition, within, 10*time.Millisecond, what) {
		s.t.Fatal(s.output())
	}
}

func (s *shop) output() string {
	var all []string
	for _, c := range s.processes {
		all = append(all, c.lines()...)
	}
	return strings.Join(all, "\n")
}

// log returns what the processes logged.
func (s *shop) log() string {
	lines := slices.DeleteFunc(strings.Split(s.output(), "\n"), func(line string) bool { return strings.HasPrefix(line, "handled") })
	return strings.Join(lines, "\n")
}

// leader returns the process that holds the lease, and the other one.
func (s *shop) leader() (leader, standby *child) {
	s.t.Helper()
	n := -1
	s.await("one of the processes has the lease", 10*time.Second, func() bool {
		summary, err := s.store.Summary(s.t.Context(), business, time.Now())
		n = slices.IndexFunc(s.running, func(c *child) bool {
			return err == nil && strings.Contains(summary.Holder, fmt.Sprintf("/%d/", c.cmd.Process.Pid))
		})
		return n >= 0
	})
	return s.running[n], s.running[1-n]
}

// talk lets customers write n messages, each with a push to one of the processes.
func (s *shop) talk(n int) {
	for range n {
		chat := s.chats[rand.IntN(len(s.chats))]
		at := time.Now()
		s.sent[s.market.CustomerSays(chat, "?")] = at
		_, _ = io.WriteString(s.running[rand.IntN(2)].stdin, fmt.Sprintln(int64(chat))) // a process that is dead loses it
		<-time.After(s.pause)
	}
}

type handled struct {
	chat    chats.ChatID
	message chats.MessageID
	at      time.Time
}

// handled returns what was handled, in order.
func (s *shop) handled() (all []handled) {
	for _, c := range s.processes {
		for _, line := range c.lines() {
			var h handled
			var micros int64
			if _, err := fmt.Sscanf(line, "handled %d %d %d", &h.chat, &h.message, &micros); err == nil {
				h.at = time.UnixMicro(micros)
				all = append(all, h)
			}
		}
	}
	slices.SortFunc(all, func(a, b handled) int { return a.at.Compare(b.at) })
	return all
}

// awaitAll waits until every message is handled, and returns how long each took. Only those
// that a process had handled and not yet saved when it was killed, or lost its lease, may be
// handled twice.
func (s *shop) awaitAll(within time.Duration, kills int) (took []time.Duration) {
	s.t.Helper()
	again := 0
	first := make(map[chats.MessageID]time.Time)
	s.await("all messages are handled", within, func() bool {
		clear(first)
		for _, h := range s.handled() {
			if first[h.message].IsZero() {
				first[h.message] = h.at
			}
		}
		return len(first) == len(s.sent)
	})
	last := make(map[chats.ChatID]chats.MessageID)
	for _, h := range s.handled() {
		if first[h.message] != h.at {
			again++
			continue
		}
		assert.Greater(s.t, h.message, last[h.chat], "the order of chat %d", h.chat)
		last[h.chat] = h.message
		took = append(took, h.at.Sub(s.sent[h.message]))
	}
	slices.Sort(took)
	s.t.Logf("%d messages, %d of them handled twice", len(s.sent), again)
	if s.t.Failed() || again > 0 {
		s.t.Log(s.log())
	}
	// A lease may be lost on a machine that is busy, too.
	assert.LessOrEqual(s.t, again, inboxWorkers*(kills+strings.Count(s.log(), "work interrupted")), "the process knows what it has handled")
	return took
}

const inboxWorkers = 8 // the default

// It runs alone, as it measures.
func TestInbox_PushesToEitherProcess(t *testing.T) { // not parallel: see above
	for _, on := range both {
		t.Run(on.name, func(t *testing.T) {
			s := newShop(t, on.make(t))
			s.pause = 30 * time.Millisecond
			s.talk(200)
			took := s.awaitAll(20*time.Second, 0)
			p99 := took[len(took)*99/100]
			t.Logf("from push to handler: median %v, p99 %v", took[len(took)/2], p99)
			assertTook(t, p99, 1500*time.Millisecond)
			for _, c := range s.running {
				c.kill()
			}
		})
	}
}

func TestInbox_AfterAKill(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := newShop(t, d)
		s.talk(100)
		leader, standby := s.leader()
		leader.kill()
		killed := time.Now()
		s.talk(100)
		s.awaitAll(20*time.Second, 1)
		next := slices.IndexFunc(s.handled(), func(h handled) bool { return h.at.After(killed) })
		require.GreaterOrEqual(t, next, 0)
		gap := s.handled()[next].at.Sub(killed)
		t.Logf("from the kill to the next message: %v", gap)
		assertTook(t, gap, 7*time.Second)
		assert.Contains(t, strings.Join(standby.lines(), "\n"), "taking over")
	})
}

func TestInbox_AfterAFreeze(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := newShop(t, d)
		s.talk(100)
		leader, standby := s.leader()
		freeze(t, leader, d)
		s.talk(100)
		s.await("the standby works", 10*time.Second, func() bool { return strings.Contains(strings.Join(standby.lines(), "\n"), "taking over") })
		leader.signal(t, syscall.SIGCONT)
		s.talk(100)
		s.awaitAll(20*time.Second, 0)
	})
}

// freeze stops a process, on SQLite at a moment at which it has no lock on the file: no
// other process could work until it wakes up, see the package's documentation.
func freeze(t *testing.T, c *child, d database) {
	t.Helper()
	for {
		c.stop(t)
		if d.dialect == sqlstore.PostgreSQL {
			return
		}
		db := d.open(t)
		if _, err := db.ExecContext(t.Context(), `BEGIN EXCLUSIVE; ROLLBACK`); err == nil {
			return
		}
		c.signal(t, syscall.SIGCONT)
		<-time.After(10 * time.Millisecond)
	}
}

func TestInbox_WhileConnectionsAreCut(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	admin := d.open(t)
	s := newShop(t, d)
	for range 10 {
		s.talk(20)
		endSessions(t, admin)
	}
	s.awaitAll(20*time.Second, 0)
}

// The database is read-only for longer than a lease lasts, as in a failover to a replica
// and back.
func TestInbox_AfterTheDatabaseWasReadOnly(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	admin := d.with("default_transaction_read_only", "off").open(t)
	s := newShop(t, d)
	s.talk(50)
	setReadOnly(t, admin, true)
	s.talk(50)
	<-time.After(7 * time.Second)
	setReadOnly(t, admin, false)
	s.talk(50)
	s.awaitAll(25*time.Second, 0)
}

// setReadOnly does not end the sessions that are read-only: only their pools can.
func setReadOnly(t *testing.T, admin *sql.DB, readOnly bool) {
	t.Helper()
	var name string
	require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&name))
	if !readOnly {
		execSQL(t, admin, `ALTER DATABASE `+name+` RESET default_transaction_read_only`)
		return
	}
	execSQL(t, admin, `ALTER DATABASE `+name+` SET default_transaction_read_only = on`)
	endSessions(t, admin)
}

func TestInbox_BehindAPooler(t *testing.T) {
	t.Parallel()
	d := startPooler(t, postgres(t)).with("default_query_exec_mode", "exec")
	s := newShop(t, d)
	s.talk(100)
	leader, _ := s.leader()
	leader.kill()
	s.talk(100)
	s.awaitAll(20*time.Second, 1)
}
