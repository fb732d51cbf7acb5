package fleet_test

import (
	"context"
	"database/sql"
	"net/http"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/fleet"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

func TestNotify_DeliversAtOnceAndIgnoresTheRest(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.follow(first, first+1)
	for n, id := range []chats.BusinessID{first, first + 1, first} {
		chat := d.town.Chats(id)[n]
		text := []string{"a", "b", "c"}[n]
		message := d.town.Market(id).CustomerSays(chat, text)
		require.NoError(t, d.fleet.Notify(t.Context(), notify.MessageSent{Business: id, Chat: chat, Message: message}))
		d.awaitText(id, text)
	}
	require.NoError(t, d.fleet.Notify(t.Context(), notify.MessageSent{Business: first + 2, Chat: d.town.Chats(first + 2)[0]}))
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: 5, Chat: 7}))
	require.NoError(t, d.fleet.Notify(t.Context(), notify.Ping{}))
	require.NoError(t, d.fleet.Notify(t.Context(), notify.Other{Type: "ORDER_CREATED"}))
	stats := d.fleet.Stats()
	assert.EqualValues(t, 5, stats.Pushes.Load())
	assert.EqualValues(t, 2, stats.Unknown.Load())
	rows, err := d.store.Due(t.Context(), first+2, time.Now(), 10)
	require.NoError(t, err)
	assert.Empty(t, rows, "an event of an unknown business leaves no row")
}

// The turn of a business sweeps once a minute. The retry of a failed handler does not wait for
// it.
func TestNotify_FailedHandlerIsRetriedBeforeTheNextSweep(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.follow(first)
	chat := d.town.Chats(first)[0]
	began := time.Now()
	d.town.Market(first).CustomerSays(chat, "twice")
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	d.await(func() bool { return d.count(first, "twice") == 3 })
	assert.GreaterOrEqual(t, time.Since(began), 3*time.Second, "1 s and 2 s")
}

// A push waits while the lease is held by a step that has already read what is due. It is not
// forgotten when that step ends, although the turn is an hour away.
func TestNotify_DuringAStepIsNotLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.interval.Store(int64(time.Hour))
	d.follow(first)
	d.await(func() bool { return d.status().Job.State == rivertype.JobStateScheduled })
	lease, err := d.store.Acquire(t.Context(), first, inbox.Purpose, "another step")
	require.NoError(t, err)
	chat := d.town.Chats(first)[0]
	d.town.Market(first).CustomerSays(chat, "hello")
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	d.await(func() bool { return d.fleet.Stats().Held.Load() > 0 })
	assert.Zero(t, d.count(first, "hello"))
	require.NoError(t, d.store.Release(t.Context(), lease))
	d.awaitText(first, "hello")
	d.awaitNoWakes()
}

// The backlog of one shop does not take everything that others need.
func TestTurn_HandlesTwoChatsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.follow(first)
	for _, chat := range d.town.Chats(first) {
		d.town.Market(first).CustomerSays(chat, "slow")
	}
	for _, chat := range d.town.Chats(first) {
		require.NoError(t, d.store.Wake(t.Context(), first, chat, time.Now()))
	}
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: d.town.Chats(first)[0]}))
	d.await(func() bool { return d.count(first, "slow") == 3 })
	assert.LessOrEqual(t, d.most.Load(), int64(2))
}

func TestStart_NeedsNoPush(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.follow(first)
	require.NoError(t, d.fleet.Start(t.Context(), d.river, first), "it is idempotent")
	var jobs int
	require.NoError(t, d.db.QueryRowContext(t.Context(), `SELECT count(*) FROM river_job`).Scan(&jobs))
	assert.Equal(t, 2, jobs)
	assert.Error(t, d.fleet.Start(t.Context(), nil, first))
	assert.Error(t, d.fleet.Start(t.Context(), d.river, 0))
}

// The turns of more than a thousand businesses are listed in several pages.
func TestNotify_KnowsEveryBusiness(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	require.NoError(t, d.river.StopAndCancel(t.Context())) // they are not worked
	businesses := make([]chats.BusinessID, 2002)
	for n := range businesses {
		businesses[n] = chats.BusinessID(n + 1)
	}
	require.NoError(t, d.fleet.Start(t.Context(), d.river, businesses...))
	for _, id := range []chats.BusinessID{1, 1001, 2002} {
		require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: id, Chat: 7}))
	}
	assert.Zero(t, d.fleet.Stats().Unknown.Load())
}

