package fleet_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/fleet/internal/rig"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// cluster is a marketplace, a database, and processes that are killed, frozen and cut off.
type cluster struct {
	*testing.T

	marketplace *rig.Marketplace
	url         string
	dsn         string
	db          *pgxpool.Pool
	config      rig.WorkerConfig
	shops       []chats.BusinessID

	workers []*rig.Process
	mu      sync.Mutex
	sent    map[string]time.Time // by "business chat message"
	first   map[string]time.Time // when a message was handled first
	handled map[string][]int     // PIDs
	settled map[string]bool      // "business state key"
}

// checked checks the requests of the processes against the contract. An incomplete request of
// a killed process cannot be checked.
func checked(t *testing.T, next http.Handler) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			rules, err := contract.BrokenRules(r, body)
			assert.NoError(t, err)
			assert.Empty(t, rules, "%s %s", r.Method, r.URL)
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
		next.ServeHTTP(w, r)
	})
}

// newCluster starts a cluster. It skips the test if there is no PostgreSQL.
func newCluster(t *testing.T, shops, workers int, change func(*rig.WorkerConfig)) *cluster {
	t.Helper()
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		t.Skip("left out: a fleet of several processes. Run ../sqlstore/integration/postgres.sh go test ./... or set DATABASE_URL")
	}
	dsn, drop, err := rig.NewDatabase(t.Context(), server)
	require.NoError(t, err)
	t.Cleanup(drop)
	s := &cluster{
		T: t, marketplace: rig.NewMarketplace(rig.MarketplaceConfig{Shops: shops, Chats: 3}), dsn: dsn,
		sent: map[string]time.Time{}, first: map[string]time.Time{}, handled: map[string][]int{}, settled: map[string]bool{},
	}
	market := httptest.NewServer(checked(t, s.marketplace))
	t.Cleanup(market.Close)
	s.url = market.URL
	s.db, err = pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(s.db.Close)
	s.config = rig.WorkerConfig{
		DSN: dsn, Market: market.URL, Key: s.marketplace.Market(first).Key(), Pool: 10, Workers: 10,
		PollInterval: 3 * time.Second, Lease: time.Second,
	}
	if change != nil {
		change(&s.config)
	}
	for n := range shops {
		s.shops = append(s.shops, first+chats.BusinessID(n))
	}
	for range workers {
		s.add(s.config)
	}
	require.NoError(t, s.workers[0].Post("/start", s.shops, nil))
	s.await(func() bool {
		return s.number(`SELECT count(*) FROM ymchats_inbox_businesses WHERE start_time IS NOT NULL`) >= shops-1
	}, "not all shops are served")
	return s
}

func (s *cluster) add(c rig.WorkerConfig) *rig.Process {
	s.Helper()
	p, err := rig.StartWorker(c, s.line)
	require.NoError(s, err)
	s.Cleanup(p.Kill)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, p)
	return p
}

// remove removes a worker from those that get pushes.
func (s *cluster) remove(n int) *rig.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.workers[n]
	s.workers = slices.Delete(s.workers, n, n+1)
	return p
}

func (s *cluster) line(pid int, line string) {
	fields := strings.Fields(line)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(fields) == 5 && fields[0] == "handled":
		key := strings.Join(fields[1:4], " ")
		s.handled[key] = append(s.handled[key], pid)
		if nanos, _ := strconv.ParseInt(fields[4], 10, 64); s.first[key].IsZero() {
			s.first[key] = time.Unix(0, nanos)
		}
	case len(fields) > 3 && fields[0] == "settled":
		s.settled[strings.Join(fields[1:], " ")] = true
	}
}

func (s *cluster) number(query string) (n int) {
	s.Helper()
	require.NoError(s, s.db.QueryRow(s.Context(), query).Scan(&n))
	return n
}

func (s *cluster) await(condition func() bool, args ...any) {
	s.Helper()
	require.Eventually(s, condition, 2*time.Minute, 50*time.Millisecond, args...)
}

