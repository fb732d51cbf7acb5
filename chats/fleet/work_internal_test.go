package fleet

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/urgent"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// fakeJobs has the turns of one queue.
type fakeJobs struct {
	Inserter

	turns    map[int64]*rivertype.JobRow // by ID, which is also the business
	lists    atomic.Int64
	listed   func() // runs after the turns have been read
	insert   func(context.Context, int) error
	err      error
	inserted []river.InsertManyParams // turns
	wakes    []river.InsertManyParams // of the last batch
	canceled []int64
	retried  []int64
	ends     time.Time // when stopped turns end
}

func (j *fakeJobs) JobList(context.Context, *river.JobListParams) (*river.JobListResult, error) {
	j.lists.Add(1)
	if j.err != nil {
		return nil, j.err
	}
	page := &river.JobListResult{}
	for _, turn := range j.turns {
		if turn.FinalizedAt == nil {
			page.Jobs = append(page.Jobs, turn)
		}
	}
	if j.listed != nil {
		j.listed()
	}
	return page, nil
}

func (j *fakeJobs) JobGet(_ context.Context, id int64) (*rivertype.JobRow, error) {
	if j.turns[id] == nil {
		return nil, rivertype.ErrNotFound
	}
	if turn := j.turns[id]; !j.ends.IsZero() && !time.Now().Before(j.ends) {
		turn.State, turn.FinalizedAt = rivertype.JobStateCancelled, &j.ends
	}
	return j.turns[id], nil
}

func (j *fakeJobs) JobRetry(_ context.Context, id int64) (*rivertype.JobRow, error) {
	j.retried = append(j.retried, id)
	return j.turns[id], nil
}

func (j *fakeJobs) JobCancel(_ context.Context, id int64) (*rivertype.JobRow, error) {
	j.canceled = append(j.canceled, id)
	return j.turns[id], nil
}

func (j *fakeJobs) InsertMany(ctx context.Context, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	for _, one := range params {
		switch args := one.Args.(type) {
		case turnArgs:
			j.inserted = append(j.inserted, one)
			j.add(int64(args.Business), rivertype.JobStateScheduled)
		case wakeArgs:
			j.wakes = params
			return nil, j.insert(ctx, len(params))
		}
	}
	return nil, nil
}

func (j *fakeJobs) add(id int64, state rivertype.JobState) {
	j.turns[id] = &rivertype.JobRow{
		ID: id, EncodedArgs: fmt.Appendf(nil, `{"business":%d}`, id), State: state, ScheduledAt: time.Now().Add(time.Minute),
	}
}

func newFake(t *testing.T) (*Fleet, *fakeJobs) {
	t.Helper()
	jobs := &fakeJobs{turns: map[int64]*rivertype.JobRow{}}
	shop := func(_ context.Context, id chats.BusinessID) (Shop, error) {
		client, err := chats.New(id, chats.APIKey("key"))
		return Shop{Client: client}, err
	}
	f, err := New(struct{ Store }{}, shop, func(context.Context, inbox.Delivery) error { return nil })
	require.NoError(t, err)
	require.NoError(t, f.Start(t.Context(), jobs))
	jobs.lists.Store(0)
	return f, jobs
}

func TestStop_KnowsWhatAnotherProcessHasJustStarted(t *testing.T) {
	t.Parallel()
	f, jobs := newFake(t)
	id, err := f.inbox.turnID(t.Context(), 7, 0)
	require.NoError(t, err)
	require.Zero(t, id)
	jobs.add(7, rivertype.JobStateScheduled)
	require.NoError(t, f.Stop(t.Context(), jobs, 7))
	assert.Equal(t, []int64{7, 7}, jobs.canceled, "inbox and outbox")
}

func TestStart_IsKnownThoughAPushHasBegunToListTheTurns(t *testing.T) {
	t.Parallel()
	f, jobs := newFake(t)
	jobs.listed = func() {
		jobs.listed = nil
		require.NoError(t, f.Start(t.Context(), jobs, 7))
	}
	_, err := f.inbox.turnID(t.Context(), 7, 0)
	require.NoError(t, err)
	id, err := f.inbox.turnID(t.Context(), 7, 0)
	require.NoError(t, err)
	assert.EqualValues(t, 7, id)
}