// An operator or a middleware of the caller may end the jobs of a business.
func TestStart_GoesOnWhateverHasEndedTheJobs(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.follow(first, first+1, first+2)
	d.await(func() bool {
		return d.fleet.Stats().OutboxSteps.Load() >= 3 && d.status().Job.State == rivertype.JobStateScheduled
	})
	const turns = ` WHERE kind = 'ymchats_turn' AND args ->> 'business' = `
	for n, statement := range []string{
		`UPDATE river_job SET state = 'completed', finalized_at = CURRENT_TIMESTAMP` + turns + `1000`,
		`UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP` + turns + `1001`,
		`DELETE FROM river_job` + turns + `1002`,
	} {
		_, err := d.db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
		id := first + chats.BusinessID(n)
		chat := d.town.Chats(id)[0]
		d.town.Market(id).CustomerSays(chat, "hello")
		require.NoError(t, d.fleet.Start(t.Context(), d.river, id))
		require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: id, Chat: chat}))
		d.awaitText(id, "hello")
	}
}

func TestTurn_RefusedKeyIsTriedAgainWhenItIsReplaced(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.interval.Store(int64(time.Second))
	d.follow(first, first+1)
	market := d.town.Market(first)
	const newKey = "ACMA:fedcba9876543210fedcba9876543210fedcba98:76543210"
	market.SetKey(newKey) // while shop still has the old one
	chat := d.town.Chats(first)[0]
	market.CustomerSays(chat, "hello")
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	d.await(func() bool { return d.status().Backoff.Failures > 0 })
	d.awaitNoWakes()
	status := d.status()
	assert.NotEmpty(t, status.Backoff.Error)
	assert.NotContains(t, status.Backoff.Error, "ACMA")

	// Neither pushes nor Start try a refused key, but Start asks for another one.
	calls, asks := market.Calls(chats.OpGetChats)+market.Calls(chats.OpGetChatHistory), d.asks(first)
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	d.awaitNoWakes()
	require.NoError(t, d.fleet.Start(t.Context(), d.river, first))
	d.await(func() bool { return d.asks(first) > asks })
	if time.Now().Before(status.Backoff.Until) {
		assert.Equal(t, calls, market.Calls(chats.OpGetChats)+market.Calls(chats.OpGetChatHistory))
	}

	d.keys.Store(first, newKey)
	d.await(func() bool { // the job may be running just now
		require.NoError(t, d.fleet.Start(t.Context(), d.river, first))
		return d.count(first, "hello") > 0
	})
	d.await(func() bool { return d.status().Backoff.Failures == 0 })
	assert.Equal(t, 1, d.count(first, "hello"))
}

func TestTurn_ShopThatPanicsConcernsNoOther(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.keys.Store(first, "")
	require.NoError(t, d.fleet.Start(t.Context(), d.river, first))
	d.follow(first + 1)
	d.await(func() bool { return d.status().Backoff.Error != "" })
	assert.Contains(t, d.status().Backoff.Error, "no key")
	assert.Empty(t, d.status().Job.Errors, "no row collects errors")
	_, err := d.fleet.Outbox(t.Context(), first)
	assert.ErrorContains(t, err, "no key")
}

// The caller's own job and a reply are inserted in one transaction, and worked by one client.
func TestOutbox_PostsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.follow(first)
	chat := d.town.Chats(first)[0]
	box, err := d.fleet.Outbox(t.Context(), first)
	require.NoError(t, err)
	require.NoError(t, box.Put(t.Context(), outbox.Item{Key: "1", Chat: chat, Text: "put"}))
	for n, commit := range []bool{true, false} {
		tx, err := d.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		item := outbox.Item{Key: []string{"2", "3"}[n], Chat: chat, Text: []string{"committed", "rolled back"}[n]}
		require.NoError(t, d.fleet.PutTx(t.Context(), d.river, tx, first, item))
		_, err = d.river.InsertTx(t.Context(), tx, ownArgs{item.Text}, nil)
		require.NoError(t, err)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
	}
	d.await(func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.settled) == 2 && len(d.own) > 0
	})
	assert.Equal(t, map[string]int{"put": 1, "committed": 1}, d.posts(first))
	assert.Equal(t, []string{"committed"}, d.own)
	var own int
	require.NoError(t, d.db.QueryRowContext(t.Context(), `SELECT count(*) FROM river_job WHERE kind = 'own'`).Scan(&own))
	assert.Equal(t, 1, own, "no other one is left to be run")
	_, err = box.Get(t.Context(), "3")
	assert.ErrorIs(t, err, outbox.ErrUnknownKey)
}