// push makes a customer write a message, and sends the notification to workers until one
// accepts it, as Market does.
func (s *cluster) push(business chats.BusinessID) {
	ids := s.marketplace.Chats(business)
	chat := ids[rand.IntN(len(ids))]
	s.notify(business, chat, s.say(business, chat))
}

// notify sends a notification to workers until one accepts it.
func (s *cluster) notify(business chats.BusinessID, chat chats.ChatID, message chats.MessageID) {
	event := notify.MessageSent{Business: business, Chat: chat, Message: message}
	s.retry(func(w *rig.Process) error { return w.Post("/push", event, nil) })
}

// say makes a customer write a message.
func (s *cluster) say(business chats.BusinessID, chat chats.ChatID) chats.MessageID {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	message := s.marketplace.Market(business).CustomerSays(chat, "Где мой заказ?")
	s.sent[fmt.Sprint(int64(business), " ", int64(chat), " ", int64(message))] = at
	return message
}

// retry tries one worker after another.
func (s *cluster) retry(do func(*rig.Process) error) {
	s.await(func() bool {
		s.mu.Lock()
		w := s.workers[rand.IntN(len(s.workers))]
		s.mu.Unlock()
		return do(w) == nil
	}, "no worker accepts it")
}

// pushes sends n pushes, 20 a second, to random shops.
func (s *cluster) pushes(n int, shops []chats.BusinessID) {
	s.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for range n {
		<-ticker.C
		s.push(shops[rand.IntN(len(shops))])
	}
}

// awaitAll waits until every pushed message has been handled.
func (s *cluster) awaitAll() {
	s.Helper()
	s.await(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for key := range s.sent {
			if len(s.handled[key]) == 0 {
				return false
			}
		}
		return true
	}, "not everything is handled")
}

// phase is a part of a test.
type phase struct{ from, to time.Time }

func during(do func()) phase {
	from := time.Now()
	do()
	return phase{from, time.Now()}
}

// slowest returns the longest time from push to handler, of the messages that were pushed in a
// phase to the shops that of accepts. All of them must have been handled.
func (s *cluster) slowest(p phase, of func(chats.BusinessID) bool) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, at := range s.sent {
		id, _, _ := strings.Cut(key, " ")
		business, _ := strconv.ParseInt(id, 10, 64)
		if !at.Before(p.from) && at.Before(p.to) && of(chats.BusinessID(business)) {
			longest = max(longest, s.first[key].Sub(at))
		}
	}
	return longest
}

// firstOf returns when a process handled its first message, or the zero time.
func (s *cluster) firstOf(p *rig.Process) (earliest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, pids := range s.handled {
		if at := s.first[key]; slices.Equal(pids, []int{p.PID()}) && (earliest.IsZero() || at.Before(earliest)) {
			earliest = at
		}
	}
	return earliest
}

// shopsOf returns the shops that a killed process was working on.
func (s *cluster) shopsOf(p *rig.Process) (ids []chats.BusinessID) {
	s.Helper()
	rows, err := s.db.Query(s.Context(), `SELECT DISTINCT (args ->> 'business')::bigint FROM river_job
		WHERE state = 'running' AND attempted_by[array_length(attempted_by, 1)] = $1`, rig.ClientID(p.PID()))
	require.NoError(s, err)
	ids, err = pgx.CollectRows(rows, pgx.RowTo[chats.BusinessID])
	require.NoError(s, err)
	return ids
}

// checkTwice makes sure that only messages handled by one of these processes were handled
// again: its success may not have been saved.
func (s *cluster) checkTwice(dead ...*rig.Process) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, pids := range s.handled {
		if len(pids) > 1 {
			assert.True(s, slices.ContainsFunc(dead, func(p *rig.Process) bool { return slices.Contains(pids, p.PID()) }),
				"%s was handled by %v", key, pids)
		}
	}
}

