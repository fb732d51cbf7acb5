package fleet_test

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
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
	h := newHarness(t, 3)
	h.follow(first, first+1)
	for n, id := range []chats.BusinessID{first, first + 1, first} {
		chat := h.marketplace.Chats(id)[n]
		text := []string{"a", "b", "c"}[n]
		message := h.marketplace.Market(id).CustomerSays(chat, text)
		require.NoError(t, h.fleet.Notify(t.Context(), notify.MessageSent{Business: id, Chat: chat, Message: message}))
		h.awaitText(id, text)
	}
	require.NoError(t, h.fleet.Notify(t.Context(), notify.MessageSent{Business: first + 2, Chat: h.marketplace.Chats(first + 2)[0]}))
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: 5, Chat: 7}))
	require.NoError(t, h.fleet.Notify(t.Context(), notify.Ping{}))
	require.NoError(t, h.fleet.Notify(t.Context(), notify.Other{Type: "ORDER_CREATED"}))
	stats := h.fleet.Stats()
	assert.EqualValues(t, 5, stats.Pushes.Load())
	assert.EqualValues(t, 2, stats.Unknown.Load())
	rows, err := h.store.Due(t.Context(), first+2, time.Now(), 10)
	require.NoError(t, err)
	assert.Empty(t, rows, "an event of an unknown business leaves no row")
}

// The turn of a business sweeps once a minute. The retry of a failed handler does not wait for
// it.
func TestNotify_FailedHandlerIsRetriedBeforeTheNextSweep(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	chat := h.marketplace.Chats(first)[0]
	began := time.Now()
	h.marketplace.Market(first).CustomerSays(chat, "twice")
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.await(func() bool { return h.count(first, "twice") == 3 })
	assert.GreaterOrEqual(t, time.Since(began), 3*time.Second, "1 s and 2 s")
}

// A push waits while the lease is held by a step that has already read what is due. It is not
// forgotten when that step ends, although the turn is an hour away.
func TestNotify_DuringAStepIsNotLost(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.interval.Store(int64(time.Hour))
	h.follow(first)
	h.await(func() bool { return h.status().Job.State == rivertype.JobStateScheduled })
	lease, err := h.store.Acquire(t.Context(), first, inbox.Purpose, "another step")
	require.NoError(t, err)
	chat := h.marketplace.Chats(first)[0]
	h.marketplace.Market(first).CustomerSays(chat, "hello")
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.await(func() bool { return h.fleet.Stats().Held.Load() > 0 })
	assert.Zero(t, h.count(first, "hello"))
	require.NoError(t, h.store.Release(t.Context(), lease))
	h.awaitText(first, "hello")
	h.awaitNoWakes()
}

// The backlog of one shop does not take everything that others need.
func TestTurn_HandlesTwoChatsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	for _, chat := range h.marketplace.Chats(first) {
		h.marketplace.Market(first).CustomerSays(chat, "slow")
	}
	for _, chat := range h.marketplace.Chats(first) {
		require.NoError(t, h.store.Wake(t.Context(), first, chat, time.Now()))
	}
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: h.marketplace.Chats(first)[0]}))
	h.await(func() bool { return h.count(first, "slow") == 3 })
	assert.LessOrEqual(t, h.most.Load(), int64(2))
}

func TestStart_NeedsNoPush(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	require.NoError(t, h.fleet.Start(t.Context(), h.river, first), "it is idempotent")
	var jobs int
	require.NoError(t, h.db.QueryRowContext(t.Context(), `SELECT count(*) FROM river_job`).Scan(&jobs))
	assert.Equal(t, 2, jobs)
	assert.Error(t, h.fleet.Start(t.Context(), nil, first))
	assert.Error(t, h.fleet.Start(t.Context(), h.river, 0))
}

// The turns of more than a thousand businesses are listed in several pages.
func TestNotify_KnowsEveryBusiness(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	require.NoError(t, h.river.StopAndCancel(t.Context())) // they are not worked
	businesses := make([]chats.BusinessID, 2002)
	for n := range businesses {
		businesses[n] = chats.BusinessID(n + 1)
	}
	require.NoError(t, h.fleet.Start(t.Context(), h.river, businesses...))
	for _, id := range []chats.BusinessID{1, 1001, 2002} {
		require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: id, Chat: 7}))
	}
	assert.Zero(t, h.fleet.Stats().Unknown.Load())
}