// Another process starts two businesses, one after the other, and puts a reply to each after its
// first step. The process that works the wakes has listed the turns for the first reply, and does not
// list them again for the second.
func TestOutbox_OfBusinessesThatAnotherProcessHasJustStarted(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	other, err := fleet.New(d.store, d.shop, d.handle)
	require.NoError(t, err)
	for id := first; id < first+2; id++ {
		steps := d.fleet.Stats().OutboxSteps.Load()
		require.NoError(t, other.Start(t.Context(), d.river, id))
		d.await(func() bool { return d.fleet.Stats().OutboxSteps.Load() > steps }, "the first step")
		box, err := other.Outbox(t.Context(), id)
		require.NoError(t, err)
		require.NoError(t, box.Put(t.Context(), outbox.Item{Key: "k", Chat: d.town.Chats(id)[0], Text: "hello"}))
		d.await(func() bool { return d.posts(id)["hello"] == 1 })
	}
}

func TestStop_EndsTheJobsAndStartGoesOn(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.follow(first)
	require.NoError(t, d.fleet.Stop(t.Context(), d.river, first, 77))
	require.NoError(t, d.fleet.Stop(t.Context(), d.river, first), "it may be repeated")
	d.await(func() bool { return len(d.statuses()) == 0 })
	chat := d.town.Chats(first)[0]
	d.town.Market(first).CustomerSays(chat, "later")
	before := d.fleet.Stats().Unknown.Load()
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	d.await(func() bool { return d.fleet.Stats().Unknown.Load() > before })
	assert.Zero(t, d.count(first, "later"))
	require.NoError(t, d.fleet.Start(t.Context(), d.river, first))
	d.awaitText(first, "later")
	require.Len(t, d.statuses(), 1)
}