// audit makes the database record which process saves, and which one has the lease at that
// time. A push, which inserts a chat with version 0 or leaves its version as it is, and a Put, which
// inserts items, need no lease.
func (s *cluster) audit() {
	s.Helper()
	_, err := s.db.Exec(s.Context(), `
		CREATE TABLE audit (saved TEXT, business BIGINT, app TEXT, holder TEXT);
		CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO audit SELECT TG_TABLE_NAME, NEW.business, current_setting('application_name'),
				(SELECT holder FROM ymchats_leases WHERE business = NEW.business AND purpose = TG_ARGV[0]);
			RETURN NULL;
		END $$;
		CREATE TRIGGER updated AFTER UPDATE ON ymchats_inbox_chats FOR EACH ROW WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION audit('inbox');
		CREATE TRIGGER inserted AFTER INSERT ON ymchats_inbox_chats FOR EACH ROW WHEN (NEW.version > 0) EXECUTE FUNCTION audit('inbox');
		CREATE TRIGGER saved AFTER INSERT OR UPDATE ON ymchats_inbox_businesses FOR EACH ROW EXECUTE FUNCTION audit('inbox');
		CREATE TRIGGER updated AFTER UPDATE ON ymchats_outbox FOR EACH ROW EXECUTE FUNCTION audit('outbox')`)
	require.NoError(s, err)
}

// replies puts n replies to random shops.
func (s *cluster) replies(n int) {
	s.Helper()
	for range n {
		business := s.shops[rand.IntN(len(s.shops))]
		item := outbox.Item{Key: crand.Text(), Chat: s.marketplace.Chats(business)[rand.IntN(3)], Text: crand.Text()}
		s.retry(func(w *rig.Process) error {
			return w.Post("/put", rig.Put{Business: business, Items: []outbox.Item{item}}, nil)
		})
	}
}

// checkAudit makes sure that no process saved without the lease, in any table, and that each of them
// has saved.
func (s *cluster) checkAudit(processes int) {
	s.Helper()
	s.awaitSettled()
	assert.Zero(s, s.number(`SELECT count(*) FROM audit WHERE split_part(app, '/', 2) IS DISTINCT FROM split_part(holder, '/', 2)`))
	for _, table := range []string{"ymchats_inbox_chats", "ymchats_inbox_businesses", "ymchats_outbox"} {
		assert.Positive(s, s.number(`SELECT count(*) FROM audit WHERE saved = '`+table+`'`), table)
	}
	assert.Equal(s, processes, s.number(`SELECT count(DISTINCT app) FROM audit`))
}

// awaitSettled waits until every reply is settled and reported.
func (s *cluster) awaitSettled() {
	s.Helper()
	s.await(func() bool {
		return s.number(`SELECT count(*) FROM ymchats_outbox WHERE state IN ('queued', 'sending') OR NOT reported`) == 0
	}, "not everything is settled")
}

// proxy is a proxy in front of PostgreSQL that can drop everything without closing a connection, or
// delay it.
type proxy struct {
	target  string
	dropped atomic.Bool
	delayed atomic.Bool
}

// proxied returns the address of the database through a proxy.
func (s *cluster) proxied() (*proxy, string) {
	s.Helper()
	address, err := url.Parse(s.dsn)
	require.NoError(s, err)
	p := &proxy{target: address.Host}
	listener, err := new(net.ListenConfig).Listen(s.Context(), "tcp", "127.0.0.1:0")
	require.NoError(s, err)
	s.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	address.Host = listener.Addr().String()
	return p, address.String()
}

func (p *proxy) serve(client net.Conn) {
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	go p.copy(server, client)
	p.copy(client, server)
}

// copy drops what it reads while the connection is cut, and closes the connection afterwards,
// because data is missing from the stream.
func (p *proxy) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer, hole := make([]byte, 64<<10), false
	for {
		n, err := from.Read(buffer)
		for p.delayed.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if p.dropped.Load() {
			hole = true
			continue
		}
		if hole {
			return
		}
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (s *cluster) stats(p *rig.Process) (stats rig.WorkerStats) {
	s.Helper()
	require.NoError(s, p.Post("/stats", nil, &stats))
	return stats
}

func itoa(id chats.BusinessID) string { return strconv.FormatInt(int64(id), 10) }