func TestStart_ReturnsTheErrorOfTheDatabase(t *testing.T) {
	t.Parallel()
	f, jobs := newFake(t)
	jobs.err = errors.New("no database")
	assert.ErrorIs(t, f.Start(t.Context(), jobs, 7), jobs.err)
}

func TestTurn_FindsTheOneOfABusinessThatAnotherProcessHasStartedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateScheduled)
		turn, err := f.inbox.turn(t.Context(), 7)
		require.NoError(t, err)
		require.EqualValues(t, 7, turn.ID)
		now := time.Now()
		turn.FinalizedAt = &now // Stop, and then Start
		jobs.turns[8] = &rivertype.JobRow{ID: 8, EncodedArgs: []byte(`{"business":7}`), State: rivertype.JobStateScheduled}
		turn, err = f.inbox.turn(t.Context(), 7)
		require.NoError(t, err)
		require.NotNil(t, turn)
		assert.EqualValues(t, 8, turn.ID)
		turn.FinalizedAt = &now
		for range 3 {
			turn, err = f.inbox.turn(t.Context(), 7)
			require.NoError(t, err)
			assert.Nil(t, turn)
		}
		assert.EqualValues(t, 3, jobs.lists.Load(), "one per change")
	})
}

// A turn that is stopped while it is running ends when its step does.
func TestStart_WaitsUntilAStoppedTurnHasEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateRunning)
		stopped, now := jobs.turns[7], time.Now()
		stopped.AttemptedAt = &now
		stopped.Metadata = []byte(`{"cancel_attempted_at": "2026-11-26T12:00:00Z"}`)
		jobs.ends = time.Now().Add(4 * time.Second)
		require.NoError(t, f.Start(t.Context(), jobs, 8), "another business")
		assert.Zero(t, stopped.FinalizedAt)
		require.NoError(t, f.inbox.start(t.Context(), []chats.BusinessID{7}))
		assert.NotSame(t, stopped, jobs.turns[7], "it is inserted again")
		assert.Equal(t, rivertype.JobStateScheduled, jobs.turns[7].State)
	})
}

// The first steps of many businesses are spread out, and wakes come before them.
func TestStart_SpreadsTheFirstSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		businesses := []chats.BusinessID{7, 7}
		for n := range 300 {
			businesses = append(businesses, chats.BusinessID(n+1))
		}
		require.NoError(t, f.inbox.start(t.Context(), businesses))
		require.Len(t, jobs.inserted, 300, "each once")
		jobs.insert = func(context.Context, int) error { return nil }
		require.NoError(t, f.inbox.wake(t.Context(), 7, nil))
		for n, turn := range jobs.inserted {
			assert.Equal(t, turnArgs{chats.BusinessID(n + 1)}, turn.Args)
			assert.Greater(t, turn.InsertOpts.Priority, jobs.wakes[0].InsertOpts.Priority)
			assert.Equal(t, inboxQueue, turn.InsertOpts.Queue)
			if n <= 100 {
				assert.Zero(t, turn.InsertOpts.ScheduledAt, "River's scheduler is too coarse")
			} else {
				assert.Equal(t, time.Duration(n)*10*time.Millisecond, time.Until(turn.InsertOpts.ScheduledAt))
			}
		}
	})
}

// Start asks for the credentials of the businesses that it is given.
func TestStart_AsksForNoOtherCredentials(t *testing.T) {
	t.Parallel()
	f, jobs := newFake(t)
	for id := range int64(2) {
		jobs.add(7+id, rivertype.JobStateScheduled)
		jobs.turns[7+id].Metadata = []byte(`{"ymchats_backoff":{"failures":1}}`)
	}
	require.NoError(t, f.inbox.start(t.Context(), []chats.BusinessID{7}))
	assert.Equal(t, []int64{7}, jobs.retried)
	assert.Empty(t, jobs.inserted)
}

func TestTurnID_ConcurrentPushesListTheTurnsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateScheduled)
		jobs.listed = func() { time.Sleep(time.Second) }
		for range 10 {
			go func() {
				id, err := f.inbox.turnID(t.Context(), 7, 0)
				assert.NoError(t, err)
				assert.EqualValues(t, 7, id)
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := f.inbox.turnID(ctx, 7, 0)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 1, jobs.lists.Load())
	})
}

