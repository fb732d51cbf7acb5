package sqlstore

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// What follows is the leases against a server that can be made to fail at will.
// Leases against PostgreSQL itself are in integration.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within is how long a stand-by may take to see that a lock is free.
const within = beatTime * 6 / 5

func ended(held context.Context) bool { return held.Err() != nil }

func TestStandbyFollowsARelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		held, release, err := s.store(t).Lease(t.Context(), 7)
		require.NoError(t, err)
		standby := s.store(t)
		time.AfterFunc(time.Hour, func() {
			assert.False(t, ended(held))
			release()
			assert.Zero(t, s.locked(), "release returns when the lock is gone")
			assert.True(t, ended(held))
			release()
		})
		began := time.Now()
		_, release2, err := standby.Lease(t.Context(), 7)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(began), time.Hour)
		assert.LessOrEqual(t, time.Since(began), time.Hour+within)
		release()
		assert.Equal(t, 1, s.locked(), "a lease that was given back cannot be given back twice")
		release2()
		synctest.Wait()
		assert.Zero(t, standby.db.Stats().OpenConnections-standby.db.Stats().Idle, "the session is closed with the last lease")
	})
}

// A process of thousands of businesses, and its stand-by, have one session each.
func TestLeasesShareOneSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		worker, standby := s.store(t), s.store(t)
		ctx, cancel := context.WithCancel(t.Context())
		const businesses = 200
		done := make(chan error)
		for n := range businesses {
			_, release, err := worker.Lease(t.Context(), chats.BusinessID(n+1))
			require.NoError(t, err)
			defer release()
			go func() {
				_, _, err := standby.Lease(ctx, chats.BusinessID(n+1))
				done <- err
			}()
		}
		synctest.Wait()
		assert.Equal(t, businesses, s.locked())
		assert.Equal(t, 1, worker.db.Stats().InUse)
		assert.Equal(t, 1, standby.db.Stats().InUse)
		var statements atomic.Int64
		s.set(func() {
			s.before = func(context.Context, *fakeConn, string) error { statements.Add(1); return nil }
		})
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time
		assert.LessOrEqual(t, statements.Load(), int64(3*60*5/4), "one of the worker, two of the stand-by, a second")
		cancel()
		for range businesses {
			require.ErrorIs(t, <-done, context.Canceled)
		}
	})
}

// One process's goroutines take turns too, although they share a session.
func TestLeaseAmongGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newServer().store(t)
		_, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err = store.Lease(ctx, 7)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		release()
		_, release, err = store.Lease(t.Context(), 7)
		require.NoError(t, err)
		release()
	})
}

func TestLeaseIsLostWithItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		held, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		s.kill()
		began := time.Now()
		<-held.Done()
		assert.LessOrEqual(t, time.Since(began), within)
		require.ErrorIs(t, context.Cause(held), ErrLeaseLost)

		held, release2, err := store.Lease(t.Context(), 7)
		require.NoError(t, err, "it can be had again, on a session of its own")
		release()
		require.NoError(t, held.Err())
		assert.Equal(t, 1, s.locked(), "the lost lease's release does nothing")
		release2()
	})
}

// The driver does not even notice that its statement's time is over. The holder
// stops nevertheless, before the database would let another one in.
func TestLeaseIsLostWhenTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		_, releaseOther, err := s.store(t).Lease(t.Context(), 8)
		require.NoError(t, err)
		defer releaseOther()
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() {
			_, _, err := store.Lease(ctx, 8)
			waited <- err
		}()
		held, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		answers := make(chan struct{})
		s.set(func() {
			s.before = func(_ context.Context, c *fakeConn, _ string) error {
				if s.holds(c, store.leaser.key(7)) {
					<-answers
				}
				return nil
			}
		})
		began := time.Now()
		<-held.Done()
		assert.LessOrEqual(t, time.Since(began), leaseTime)
		assert.Less(t, leaseTime, sessionTime)
		require.ErrorIs(t, context.Cause(held), ErrLeaseLost)
		release()
		close(answers)
		synctest.Wait()
		assert.Equal(t, 1, s.locked(), "an answer that comes too late saves nothing, and leaves no lock behind")
		cancel()
		require.ErrorIs(t, <-waited, context.Canceled, "who waited goes on waiting")
	})
}

