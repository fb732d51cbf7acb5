package batch_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats/internal/batch"
)

func TestBatcher_DoesTogetherWhatComesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls [][]int
		b := batch.New(time.Minute, func(_ context.Context, items []int) error {
			calls = append(calls, items)
			<-time.After(time.Second)
			return nil
		})
		began := time.Now()
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() { assert.NoError(t, b.Do(t.Context(), n)) })
			synctest.Wait()
		}
		all.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2, 3, 4, 5, 6, 7, 8, 9}}, calls)
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.NoError(t, b.Do(t.Context(), 10))
		assert.Equal(t, []int{10}, calls[2])
	})
}

func TestBatcher_AnErrorIsThatOfItsCall(t *testing.T) {
	t.Parallel()
	errOdd, calls := errors.New("odd"), 0
	b := batch.New(time.Minute, func(_ context.Context, items []int) error {
		calls++
		switch items[0] {
		case 1:
			return errOdd
		case 2:
			panic("two")
		case 3:
			runtime.Goexit()
			return nil
		default:
			return nil
		}
	})
	assert.NoError(t, b.Do(t.Context(), 0))
	assert.ErrorIs(t, b.Do(t.Context(), 1), errOdd)
	assert.ErrorContains(t, b.Do(t.Context(), 2), "two")
	assert.ErrorContains(t, b.Do(t.Context(), 3), "ended its goroutine")
	assert.NoError(t, b.Do(t.Context(), 4))
	assert.Equal(t, 5, calls, "a single item is not tried twice")
}

// An item that the function refuses, or that makes it panic, fails no other.
func TestBatcher_AnItemFailsForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errOdd := errors.New("odd")
		var calls [][]int
		b := batch.New(time.Minute, func(_ context.Context, items []int) error {
			<-time.After(time.Second)
			calls = append(calls, items)
			if slices.Contains(items, 2) {
				panic("two")
			}
			if slices.Contains(items, 3) {
				return errOdd
			}
			return nil
		})
		var all sync.WaitGroup
		for n := range 5 {
			all.Go(func() {
				switch err := b.Do(t.Context(), n); n {
				case 2:
					assert.ErrorContains(t, err, "two")
				case 3:
					assert.ErrorIs(t, err, errOdd)
				default:
					assert.NoError(t, err, n)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2, 3, 4}, {1}, {2}, {3}, {4}}, calls)
	})
}

// A caller waits no longer than its context, and its end does not end the call for the others.
func TestBatcher_AContextIsTheCallersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := batch.New(time.Minute, func(ctx context.Context, _ []int) error {
			<-time.After(10 * time.Second)
			return ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		for n := range 3 {
			all.Go(func() { assert.NoError(t, b.Do(t.Context(), n)) })
		}
		assert.ErrorIs(t, b.Do(ctx, 3), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		all.Wait()
	})
}

func TestBatcher_TheCallHasATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		b := batch.New(time.Minute, func(ctx context.Context, _ []int) error {
			calls.Add(1)
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		var all sync.WaitGroup
		for n := range 3 {
			all.Go(func() { assert.ErrorIs(t, b.Do(t.Context(), n), context.DeadlineExceeded) })
			synctest.Wait()
		}
		all.Wait()
		assert.Equal(t, 2*time.Minute, time.Since(began))
		assert.EqualValues(t, 2, calls.Load(), "there is no time to try items alone")
	})
}

// A function that does not heed its context, on a dead connection, holds up no later items.
func TestBatcher_ACallThatHangsIsAbandoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := batch.New(time.Minute, func(_ context.Context, items []int) error {
			if items[0] == 0 {
				<-time.After(24 * time.Hour)
			}
			return nil
		})
		began := time.Now()
		assert.ErrorContains(t, b.Do(t.Context(), 0), "no return within")
		assert.NoError(t, b.Do(t.Context(), 1))
		assert.Equal(t, time.Minute+time.Second, time.Since(began))
		<-time.After(24 * time.Hour)
	})
}