func TestWake_WaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.insert = func(context.Context, int) error { time.Sleep(time.Hour); return nil } // a dead connection
		go func() { _ = f.inbox.wake(t.Context(), 7, nil) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		assert.ErrorIs(t, f.inbox.wake(ctx, 7, nil), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		jobs.insert = func(context.Context, int) error { return nil }
		assert.ErrorIs(t, f.inbox.wake(t.Context(), 7, assert.AnError), assert.AnError)
		assert.NoError(t, f.inbox.wake(t.Context(), 7, nil))
	})
}

// The items may have been committed, and the caller may never put them again.
func TestWake_AfterTheCallerHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		var inserted int
		jobs.insert = func(_ context.Context, n int) error { inserted += n; return nil }
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, f.outbox.wake(ctx, 7, fmt.Errorf("put: %w", context.Canceled)), context.Canceled)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, inserted)
	})
}

func TestWake_ManyAreInsertedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		var sizes []int
		jobs.insert = func(_ context.Context, n int) error {
			sizes = append(sizes, n)
			time.Sleep(time.Second)
			return assert.AnError
		}
		for n := range 8 {
			go func() { assert.ErrorIs(t, f.inbox.wake(t.Context(), chats.BusinessID(n+1), nil), assert.AnError) }()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []int{1, 7, 1}, sizes[:3], "then each by itself, because that failed")
	})
}

// work works a wake until it completes, and returns how often it ran and how long that took. The wake
// was inserted two minutes before.
func work(t *testing.T, p *purpose) (times int, took time.Duration) {
	t.Helper()
	began := time.Now()
	for {
		times++
		now := time.Now()
		next := p.workWake(t.Context(), 7, &rivertype.JobRow{
			CreatedAt: began.Add(-2 * time.Minute), AttemptedAt: &now, Metadata: fmt.Appendf(nil, `{"snoozes":%d}`, times-1),
		})
		if next.IsZero() || times == 100 {
			return times, time.Since(began)
		}
		time.Sleep(time.Until(next))
	}
}

// A middleware of the caller fails for hours: the jobs of thousands of businesses are not retried
// every second, and their rows do not collect thousands of errors. A process that is killed now
// and then delays nothing.
func TestNextRetry_IsLaterWhileAJobKeepsFailing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		job := &river.Job[turnArgs]{JobRow: &rivertype.JobRow{}}
		retry := func() time.Duration { return time.Until((&worker[turnArgs]{}).NextRetry(job)) }
		for began := time.Now(); time.Since(began) < 6*time.Hour; time.Sleep(retry()) {
			job.Errors = append(job.Errors, rivertype.AttemptError{At: time.Now()})
		}
		assert.Less(t, len(job.Errors), 400)
		time.Sleep(time.Hour)
		assert.Equal(t, time.Second, retry())
	})
}

func TestWake_CompletesIfTheLeaseIsHeldForLongerThanAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateRunning)
		f.inbox.step = func(context.Context, *entry) (time.Time, error) { return time.Time{}, inbox.ErrLeaseHeld }
		times, took := work(t, f.inbox)
		assert.LessOrEqual(t, times, 25)
		assert.Greater(t, took, jobTimeout+5*time.Second, "the step that has the lease may be older than the push")
		assert.Less(t, took, 75*time.Second)
	})
}

// PutTx inserts a wake long before the transaction is committed, or by a clock that is behind. The
// items are not visible until the commit: a step that has the lease may have begun before it, and
// this process may have listed the turns before the business was started.
func TestWake_InsertedLongBeforeTheCommit(t *testing.T) {
	t.Parallel()
	for name, isJustStarted := range map[string]bool{"a step is running": false, "the business has just been started": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, jobs := newFake(t)
				began, steps := time.Now(), 0
				if !isJustStarted {
					jobs.add(7, rivertype.JobStateScheduled)
				}
				_, err := f.outbox.turnID(t.Context(), 7, 0)
				require.NoError(t, err)
				jobs.add(7, rivertype.JobStateScheduled)
				f.outbox.step = func(context.Context, *entry) (time.Time, error) {
					if !isJustStarted && time.Since(began) < jobTimeout {
						return time.Time{}, inbox.ErrLeaseHeld
					}
					steps++
					return time.Time{}, nil
				}
				_, took := work(t, f.outbox)
				assert.Less(t, took, 75*time.Second)
				assert.Equal(t, 1, steps)
			})
		})
	}
}