// A business is stopped while a wake's step handles a message, which fails. The retry, which is due
// before the turn, does not bring the turn back.
func TestStop_DuringAStepOfAWake(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.interval.Store(int64(time.Hour))
	d.follow(first)
	d.await(func() bool { return d.status().Job.State == rivertype.JobStateScheduled })
	chat := d.town.Chats(first)[0]
	d.town.Market(first).CustomerSays(chat, "stop")
	require.NoError(t, d.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	d.await(func() bool { return d.count(first, "stop") == 1 })
	d.awaitNoWakes()
	assert.Empty(t, d.statuses())
	assert.Equal(t, 1, d.count(first, "stop"))
}

func TestConfig_BoundsWhatAKillCosts(t *testing.T) {
	t.Parallel()
	f, err := fleet.New(inboxAndOutbox{}, func(context.Context, chats.BusinessID) (fleet.Shop, error) { return fleet.Shop{}, nil },
		func(context.Context, inbox.Delivery) error { return nil }, fleet.WithWorkers(7))
	require.NoError(t, err)
	c := f.Config(nil)
	assert.Equal(t, map[string]river.QueueConfig{"ymchats_inbox": {MaxWorkers: 7}, "ymchats_outbox": {MaxWorkers: 7}}, c.Queues)
	assert.Equal(t, c.JobTimeout+4*time.Second, c.RescueStuckJobsAfter, "a job that does not return by then is run a second time")
	assert.LessOrEqual(t, c.RescueStuckJobsAfter+35*time.Second, 75*time.Second, "the rescuer's and the scheduler's intervals are 30 s and 5 s")

	base := &river.Config{
		Queues: map[string]river.QueueConfig{"own": {MaxWorkers: 1}}, JobTimeout: 5 * time.Minute,
		RescueStuckJobsAfter: time.Hour, FetchCooldown: time.Second, CompletedJobRetentionPeriod: 24 * time.Hour,
	}
	c = f.Config(base)
	assert.Len(t, base.Queues, 1, "base is not changed")
	assert.Len(t, c.Queues, 3)
	assert.Equal(t, 5*time.Minute, c.JobTimeout)
	assert.Equal(t, 5*time.Minute+4*time.Second, c.RescueStuckJobsAfter)
	assert.Equal(t, time.Second, c.FetchCooldown)
	assert.Equal(t, 24*time.Hour, c.CompletedJobRetentionPeriod)
}

func TestNew_RefusesWrongArguments(t *testing.T) {
	t.Parallel()
	shop := func(context.Context, chats.BusinessID) (fleet.Shop, error) { return fleet.Shop{}, nil }
	handle := func(context.Context, inbox.Delivery) error { return nil }
	for _, err := range []error{
		second(fleet.New(nil, shop, handle)), second(fleet.New((*inboxAndOutbox)(nil), shop, handle)), second(fleet.New(inboxAndOutbox{}, nil, handle)),
		second(fleet.New(inboxAndOutbox{}, shop, nil)), second(fleet.New(inboxAndOutbox{}, shop, handle, nil)),
		second(fleet.New(inboxAndOutbox{}, shop, handle, fleet.WithWorkers(0))),
		second(fleet.New(inboxAndOutbox{}, shop, handle, fleet.WithWorkers(10_001))),
		second(fleet.New(inboxAndOutbox{}, shop, handle, fleet.WithLogger(nil))),
	} {
		assert.ErrorIs(t, err, chats.ErrInvalidArgument)
	}
	f, err := fleet.New(inboxAndOutbox{}, shop, handle)
	require.NoError(t, err)
	var none *river.Client[*sql.Tx]
	assert.ErrorIs(t, f.Start(t.Context(), none), chats.ErrInvalidArgument)
	assert.ErrorIs(t, f.Stop(t.Context(), nil, 1), chats.ErrInvalidArgument)
	assert.ErrorIs(t, f.PutTx(t.Context(), none, nil, 1), chats.ErrInvalidArgument)
	assert.ErrorIs(t, f.Notify(t.Context(), notify.ChatCreated{Business: 1, Chat: 1}), fleet.ErrNotStarted)
	for _, err := range f.Status(t.Context()) {
		assert.ErrorIs(t, err, fleet.ErrNotStarted)
	}
}

type inboxAndOutbox struct{ fleet.Store }

func second[T any](_ T, err error) error { return err }

func (d *desk) statuses() (all []fleet.ShopStatus) {
	d.Helper()
	for status, err := range d.fleet.Status(d.Context()) {
		require.NoError(d, err)
		all = append(all, status)
	}
	return all
}

// status returns the status of the first shop.
func (d *desk) status() (found fleet.ShopStatus) {
	d.Helper()
	for _, status := range d.statuses() {
		if status.Business == first {
			found = status
		}
	}
	require.NotNil(d, found.Job, "it is not served")
	return found
}

func (d *desk) asks(business chats.BusinessID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[business]
}

// awaitNoWakes waits until no wakes are left to be worked.
func (d *desk) awaitNoWakes() {
	d.Helper()
	params := river.NewJobListParams().Kinds("ymchats_wake").States(rivertype.JobStateAvailable, rivertype.JobStateRunning, rivertype.JobStateScheduled)
	d.await(func() bool {
		page, err := d.river.JobList(d.Context(), params)
		return err == nil && len(page.Jobs) == 0
	})
}

// The turn of an outbox sleeps for an hour. The retry of a failed post does not wait for it.
func TestOutbox_PostsAgainBeforeTheNextTurn(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.follow(first)
	d.await(func() bool { return d.fleet.Stats().OutboxSteps.Load() > 0 })
	box, err := d.fleet.Outbox(t.Context(), first)
	require.NoError(t, err)
	forbidden := chatstest.Status(http.StatusForbidden, `{"status":"ERROR","errors":[{"code":"FORBIDDEN"}]}`)
	d.town.Market(first).Fail(chats.OpSendMessageToChat, forbidden, forbidden)
	require.NoError(t, box.Put(t.Context(), outbox.Item{Key: "1", Chat: d.town.Chats(first)[0], Text: "put"}))
	d.await(func() bool { return d.posts(first)["put"] == 1 })
}

// deaf inserts nothing.
type deaf struct{ fleet.Inserter }

func (deaf) InsertMany(context.Context, []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	return nil, assert.AnError
}

// If no job could be inserted, repeating the call inserts one, although the store already has
// the item.
func TestOutbox_RepeatedCallsInsertTheJob(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	box, err := d.fleet.Outbox(t.Context(), first)
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"Put":     func() error { return box.Put(t.Context(), outbox.Item{Key: "1", Chat: 1, Text: "put"}) },
		"Resolve": func() error { return box.Resolve(t.Context(), "2", outbox.Discard()) },
	} {
		require.NoError(t, d.store.Put(t.Context(), first, outbox.Item{Key: "2", Chat: 1, Text: "discarded"}))
		require.NoError(t, d.fleet.Start(t.Context(), deaf{d.river}))
		require.ErrorIs(t, call(), assert.AnError, name)
		require.NoError(t, d.fleet.Start(t.Context(), d.river))
		before := d.fleet.Stats().Unknown.Load()
		require.NoError(t, call(), name)
		d.await(func() bool { return d.fleet.Stats().Unknown.Load() == before+1 }, name)
	}
}
