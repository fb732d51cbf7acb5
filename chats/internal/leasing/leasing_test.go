package leasing_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

var (
	errHeld = errors.New("held")
	errLost = errors.New("lost")
	errDown = errors.New("down")
)

// store is a leasing.Store with one lease, whose type is its token.
type store struct {
	mu       sync.Mutex
	leases   leasing.Memory
	held     *leasing.Held
	down     bool
	slow     time.Duration // what a Renew takes
	acquired int
}

func (s *store) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *store) Acquire(_ context.Context, business chats.BusinessID, purpose, holder string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acquired++; s.down {
		return 0, errDown
	}
	token, held := s.leases.Acquire(business, purpose, holder)
	if s.held = held; held != nil {
		return 0, errHeld
	}
	return token, nil
}

func (s *store) Renew(_ context.Context, token int64) (time.Time, error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return time.Time{}, errDown
	}
	if !s.leases.Holds(1, "test", "a", token) {
		return time.Time{}, errLost
	}
	s.leases.Extend(1, "test")
	return time.Unix(7, 0), nil
}

func (s *store) Release(_ context.Context, token int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errDown
	}
	if s.leases.Holds(1, "test", "a", token) {
		s.leases.Free(1, "test")
	}
	return nil
}

func newKeeper(s *store) *leasing.Keeper[int64] {
	return &leasing.Keeper[int64]{
		Store: s, Business: 1, Purpose: "test", Holder: "a", Log: slog.New(slog.DiscardHandler), Lost: errLost,
		Duration: func(int64) time.Duration { return leasing.MemoryDuration },
		Held: func(err error) *leasing.Held {
			if !errors.Is(err, errHeld) {
				return nil
			}
			return s.held
		},
	}
}

// once begins a term and returns it with the function that ends it.
func once(t *testing.T, s *store, during func(*leasing.Term[int64])) {
	t.Helper()
	_, err := newKeeper(s).Once(t.Context(), func(ctx context.Context, kept *leasing.Term[int64]) (time.Time, error) {
		var renewing sync.WaitGroup
		renewing.Go(func() { kept.Keep(func(next time.Time) { assert.Equal(t, time.Unix(7, 0), next) }) })
		during(kept)
		kept.End(ctx, s.Release)
		renewing.Wait()
		return time.Time{}, nil
	})
	require.NoError(t, err)
}

func TestTerm_LastsWhileItIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		once(t, s, func(kept *leasing.Term[int64]) {
			time.Sleep(time.Hour)
			assert.True(t, kept.IsValid())
		})
		_, held := s.leases.Acquire(1, "test", "b")
		assert.Nil(t, held, "End releases it")
	})
}

func TestTerm_SurvivesAStoreThatIsDownForLessThanItsDuration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		once(t, s, func(kept *leasing.Term[int64]) {
			s.setDown(true)
			time.Sleep(leasing.MemoryDuration - 2*leasing.MaxRenewal)
			s.setDown(false)
			time.Sleep(time.Minute)
			assert.True(t, kept.IsValid())
		})
	})
}

func TestTerm_SurvivesAStoreThatIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		once(t, &store{slow: 2400 * time.Millisecond}, func(kept *leasing.Term[int64]) {
			time.Sleep(time.Minute)
			assert.True(t, kept.IsValid())
		})
	})
}

// A lease that is shorter than five renewals a second apart is renewed more often.
func TestTerm_ShortLeaseLastsWhileItIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		keeper := newKeeper(s)
		keeper.Duration = func(int64) time.Duration { return leasing.MaxRenewal }
		_, err := keeper.Once(t.Context(), func(ctx context.Context, kept *leasing.Term[int64]) (time.Time, error) {
			var renewing sync.WaitGroup
			renewing.Go(func() { kept.Keep(func(time.Time) {}) })
			time.Sleep(time.Minute)
			assert.True(t, kept.IsValid())
			kept.End(ctx, s.Release)
			renewing.Wait()
			return time.Time{}, nil
		})
		require.NoError(t, err)
	})
}

func TestTerm_EndsBeforeAnotherHolderCanHaveTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		once(t, s, func(kept *leasing.Term[int64]) {
			time.Sleep(90 * time.Second / 4)
			s.setDown(true)
			<-kept.Ctx.Done()
			require.ErrorContains(t, context.Cause(kept.Ctx), "could not be renewed in time")
			assert.False(t, kept.IsValid())
			_, held := s.leases.Acquire(1, "test", "b")
			assert.True(t, held == nil || held.ExpiresIn >= 0)
			s.setDown(false)
		})
	})
}

func TestTerm_EndsWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		once(t, s, func(kept *leasing.Term[int64]) {
			s.mu.Lock()
			s.leases.Free(1, "test")
			s.mu.Unlock()
			<-kept.Ctx.Done()
			assert.Equal(t, errLost, context.Cause(kept.Ctx))
		})
	})
}

func TestKeeper_RunStandsByAndTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		_, held := s.leases.Acquire(1, "test", "b")
		require.Nil(t, held)
		began := time.Now()
		ended := errors.New("ended")
		err := newKeeper(s).Run(t.Context(), func(ctx context.Context, kept *leasing.Term[int64]) error {
			defer kept.End(ctx, s.Release)
			return leasing.Final(ended)
		})
		require.ErrorIs(t, err, ended)
		assert.InDelta(t, leasing.MemoryDuration.Seconds(), time.Since(began).Seconds(), 0.1)
		assert.LessOrEqual(t, s.acquired, 8, "it asks once a second")
	})
}