// An operator or a middleware of the caller may end the jobs of a business.
func TestStart_GoesOnWhateverHasEndedTheJobs(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 3)
	h.follow(first, first+1, first+2)
	h.await(func() bool {
		return h.fleet.Stats().OutboxSteps.Load() >= 3 && h.status().Job.State == rivertype.JobStateScheduled
	})
	const turns = ` WHERE kind = 'ymchats_turn' AND args ->> 'business' = `
	for n, statement := range []string{
		`UPDATE river_job SET state = 'completed', finalized_at = CURRENT_TIMESTAMP` + turns + `1000`,
		`UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP` + turns + `1001`,
		`DELETE FROM river_job` + turns + `1002`,
	} {
		_, err := h.db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
		id := first + chats.BusinessID(n)
		chat := h.marketplace.Chats(id)[0]
		h.marketplace.Market(id).CustomerSays(chat, "hello")
		require.NoError(t, h.fleet.Start(t.Context(), h.river, id))
		require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: id, Chat: chat}))
		h.awaitText(id, "hello")
	}
}

func TestTurn_RefusedKeyIsTriedAgainWhenItIsReplaced(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 2)
	h.interval.Store(int64(time.Second))
	h.follow(first, first+1)
	market := h.marketplace.Market(first)
	const newKey = "ACMA:fedcba9876543210fedcba9876543210fedcba98:76543210"
	market.SetKey(newKey) // while shop still has the old one
	chat := h.marketplace.Chats(first)[0]
	market.CustomerSays(chat, "hello")
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.await(func() bool { return h.status().Backoff.Failures > 0 })
	h.awaitNoWakes()
	status := h.status()
	assert.NotEmpty(t, status.Backoff.Error)
	assert.NotContains(t, status.Backoff.Error, "ACMA")

	// Neither pushes nor Start try a refused key, but Start asks for another one.
	calls, asks := market.Calls(chats.OpGetChats)+market.Calls(chats.OpGetChatHistory), h.asks(first)
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.awaitNoWakes()
	require.NoError(t, h.fleet.Start(t.Context(), h.river, first))
	h.await(func() bool { return h.asks(first) > asks })
	if time.Now().Before(status.Backoff.Until) {
		assert.Equal(t, calls, market.Calls(chats.OpGetChats)+market.Calls(chats.OpGetChatHistory))
	}

	h.keys.Store(first, newKey)
	h.await(func() bool { // the job may be running just now
		require.NoError(t, h.fleet.Start(t.Context(), h.river, first))
		return h.count(first, "hello") > 0
	})
	h.await(func() bool { return h.status().Backoff.Failures == 0 })
	assert.Equal(t, 1, h.count(first, "hello"))
}

// The list of chats may not be due for a long time: a poll for a push meets the refusal.
func TestNotify_RefusedKeyIsReplaced(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.interval.Store(int64(time.Hour))
	h.follow(first)
	h.await(func() bool { return h.status().Job.State == rivertype.JobStateScheduled })
	const newKey = "ACMA:fedcba9876543210fedcba9876543210fedcba98:76543210"
	h.marketplace.Market(first).SetKey(newKey)
	h.keys.Store(first, newKey)
	chat := h.marketplace.Chats(first)[0]
	h.marketplace.Market(first).CustomerSays(chat, "hello")
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.awaitText(first, "hello")
}

func TestTurn_ShopThatPanicsConcernsNoOther(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 2)
	h.keys.Store(first, "")
	require.NoError(t, h.fleet.Start(t.Context(), h.river, first))
	h.follow(first + 1)
	h.await(func() bool { return h.status().Backoff.Error != "" })
	assert.Contains(t, h.status().Backoff.Error, "no key")
	assert.Empty(t, h.status().Job.Errors, "no row collects errors")
	_, err := h.fleet.Outbox(t.Context(), first)
	assert.ErrorContains(t, err, "no key")
}

// The caller's own job and a reply are inserted in one transaction, and worked by one client.
func TestOutbox_PostsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	chat := h.marketplace.Chats(first)[0]
	box, err := h.fleet.Outbox(t.Context(), first)
	require.NoError(t, err)
	require.NoError(t, box.Put(t.Context(), outbox.Item{Key: "1", Chat: chat, Text: "put"}))
	for n, commit := range []bool{true, false} {
		tx, err := h.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		item := outbox.Item{Key: []string{"2", "3"}[n], Chat: chat, Text: []string{"committed", "rolled back"}[n]}
		require.NoError(t, h.fleet.PutTx(t.Context(), h.river, tx, first, item))
		_, err = h.river.InsertTx(t.Context(), tx, ownArgs{item.Text}, nil)
		require.NoError(t, err)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
	}
	h.await(func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.settled) == 2 && len(h.own) > 0
	})
	assert.Equal(t, map[string]int{"put": 1, "committed": 1}, h.posts(first))
	assert.Equal(t, []string{"committed"}, h.own)
	var own int
	require.NoError(t, h.db.QueryRowContext(t.Context(), `SELECT count(*) FROM river_job WHERE kind = 'own'`).Scan(&own))
	assert.Equal(t, 1, own, "no other one is left to be run")
	_, err = box.Get(t.Context(), "3")
	assert.ErrorIs(t, err, outbox.ErrUnknownKey)
}