// A process that was frozen goes on in the middle of its work.
func TestCommitUnderALeaseThatIsTooOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newServer().store(t)
		require.NoError(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), "a commit needs no lease")
		held, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		require.NoError(t, store.Commit(held, 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}))
		store.leaser.mu.Lock()
		store.leaser.desk.beat = time.Now().Add(-leaseTime)
		store.leaser.mu.Unlock()
		require.NoError(t, store.Commit(t.Context(), 8, 1, inbox.Mark{}, inbox.Mark{Message: 1}), "another business")
		require.NoError(t, held.Err(), "no timer has told it yet")
		require.ErrorIs(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), ErrLeaseLost)
		require.ErrorIs(t, context.Cause(held), ErrLeaseLost)
		require.ErrorIs(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), ErrLeaseLost)
		_, release2, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		require.NoError(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), "had again")
		require.NoError(t, store.Commit(t.Context(), 8, 1, inbox.Mark{}, inbox.Mark{Message: 1}), "never had")
		release()
		release2()
		require.NoError(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), "given back")
	})
}

// The lease ends while its holder's commit is on its way, and the statement finds no row.
func TestCommitThatALeaseDoesNotOutlast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		_, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		defer release()
		s.set(func() { s.unmoved = true })
		require.ErrorIs(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), inbox.ErrConflict)
		s.set(func() {
			s.before = func(context.Context, *fakeConn, string) error {
				store.leaser.mu.Lock()
				defer store.leaser.mu.Unlock()
				store.leaser.desk.beat = time.Now().Add(-leaseTime)
				return nil
			}
		})
		err = store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1})
		require.ErrorIs(t, err, ErrLeaseLost)
		require.NotErrorIs(t, err, inbox.ErrConflict)
	})
}

// What took the lock is not what answers: the lock may be anybody's.
func TestLeaseIsLostBehindAPooler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		held, release, err := s.store(t).Lease(t.Context(), 7)
		require.NoError(t, err)
		defer release()
		s.set(func() {
			for pid, c := range s.sessions {
				delete(s.sessions, pid)
				c.pid += 1000
				s.sessions[c.pid] = c
			}
		})
		<-held.Done()
		require.ErrorContains(t, context.Cause(held), "pooler")
	})
}

func TestLeaseIsNotHadFromAReplica(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		s.set(func() { s.replica = true })
		time.AfterFunc(time.Minute, func() { s.set(func() { s.replica = false }) })
		began := time.Now()
		_, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(began), time.Minute)
		release()
	})
}

func TestReleaseThatCannotUnlockEndsTheSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		_, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		other, releaseOther, err := store.Lease(t.Context(), 8)
		require.NoError(t, err)
		s.set(func() {
			s.before = func(_ context.Context, _ *fakeConn, statement string) error {
				if strings.Contains(statement, "pg_advisory_unlock") {
					return errors.New("broken pipe")
				}
				return nil
			}
		})
		release()
		synctest.Wait()
		assert.Zero(t, s.locked())
		require.ErrorIs(t, context.Cause(other), ErrLeaseLost, "it was on the same session")
		releaseOther()
	})
}

// The one who waited has just gone when the lock is had.
func TestLockForNobodyIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		_, release, err := store.Lease(t.Context(), 8)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		s.set(func() {
			s.after = func(statement string) {
				if strings.Contains(statement, "pg_try_advisory_lock") {
					cancel()
					done <- <-done
				}
			}
		})
		_, _, err = store.Lease(ctx, 7)
		done <- err
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		assert.Equal(t, 1, s.locked(), "business 8 only")
		release()
	})
}

func TestLeaseOutlastsADatabaseThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		down := errors.New("connection refused")
		s.set(func() { s.refuses = down })
		s.kill()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, _, err := store.Lease(ctx, 7)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, down, "it says why it took so long")

		time.AfterFunc(time.Hour, func() { s.set(func() { s.refuses = nil }) })
		began := time.Now()
		_, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), time.Hour+within)
		release()
	})
}

func TestLeaseThatCannotBeHad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		_, _, err := store.Lease(t.Context(), 0)
		require.ErrorContains(t, err, "ids begin at 1")

		s.set(func() { s.refuses = reported("28P01") })
		s.kill()
		_, _, err = store.Lease(t.Context(), 7)
		require.ErrorIs(t, err, reported("28P01"), "the password")
		s.set(func() { s.refuses = nil })

		store.db.SetMaxOpenConns(1)
		_, _, err = store.Lease(t.Context(), 7)
		require.ErrorContains(t, err, "SetMaxOpenConns")
		store.db.SetMaxOpenConns(0)

		require.NoError(t, store.db.Close())
		_, _, err = store.Lease(t.Context(), 7)
		require.ErrorContains(t, err, "closed")
	})
}

func TestLeaseKeysDiffer(t *testing.T) {
	t.Parallel()
	a, b := &leaser{namespace: "public"}, &leaser{namespace: "staging"}
	assert.NotEqual(t, a.key(1), a.key(2))
	assert.NotEqual(t, a.key(1), b.key(1), "two schemas of one database are two inboxes")
	assert.Equal(t, a.key(1), (&leaser{namespace: "public"}).key(1))
}