// The turn of an outbox may be an hour away, and only the turn asks for another credential.
func TestWake_OfARefusedCredentialMakesTheTurnAvailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateScheduled)
		refuse := func(context.Context, *entry) (time.Time, error) { return time.Time{}, chats.ErrUnauthorized }
		f.inbox.step, f.outbox.step = refuse, refuse
		wake := func() time.Time {
			return f.outbox.workWake(t.Context(), 7, &rivertype.JobRow{})
		}
		assert.Zero(t, wake())
		assert.Equal(t, []int64{7}, jobs.retried)
		jobs.turns[7].ScheduledAt = time.Now().Add(askInterval)
		assert.Zero(t, wake())
		assert.Len(t, jobs.retried, 1, "it is due soon enough")
		jobs.turns[7].State = rivertype.JobStateRunning
		assert.Equal(t, askInterval, time.Until(wake()), "its step may have ended before the refusal")
		jobs.turns[7].Metadata = []byte(`{"ymchats_backoff":{"failures":1}}`)
		jobs.turns[7].State = rivertype.JobStateScheduled
		assert.Zero(t, wake(), "the turn knows")
	})
}

// A new credential has just been accepted: the turn's step may have read the items before the one of
// the wake was put, and the turn's backoff is still that of the old credential.
func TestWake_WaitsForATurnThatTriesACredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateRunning)
		jobs.turns[7].Metadata = []byte(`{"ymchats_backoff":{"failures":1}}`)
		var steps int
		f.outbox.step = func(context.Context, *entry) (time.Time, error) { steps++; return time.Time{}, nil }
		assert.Equal(t, heldPause, time.Until(f.outbox.workWake(t.Context(), 7, &rivertype.JobRow{})))
		assert.Zero(t, steps)
		jobs.add(7, rivertype.JobStateScheduled) // the step has ended
		assert.Zero(t, f.outbox.workWake(t.Context(), 7, &rivertype.JobRow{}))
		assert.Equal(t, 1, steps)
	})
}

func TestWake_OfATurnThatIsRunningMakesAnotherStepOnlyIfItIsUrgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, jobs := newFake(t)
		jobs.add(7, rivertype.JobStateRunning)
		jobs.turns[7].ScheduledAt = time.Now()
		f.inbox.step = func(context.Context, *entry) (time.Time, error) { return time.Now().Add(5 * time.Second), nil }
		times, _ := work(t, f.inbox)
		assert.Equal(t, 1, times, "a recheck can wait")

		began := time.Now()
		f.inbox.step = func(ctx context.Context, _ *entry) (time.Time, error) {
			if time.Since(began) < 12*time.Second {
				urgent.Note(ctx, time.Now().Add(5*time.Second))
			}
			return time.Now().Add(time.Second), nil
		}
		times, took := work(t, f.inbox)
		assert.Equal(t, 4, times)
		assert.Equal(t, 15*time.Second, took)
	})
}

// A turn snoozes until something is due, and longer by a share of that which differs from business to
// business.
func TestTurn_SnoozesUntilSomethingIsDue(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		next        time.Duration // -1: never
		attempt     int
		metadata    string
		least, most time.Duration
	}{
		"it was due before":        {next: -time.Second, attempt: 2},
		"now":                      {next: 0, attempt: 2},
		"the first step":           {next: time.Minute, attempt: 1, least: 66 * time.Second, most: 2 * time.Minute},
		"a later step":             {next: time.Minute, attempt: 1, metadata: `{"snoozes": 1}`, least: time.Minute, most: 66 * time.Second},
		"the first after a rescue": {next: time.Minute, attempt: 2, least: time.Minute, most: 66 * time.Second},
		"nothing is due":           {next: -1, attempt: 2, least: idlePause, most: 11 * idlePause / 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _ := newFake(t)
				f.inbox.step = func(context.Context, *entry) (time.Time, error) {
					if tt.next == -1 {
						return time.Time{}, nil
					}
					return time.Now().Add(tt.next), nil
				}
				var args river.Job[turnArgs]
				args.JobRow = &rivertype.JobRow{
					EncodedArgs: []byte(`{"business":7}`), Queue: inboxQueue, Attempt: tt.attempt, Metadata: []byte(tt.metadata),
				}
				time.Sleep(time.Second)
				var snooze *river.JobSnoozeError
				require.ErrorAs(t, (&worker[turnArgs]{fleet: f, work: (*purpose).workTurn}).Work(t.Context(), &args), &snooze)
				assert.GreaterOrEqual(t, snooze.Duration, tt.least)
				assert.LessOrEqual(t, snooze.Duration, tt.most)
				assert.EqualValues(t, 1, f.stats.InboxSteps.Load())
			})
		})
	}
}