// Another process starts two businesses, one after the other, and puts a reply to each after its
// first step. The process that works the wakes has listed the turns for the first reply, and does not
// list them again for the second.
func TestOutbox_OfBusinessesThatAnotherProcessHasJustStarted(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 2)
	other, err := fleet.New(h.store, h.shop, h.handle)
	require.NoError(t, err)
	for id := first; id < first+2; id++ {
		steps := h.fleet.Stats().OutboxSteps.Load()
		require.NoError(t, other.Start(t.Context(), h.river, id))
		h.await(func() bool { return h.fleet.Stats().OutboxSteps.Load() > steps }, "the first step")
		box, err := other.Outbox(t.Context(), id)
		require.NoError(t, err)
		require.NoError(t, box.Put(t.Context(), outbox.Item{Key: "k", Chat: h.marketplace.Chats(id)[0], Text: "hello"}))
		h.await(func() bool { return h.posts(id)["hello"] == 1 })
	}
}

func TestStop_EndsTheJobsAndStartGoesOn(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	require.NoError(t, h.fleet.Stop(t.Context(), h.river, first, 77))
	require.NoError(t, h.fleet.Stop(t.Context(), h.river, first), "it may be repeated")
	h.await(func() bool { return len(h.statuses()) == 0 })
	chat := h.marketplace.Chats(first)[0]
	h.marketplace.Market(first).CustomerSays(chat, "later")
	before := h.fleet.Stats().Unknown.Load()
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.await(func() bool { return h.fleet.Stats().Unknown.Load() > before })
	assert.Zero(t, h.count(first, "later"))
	require.NoError(t, h.fleet.Start(t.Context(), h.river, first))
	h.awaitText(first, "later")
	require.Len(t, h.statuses(), 1)
}

// The only process was killed between Stop and the end of the step, so nothing is left that ends the
// jobs: a River client is not started before Start has returned.
func TestStart_AfterAKillDuringStop(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	h.await(func() bool {
		return h.fleet.Stats().OutboxSteps.Load() > 0 && h.status().Job.State == rivertype.JobStateScheduled
	})
	require.NoError(t, h.river.StopAndCancel(t.Context()))
	_, err := h.db.ExecContext(t.Context(), `UPDATE river_job SET state = 'running', attempted_at = datetime('now', '-35 seconds'),
		metadata = json_set(metadata, '$.cancel_attempted_at', '2026-11-27T12:00:00Z') WHERE kind = 'ymchats_turn'`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		require.NoError(t, h.fleet.Start(ctx, h.river, first))
	}
	assert.Len(t, h.statuses(), 2, "the one whose process was killed, and one more")
	require.NoError(t, h.river.Start(context.WithoutCancel(t.Context())))
	chat := h.marketplace.Chats(first)[0]
	h.marketplace.Market(first).CustomerSays(chat, "hello")
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.awaitText(first, "hello")
	h.await(func() bool {
		all := h.statuses()
		return len(all) == 1 && all[0].Job.State == rivertype.JobStateScheduled
	}, "the other is ended by River's rescue")
	require.NoError(t, h.fleet.Stop(t.Context(), h.river, first))
	h.await(func() bool { return len(h.statuses()) == 0 })
}

// A business is stopped while a wake's step handles a message, which fails. The retry, which is due
// before the turn, does not bring the turn back.
func TestStop_DuringAStepOfAWake(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.interval.Store(int64(time.Hour))
	h.follow(first)
	h.await(func() bool { return h.status().Job.State == rivertype.JobStateScheduled })
	chat := h.marketplace.Chats(first)[0]
	h.marketplace.Market(first).CustomerSays(chat, "stop")
	require.NoError(t, h.fleet.Notify(t.Context(), notify.ChatCreated{Business: first, Chat: chat}))
	h.await(func() bool { return h.count(first, "stop") == 1 })
	h.awaitNoWakes()
	assert.Empty(t, h.statuses())
	assert.Equal(t, 1, h.count(first, "stop"))
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
		second(fleet.New(inboxAndOutbox{}, shop, handle, fleet.WithLogger(new(slog.Logger)))),
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

func (h *harness) statuses() (all []fleet.ShopStatus) {
	h.Helper()
	for status, err := range h.fleet.Status(h.Context()) {
		require.NoError(h, err)
		all = append(all, status)
	}
	return all
}

// status returns the status of the first shop.
func (h *harness) status() (found fleet.ShopStatus) {
	h.Helper()
	for _, status := range h.statuses() {
		if status.Business == first {
			found = status
		}
	}
	require.NotNil(h, found.Job, "it is not served")
	return found
}

func (h *harness) asks(business chats.BusinessID) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[business]
}