func TestKeeper_RunGivesUpAStoreThatNeverGrantedTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{down: true}
		began := time.Now()
		err := newKeeper(s).Run(t.Context(), nil)
		require.ErrorIs(t, err, errDown)
		assert.Equal(t, 31*time.Second, time.Since(began))
	})
}

// The store of a standby is down for longer than a store that never worked is asked.
func TestKeeper_RunStandsByWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		_, held := s.leases.Acquire(1, "test", "b")
		require.Nil(t, held)
		time.AfterFunc(time.Second, func() { s.setDown(true) })
		time.AfterFunc(10*time.Minute, func() { s.setDown(false) })
		ended := errors.New("ended")
		err := newKeeper(s).Run(t.Context(), func(ctx context.Context, kept *leasing.Term[int64]) error {
			defer kept.End(ctx, s.Release)
			return leasing.Final(ended)
		})
		require.ErrorIs(t, err, ended)
	})
}

func TestKeeper_RunWorksAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		lease time.Duration
		fail  func(*leasing.Term[int64]) error
		after time.Duration
	}{
		{"of the work", leasing.MemoryDuration, func(*leasing.Term[int64]) error { return errDown }, time.Second},
		{"a lost lease", leasing.MemoryDuration, func(kept *leasing.Term[int64]) error { kept.Lose(errLost); return errLost }, time.Second},
		{
			"of every write", leasing.MemoryDuration, func(kept *leasing.Term[int64]) error { kept.Lose(leasing.ErrUnsaved); return errLost },
			2 * leasing.MemoryDuration, // a standby's turn
		},
		{
			"of every write, with a long lease", time.Hour,
			func(kept *leasing.Term[int64]) error { kept.Lose(leasing.ErrUnsaved); return errLost }, time.Minute,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began, runs := time.Now(), 0
				s := &store{}
				keeper := newKeeper(s)
				keeper.Duration = func(int64) time.Duration { return test.lease }
				err := keeper.Run(ctx, func(ctx context.Context, kept *leasing.Term[int64]) error {
					defer kept.End(ctx, s.Release)
					if runs++; runs == 1 {
						return test.fail(kept)
					}
					cancel()
					return errDown
				})
				require.NoError(t, err)
				assert.Equal(t, test.after, time.Since(began))
			})
		})
	}
}

func TestKeeper_RunWaitsLongerAfterEachFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, runs := time.Now(), 0
		s := &store{}
		err := newKeeper(s).Run(ctx, func(ctx context.Context, kept *leasing.Term[int64]) error {
			defer kept.End(ctx, s.Release)
			if runs++; runs == 4 {
				cancel()
			}
			return errDown
		})
		require.NoError(t, err)
		assert.Equal(t, (1+2+4)*time.Second, time.Since(began))
	})
}

func TestKeeper_LogsChangesOfTheHolderAndFailedReleases(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		held, down bool // the lease, when Run begins; the store, when the term ends
		logged     []int
	}{
		{"a free lease", false, false, []int{0, 0, 0}},
		{"a held lease", true, false, []int{1, 1, 0}},
		{"a failed release", false, true, []int{0, 0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, log := &store{}, bytes.Buffer{}
				if test.held {
					_, held := s.leases.Acquire(1, "test", "b")
					require.Nil(t, held)
				}
				keeper := newKeeper(s)
				keeper.Log = slog.New(slog.NewTextHandler(&log, nil))
				err := keeper.Run(t.Context(), func(ctx context.Context, kept *leasing.Term[int64]) error {
					s.setDown(test.down)
					kept.End(ctx, s.Release)
					return nil
				})
				require.NoError(t, err)
				for n, text := range []string{"standing by", "taking over", "releasing the lease failed"} {
					assert.Equal(t, test.logged[n], strings.Count(log.String(), text), text)
				}
			})
		})
	}
}

func TestKeeper_OnceReturnsWhenToTryAgain(t *testing.T) {
	t.Parallel()
	work := func(s *store, err error) func(context.Context, *leasing.Term[int64]) (time.Time, error) {
		return func(ctx context.Context, kept *leasing.Term[int64]) (time.Time, error) {
			kept.End(ctx, s.Release)
			return time.Now().Add(time.Millisecond), err
		}
	}
	for _, test := range []struct {
		name  string
		store func(*store)
		err   error
		want  error
		after time.Duration
	}{
		{"held", func(s *store) { s.leases.Acquire(1, "test", "b") }, nil, errHeld, leasing.MemoryDuration},
		{"down", func(s *store) { s.down = true }, nil, errDown, time.Minute},
		{"done", func(*store) {}, nil, nil, time.Millisecond},
		{"failed", func(*store) {}, errDown, errDown, time.Second},
		{"refused", func(*store) {}, leasing.Final(errDown), errDown, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &store{}
				test.store(s)
				next, err := newKeeper(s).Once(t.Context(), work(s, test.err))
				require.ErrorIs(t, err, test.want)
				assert.Equal(t, test.after, time.Until(next))
			})
		})
	}
}
