package fleet_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/fleet"
	"github.com/ymchats/ymchats-go/chats/fleet/internal/rig"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

func TestMain(m *testing.M) {
	rig.Play()
	m.Run()
}

const (
	first    = chats.BusinessID(rig.FirstBusiness)
	patience = 60 * time.Second
)

// harness simulates one process of a fleet within the test process, on SQLite.
type harness struct {
	*testing.T

	marketplace *rig.Marketplace
	url         string
	http        *http.Client
	key         string
	db          *sql.DB
	store       *sqlstore.Store
	fleet       *fleet.Fleet
	river       *river.Client[*sql.Tx]
	keys        sync.Map // of BusinessID: the key, if it is not the marketplace's

	interval atomic.Int64
	slow     atomic.Int64 // running handlers of "slow" messages
	most     atomic.Int64 // the peak of slow

	mu      sync.Mutex
	handled map[string]int // by business and text
	settled map[string]outbox.State
	after   func(outbox.Result) // runs when an item is settled; may be nil
	asked   map[chats.BusinessID]int
	own     []string // jobs of the caller's that have run
}

// ownArgs is a job of the caller's.
type ownArgs struct {
	Text string `json:"text"`
}

// Kind implements [river.JobArgs].
func (ownArgs) Kind() string { return "own" }

// newHarness returns a running process.
func newHarness(t *testing.T, shops int) *harness {
	t.Helper()
	h := &harness{
		T: t, marketplace: rig.NewMarketplace(rig.MarketplaceConfig{Shops: shops, Chats: 3}), handled: map[string]int{},
		settled: map[string]outbox.State{}, asked: map[chats.BusinessID]int{},
	}
	server := httptest.NewServer(h.marketplace)
	t.Cleanup(server.Close)
	h.url, h.key = server.URL, h.marketplace.Market(first).Key()
	h.http = &http.Client{Transport: contract.Transport(t, server.Client().Transport)}
	h.interval.Store(int64(time.Minute))
	var err error
	h.db, err = sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "fleet.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)&_txlock=immediate")
	require.NoError(t, err)
	h.db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, h.db.Close()) })
	migrator, err := rivermigrate.New(riversqlite.New(h.db), nil)
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	h.store, err = sqlstore.New(t.Context(), h.db, sqlstore.SQLite)
	require.NoError(t, err)
	h.fleet, err = fleet.New(h.store, h.shop, h.handle, fleet.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil))))
	require.NoError(t, err)
	workers := river.NewWorkers()
	h.fleet.Register(workers)
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[ownArgs]) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.own = append(h.own, job.Args.Text)
		return nil
	}))
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}}
	config := h.fleet.Config(&river.Config{FetchPollInterval: 100 * time.Millisecond, Queues: queues, Workers: workers, TestOnly: true}) // there is no LISTEN
	h.river, err = river.NewClient(riversqlite.New(h.db), config)
	require.NoError(t, err)
	require.NoError(t, h.fleet.Start(t.Context(), h.river))
	require.NoError(t, h.river.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() { require.NoError(t, h.river.StopAndCancel(context.WithoutCancel(t.Context()))) })
	return h
}

func (h *harness) shop(_ context.Context, id chats.BusinessID) (fleet.Shop, error) {
	key, found := h.keys.Load(id)
	h.mu.Lock()
	h.asked[id]++
	h.mu.Unlock()
	switch {
	case !found:
		key = h.key
	case key == "":
		panic("no key")
	}
	client, err := chats.New(id, chats.APIKey(fmt.Sprint(key)), chats.WithBaseURL(h.url), chats.WithHTTPClient(h.http))
	return fleet.Shop{
		Client: client, Inbox: []inbox.Option{inbox.WithSenders(chats.SenderCustomer), inbox.WithPollInterval(time.Duration(h.interval.Load()))},
		Outbox: []outbox.Option{outbox.WithSettled(func(_ context.Context, r outbox.Result) error {
			h.mu.Lock()
			after := h.after
			h.settled[r.Item.Key] = r.State
			h.mu.Unlock()
			if after != nil {
				after(r)
			}
			return nil
		})},
	}, err
}

func (h *harness) handle(ctx context.Context, delivery inbox.Delivery) error {
	if delivery.Message.Text == "slow" {
		if n := h.slow.Add(1); n > h.most.Load() {
			h.most.Store(n)
		}
		<-time.After(200 * time.Millisecond)
		h.slow.Add(-1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprint(int64(delivery.Business), " ", delivery.Message.Text)
	switch h.handled[key]++; delivery.Message.Text {
	case "stop":
		assert.NoError(h, h.fleet.Stop(ctx, h.river, delivery.Business))
		return assert.AnError
	case "twice":
		if h.handled[key] < 3 {
			return assert.AnError
		}
	}
	return nil
}

func (h *harness) follow(businesses ...chats.BusinessID) {
	h.Helper()
	require.NoError(h, h.fleet.Start(h.Context(), h.river, businesses...))
	for _, id := range businesses {
		h.await(func() bool {
			state, err := h.store.Business(h.Context(), id)
			return err == nil && !state.StartTime.IsZero()
		}, "business %d is not served", id)
	}
}

func (h *harness) await(condition func() bool, args ...any) {
	h.Helper()
	require.Eventually(h, condition, patience, 10*time.Millisecond, args...)
}

func (h *harness) count(business chats.BusinessID, text string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.handled[fmt.Sprint(int64(business), " ", text)]
}

func (h *harness) awaitText(business chats.BusinessID, text string) {
	h.Helper()
	h.await(func() bool { return h.count(business, text) > 0 }, "%q is not handled", text)
}

// texts counts the messages in the chats of a business, by text.
func (h *harness) posts(business chats.BusinessID) map[string]int {
	texts := map[string]int{}
	for _, id := range h.marketplace.Chats(business) {
		for _, m := range h.marketplace.Market(business).Messages(id) {
			texts[m.Text]++
		}
	}
	return texts
}