// awaitNoWakes waits until no wakes are left to be worked.
func (h *harness) awaitNoWakes() {
	h.Helper()
	params := river.NewJobListParams().Kinds("ymchats_wake").States(rivertype.JobStateAvailable, rivertype.JobStateRunning, rivertype.JobStateScheduled)
	h.await(func() bool {
		page, err := h.river.JobList(h.Context(), params)
		return err == nil && len(page.Jobs) == 0
	})
}

// The turn of an outbox sleeps for an hour. The retry of a failed post does not wait for it.
func TestOutbox_PostsAgainBeforeTheNextTurn(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	h.await(func() bool { return h.fleet.Stats().OutboxSteps.Load() > 0 })
	box, err := h.fleet.Outbox(t.Context(), first)
	require.NoError(t, err)
	forbidden := chatstest.Status(http.StatusForbidden, `{"status":"ERROR","errors":[{"code":"FORBIDDEN"}]}`)
	h.marketplace.Market(first).Fail(chats.OpSendMessageToChat, forbidden, forbidden)
	require.NoError(t, box.Put(t.Context(), outbox.Item{Key: "1", Chat: h.marketplace.Chats(first)[0], Text: "put"}))
	h.await(func() bool { return h.posts(first)["put"] == 1 })
}

// After a new key has been accepted, the first reply is posted by a step of the turn, whose backoff
// is still that of the old key. The shop then queues another one, and the step ends without having
// read it.
func TestOutbox_PutWhenTheFirstReplyAfterARefusalIsSettled(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1)
	h.follow(first)
	h.await(func() bool { return h.fleet.Stats().OutboxSteps.Load() > 0 })
	chat := h.marketplace.Chats(first)[0]
	const newKey = "ACMA:fedcba9876543210fedcba9876543210fedcba98:76543210"
	h.marketplace.Market(first).SetKey(newKey)
	put := func(key string) {
		tx, err := h.db.BeginTx(t.Context(), nil)
		if assert.NoError(t, err) {
			assert.NoError(t, h.fleet.PutTx(t.Context(), h.river, tx, first, outbox.Item{Key: key, Chat: chat, Text: key}))
			assert.NoError(t, tx.Commit())
		}
	}
	h.mu.Lock()
	h.after = func(r outbox.Result) {
		if r.Item.Key == "1" {
			<-time.After(100 * time.Millisecond) // the step has found nothing more
			put("2")
			<-time.After(300 * time.Millisecond) // the wake is worked, and the backlog is not read again
		}
	}
	h.mu.Unlock()
	put("1")
	h.await(func() bool {
		page, err := h.river.JobList(t.Context(), river.NewJobListParams().Kinds("ymchats_turn").Queues("ymchats_outbox"))
		return err == nil && bytes.Contains(page.Jobs[0].Metadata, []byte("ymchats_backoff"))
	})
	h.awaitNoWakes()
	<-time.After(3 * time.Second) // the first reply is due again
	h.keys.Store(first, newKey)
	require.NoError(t, h.fleet.Start(t.Context(), h.river, first))
	h.await(func() bool { return h.posts(first)["2"] == 1 }, "the second reply is not posted")
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
	h := newHarness(t, 1)
	box, err := h.fleet.Outbox(t.Context(), first)
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"Put":     func() error { return box.Put(t.Context(), outbox.Item{Key: "1", Chat: 1, Text: "put"}) },
		"Resolve": func() error { return box.Resolve(t.Context(), "2", outbox.Discard()) },
	} {
		require.NoError(t, h.store.Put(t.Context(), first, outbox.Item{Key: "2", Chat: 1, Text: "discarded"}))
		require.NoError(t, h.fleet.Start(t.Context(), deaf{h.river}))
		require.ErrorIs(t, call(), assert.AnError, name)
		require.NoError(t, h.fleet.Start(t.Context(), h.river))
		before := h.fleet.Stats().Unknown.Load()
		require.NoError(t, call(), name)
		h.await(func() bool { return h.fleet.Stats().Unknown.Load() == before+1 }, name)
	}
}