// After a refusal, shop is called before the same credential is tried again, but a shop that was
// refused for good costs one call every 5 min.
func TestTurn_InBackoffAsksForAnotherCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFake(t)
		asked, steps, key := 0, 0, "a"
		f.ask = func(_ context.Context, id chats.BusinessID) (Shop, error) {
			asked++
			client, err := chats.New(id, chats.APIKey(key))
			return Shop{Client: client}, err
		}
		f.inbox.step = func(context.Context, *entry) (time.Time, error) { steps++; return time.Now().Add(time.Hour), nil }
		refused, err := f.entry(t.Context(), 7, false)
		require.NoError(t, err)
		backoff := Backoff{Failures: 7, Until: time.Now().Add(16 * time.Minute), Fingerprint: refused.fingerprint}
		for n := range 3 {
			next, after, err := f.inbox.makeStep(t.Context(), 7, backoff, heldPause)
			require.NoError(t, err)
			assert.Equal(t, 5*time.Minute, time.Until(next))
			assert.Equal(t, backoff, after)
			assert.Equal(t, 2+n, asked)
			assert.Zero(t, steps)
		}
		time.Sleep(15 * time.Minute)
		next, _, _ := f.inbox.makeStep(t.Context(), 7, backoff, heldPause)
		assert.Equal(t, time.Minute, time.Until(next), "the same credential is tried then")
		key = "b"
		next, after, err := f.inbox.makeStep(t.Context(), 7, backoff, heldPause)
		require.NoError(t, err)
		assert.Equal(t, time.Hour, time.Until(next))
		assert.Zero(t, after)
		assert.Equal(t, 1, steps)
	})
}

func TestMakeStep_ByError(t *testing.T) {
	t.Parallel()
	const due = 7 * time.Minute // when the step says that something is due
	for name, tt := range map[string]struct {
		err       error
		stops     bool // the process
		want      error
		next      time.Duration
		failures  int
		held      int64
		isRefused int64
		failed    int64
	}{
		"lease held":       {err: inbox.ErrLeaseHeld, want: errHeld, next: heldPause, held: 1},
		"inbox running":    {err: inbox.ErrRunning, want: errHeld, next: heldPause, held: 1},
		"outbox running":   {err: outbox.ErrRunning, want: errHeld, next: heldPause, held: 1},
		"401":              {err: chats.ErrUnauthorized, want: chats.ErrUnauthorized, next: askInterval, failures: 1, isRefused: 1},
		"403":              {err: chats.ErrForbidden, want: chats.ErrForbidden, next: askInterval, failures: 1, isRefused: 1},
		"the database":     {err: assert.AnError, want: assert.AnError, next: due, failed: 1},
		"nothing is due":   {err: assert.AnError, want: assert.AnError, failed: 1},
		"the process ends": {err: assert.AnError, stops: true, want: assert.AnError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _ := newFake(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var log bytes.Buffer
				f.log = slog.New(slog.NewTextHandler(&log, nil))
				f.outbox.step = func(context.Context, *entry) (time.Time, error) {
					switch {
					case tt.stops:
						cancel()
					case tt.next == 0:
						return time.Time{}, tt.err
					}
					return time.Now().Add(due), tt.err
				}
				next, after, err := f.outbox.makeStep(ctx, 7, Backoff{}, heldPause)
				require.ErrorIs(t, err, tt.want)
				if tt.next > 0 || tt.stops {
					assert.Equal(t, tt.next, time.Until(next))
				} else {
					assert.Zero(t, next)
				}
				assert.Equal(t, tt.failures, after.Failures)
				if tt.isRefused+tt.failed > 0 {
					assert.Contains(t, log.String(), fmt.Sprint("retry_in=", cmp.Or(tt.next, idlePause), "\n"))
				}
				stats := f.Stats()
				assert.Equal(t, []int64{tt.held, tt.isRefused, tt.failed, 0},
					[]int64{stats.Held.Load(), stats.Refused.Load(), stats.Failed.Load(), stats.OutboxSteps.Load()})
			})
		})
	}
}
