package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// counted counts the statements of outboxes; each method is one on PostgreSQL.
type counted struct {
	*sqlstore.Store

	posting, idle *atomic.Int64
}

func (s counted) Head(ctx context.Context, b chats.BusinessID, chat chats.ChatID) (outbox.Record, error) {
	s.posting.Add(1)
	return s.Store.Head(ctx, b, chat)
}

func (s counted) SaveItem(ctx context.Context, lease inbox.Lease, r *outbox.Record) error {
	s.posting.Add(1)
	return s.Store.SaveItem(ctx, lease, r)
}

func (s counted) Backlog(ctx context.Context, b chats.BusinessID, at time.Time) (outbox.Backlog, error) {
	s.idle.Add(1)
	return s.Store.Backlog(ctx, b, at)
}

func (s counted) Renew(ctx context.Context, lease inbox.Lease) (time.Time, error) {
	s.idle.Add(1)
	return s.Store.Renew(ctx, lease)
}

// BenchmarkOutbox_Costs measures what outboxes in one process cost while replies are put at
// a rate by another handle on the database, as another process has one. b.N is the number of
// replies. 55 replies a second are the quota of 200 businesses.
func BenchmarkOutbox_Costs(b *testing.B) {
	b.Run("200 businesses, 55 a second", func(b *testing.B) { benchmarkCosts(b, 200, time.Second/55) })
	b.Run("1 business, idle", func(b *testing.B) { benchmarkCosts(b, 1, 730*time.Millisecond) })
}

func benchmarkCosts(b *testing.B, businesses int, interval time.Duration) {
	b.Helper()
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		b.Fatal("set DATABASE_URL, or run ./postgres.sh go test -bench Outbox .")
	}
	d := database{sqlstore.PostgreSQL, server}
	db, err := d.pool()
	require.NoError(b, err)
	prefix := fmt.Sprintf("bench%d_", time.Now().UnixNano()%1_000_000)
	store, err := sqlstore.New(b.Context(), db, d.dialect, sqlstore.WithTablePrefix(prefix))
	require.NoError(b, err)
	putter, err := sqlstore.New(b.Context(), db, d.dialect, sqlstore.WithTablePrefix(prefix))
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	f := &fleetCosts{queued: map[string]time.Time{}}
	for n := range businesses {
		market := chatstest.NewMarket(chatstest.WithBusiness(chats.BusinessID(n + 1)))
		f.markets, f.chats = append(f.markets, market), append(f.chats, market.AddChat(chats.Chat{}))
		box, err := outbox.New(market.Client(), counted{store, &f.posting, &f.idle}, outbox.WithSettled(f.settled))
		require.NoError(b, err)
		running.Go(func() { _ = box.Run(ctx) })
	}
	timer := time.NewTimer(3 * time.Second) // all have their leases
	<-timer.C
	f.posting.Store(0)
	f.idle.Store(0)
	cpu, began := cpuTime(), time.Now()
	b.ResetTimer()
	ticker := time.NewTicker(interval)
	for n := range b.N {
		<-ticker.C
		f.put(b, putter, n)
	}
	for f.count() < b.N {
		<-ticker.C
	}
	b.StopTimer()
	f.report(b, cpuTime()-cpu, time.Since(began))
	cancel()
	running.Wait()
	require.NoError(b, db.Close())
}

type fleetCosts struct {
	markets       []*chatstest.Market
	chats         []chats.ChatID
	posting, idle atomic.Int64

	mu        sync.Mutex
	queued    map[string]time.Time
	latencies []time.Duration
}

func (f *fleetCosts) put(b *testing.B, store *sqlstore.Store, n int) {
	b.Helper()
	key, m := fmt.Sprint("reply ", n), n%len(f.markets)
	f.mu.Lock()
	f.queued[key] = time.Now()
	f.mu.Unlock()
	err := store.Put(b.Context(), f.markets[m].Business(), outbox.Item{Key: key, Chat: f.chats[m], Text: key})
	require.NoError(b, err)
}

func (f *fleetCosts) settled(_ context.Context, r outbox.Result) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latencies = append(f.latencies, time.Since(f.queued[r.Item.Key]))
	return nil
}

func (f *fleetCosts) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.latencies)
}

func (f *fleetCosts) report(b *testing.B, cpu, took time.Duration) {
	b.Helper()
	requests := 0
	for _, market := range f.markets {
		requests += market.Calls(chats.OpSendMessageToChat) + market.Calls(chats.OpGetChatHistory)
	}
	slices.Sort(f.latencies)
	n := len(f.latencies)
	b.ReportMetric(float64(requests)/float64(n), "requests/reply")
	b.ReportMetric(float64(f.posting.Load())/float64(n), "statements/reply")
	b.ReportMetric(float64(f.idle.Load())/took.Seconds()/float64(len(f.markets)), "idle-statements/s/business")
	b.ReportMetric(float64(n)/took.Seconds(), "replies/s")
	b.ReportMetric(cpu.Seconds()/took.Seconds(), "cores")
	b.ReportMetric(float64(f.latencies[n/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(f.latencies[n*99/100].Milliseconds()), "p99-ms")
}

// cpuTime is that of this process, the in-memory Market included, the database not.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
