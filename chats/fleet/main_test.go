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

// desk simulates one process of a fleet within the test process, on SQLite.
type desk struct {
	*testing.T

	town  *rig.Town
	url   string
	http  *http.Client
	key   string
	db    *sql.DB
	store *sqlstore.Store
	fleet *fleet.Fleet
	river *river.Client[*sql.Tx]
	keys  sync.Map // of BusinessID: the key, if it is not the town's

	interval atomic.Int64
	slow     atomic.Int64 // running handlers of "slow" messages
	most     atomic.Int64 // the peak of slow

	mu      sync.Mutex
	handled map[string]int // by business and text
	settled map[string]outbox.State
	asked   map[chats.BusinessID]int
	own     []string // jobs of the caller's that have run
}

// ownArgs is a job of the caller's.
type ownArgs struct {
	Text string `json:"text"`
}

// Kind implements [river.JobArgs].
func (ownArgs) Kind() string { return "own" }

// newDesk returns a running process.
func newDesk(t *testing.T, shops int) *desk {
	t.Helper()
	d := &desk{
		T: t, town: rig.NewTown(rig.TownConfig{Shops: shops, Chats: 3}), handled: map[string]int{},
		settled: map[string]outbox.State{}, asked: map[chats.BusinessID]int{},
	}
	server := httptest.NewServer(d.town)
	t.Cleanup(server.Close)
	d.url, d.key = server.URL, d.town.Market(first).Key()
	d.http = &http.Client{Transport: contract.Transport(t, server.Client().Transport)}
	d.interval.Store(int64(time.Minute))
	var err error
	d.db, err = sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "fleet.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)&_txlock=immediate")
	require.NoError(t, err)
	d.db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, d.db.Close()) })
	migrator, err := rivermigrate.New(riversqlite.New(d.db), nil)
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	d.store, err = sqlstore.New(t.Context(), d.db, sqlstore.SQLite)
	require.NoError(t, err)
	d.fleet, err = fleet.New(d.store, d.shop, d.handle, fleet.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil))))
	require.NoError(t, err)
	workers := river.NewWorkers()
	d.fleet.Register(workers)
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[ownArgs]) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.own = append(d.own, job.Args.Text)
		return nil
	}))
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}}
	config := d.fleet.Config(&river.Config{Queues: queues, Workers: workers, TestOnly: true})
	d.river, err = river.NewClient(riversqlite.New(d.db), config)
	require.NoError(t, err)
	require.NoError(t, d.fleet.Start(t.Context(), d.river))
	require.NoError(t, d.river.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() { require.NoError(t, d.river.StopAndCancel(context.WithoutCancel(t.Context()))) })
	return d
}

func (d *desk) shop(_ context.Context, id chats.BusinessID) (fleet.Shop, error) {
	key, found := d.keys.Load(id)
	d.mu.Lock()
	d.asked[id]++
	d.mu.Unlock()
	switch {
	case !found:
		key = d.key
	case key == "":
		panic("no key")
	}
	client, err := chats.New(id, chats.APIKey(fmt.Sprint(key)), chats.WithBaseURL(d.url), chats.WithHTTPClient(d.http))
	return fleet.Shop{
		Client: client, Inbox: []inbox.Option{inbox.WithSenders(chats.SenderCustomer), inbox.WithPollInterval(time.Duration(d.interval.Load()))},
		Outbox: []outbox.Option{outbox.WithSettled(func(_ context.Context, r outbox.Result) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.settled[r.Item.Key] = r.State
			return nil
		})},
	}, err
}

func (d *desk) handle(ctx context.Context, delivery inbox.Delivery) error {
	if delivery.Message.Text == "slow" {
		if n := d.slow.Add(1); n > d.most.Load() {
			d.most.Store(n)
		}
		<-time.After(200 * time.Millisecond)
		d.slow.Add(-1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprint(int64(delivery.Business), " ", delivery.Message.Text)
	switch d.handled[key]++; delivery.Message.Text {
	case "stop":
		assert.NoError(d, d.fleet.Stop(ctx, d.river, delivery.Business))
		return assert.AnError
	case "twice":
		if d.handled[key] < 3 {
			return assert.AnError
		}
	}
	return nil
}

func (d *desk) follow(businesses ...chats.BusinessID) {
	d.Helper()
	require.NoError(d, d.fleet.Start(d.Context(), d.river, businesses...))
	for _, id := range businesses {
		d.await(func() bool {
			state, err := d.store.Business(d.Context(), id)
			return err == nil && !state.StartTime.IsZero()
		}, "business %d is not served", id)
	}
}

func (d *desk) await(condition func() bool, args ...any) {
	d.Helper()
	require.Eventually(d, condition, patience, 10*time.Millisecond, args...)
}

func (d *desk) count(business chats.BusinessID, text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handled[fmt.Sprint(int64(business), " ", text)]
}

func (d *desk) awaitText(business chats.BusinessID, text string) {
	d.Helper()
	d.await(func() bool { return d.count(business, text) > 0 }, "%q is not handled", text)
}

// texts counts the messages in the chats of a business, by text.
func (d *desk) posts(business chats.BusinessID) map[string]int {
	texts := map[string]int{}
	for _, id := range d.town.Chats(business) {
		for _, m := range d.town.Market(business).Messages(id) {
			texts[m.Text]++
		}
	}
	return texts
}
