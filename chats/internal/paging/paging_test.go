package paging

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errRefused = errors.New("the token is refused")

// numbers is a listing of the numbers below size, ten on a page.
func numbers(size int) (l Listing[int], fetched *[]string) {
	fetched = new([]string)
	l.Fetch = func(ctx context.Context, token string) (Page[int], error) {
		*fetched = append(*fetched, token)
		first, _ := strconv.Atoi(token)
		page := Page[int]{}
		for n := first; n < min(first+10, size); n++ {
			page.Items = append(page.Items, n)
		}
		if first+10 < size {
			page.Next = strconv.Itoa(first + 10)
		}
		return page, ctx.Err()
	}
	l.Accept = func(page Page[int]) ([]int, bool, error) { return page.Items, len(page.Items) > 0, nil }
	l.Refused = func(err error) bool { return errors.Is(err, errRefused) }
	l.Restart = func() bool { return false }
	return l, fetched
}

// collect ranges over a listing until an error.
func collect(ctx context.Context, l Listing[int]) (got []int, err error) {
	for n, err := range Items(ctx, l) {
		if err != nil {
			return got, err
		}
		got = append(got, n)
	}
	return got, nil
}

func TestItems_ReadsOnePageAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, fetched := numbers(35)
		got := 0
		for n, err := range Items(t.Context(), l) {
			require.NoError(t, err)
			assert.Equal(t, got, n)
			got++
			synctest.Wait()
			assert.Len(t, *fetched, min(n/10+2, 4))
		}
		assert.Equal(t, 35, got)
		assert.Equal(t, []string{"", "10", "20", "30"}, *fetched)
	})
}

func TestItems_BreakCancelsAndAwaitsTheNextPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := numbers(30)
		fetch, ended := l.Fetch, false
		l.Fetch = func(ctx context.Context, token string) (Page[int], error) {
			if token != "" {
				<-ctx.Done()
				ended = true
			}
			return fetch(ctx, token)
		}
		for _, err := range Items(t.Context(), l) {
			require.NoError(t, err)
			break
		}
		assert.True(t, ended)
	})
}

func TestItems_EndedContextIsAnErrorNotTheEnd(t *testing.T) {
	t.Parallel()
	for _, after := range []int{3, 9, 10} { // within a page, at its end, in the next
		l, _ := numbers(30)
		ctx, cancel := context.WithCancel(t.Context())
		got := 0
		var last error
		for n, err := range Items(ctx, l) {
			if last = err; err != nil {
				break
			}
			if got = n; n == after {
				cancel()
			}
		}
		cancel()
		assert.Equal(t, after, got)
		assert.Equal(t, context.Canceled, last, "bare")
	}
}

func TestItems_ErrorEndsTheSequence(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	l, _ := numbers(30)
	l.Accept = func(page Page[int]) ([]int, bool, error) {
		if page.Items[0] == 10 {
			return nil, false, broken
		}
		return page.Items, true, nil
	}
	got, err := collect(t.Context(), l)
	require.ErrorIs(t, err, broken)
	assert.Len(t, got, 10)
}

// An expired token makes the listing start over, as often as it gets further than before.
func TestItems_RefusedTokenStartsOver(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		progress bool
		refusals int
		want     error
	}{{false, 3, nil}, {false, 4, errRefused}, {true, 20, nil}} {
		l, _ := numbers(20)
		fetch, seen, refusals := l.Fetch, map[int]bool{}, tt.refusals
		l.Fetch = func(ctx context.Context, token string) (Page[int], error) {
			if token != "" && refusals > 0 {
				refusals--
				return Page[int]{}, errRefused
			}
			return fetch(ctx, token)
		}
		l.Accept = func(page Page[int]) (fresh []int, progress bool, err error) {
			for _, n := range page.Items {
				if !seen[n] {
					fresh, seen[n] = append(fresh, n), true
				}
			}
			return fresh, true, nil
		}
		l.Restart = func() bool { return tt.progress }
		got, err := collect(t.Context(), l)
		assert.Equal(t, tt.want, err)
		assert.Equal(t, tt.want == nil, len(got) == 20)
	}
	l, _ := numbers(20)
	l.Fetch = func(context.Context, string) (Page[int], error) { return Page[int]{}, errRefused }
	_, err := collect(t.Context(), l)
	require.ErrorIs(t, err, errRefused, "a first page has no token")
}

func TestItems_ListingWithoutAnEndFails(t *testing.T) {
	t.Parallel()
	for want, next := range map[error]func(n int) string{
		ErrRepeatedToken: func(int) string { return "again" },
		ErrNoProgress:    strconv.Itoa,
	} {
		l, n := Listing[int]{}, 0
		l.Fetch = func(context.Context, string) (Page[int], error) { n++; return Page[int]{[]int{5}, next(n)}, nil }
		l.Accept = func(page Page[int]) ([]int, bool, error) { return page.Items[:min(n, 1)], n == 1, nil }
		got, err := collect(t.Context(), l)
		require.ErrorIs(t, err, want)
		assert.Len(t, got, n, "the page that shows it is yielded, too")
	}
}

func TestItems_PanicOfFetchReachesTheCaller(t *testing.T) {
	t.Parallel()
	cause := errors.New("torn")
	for _, value := range []any{cause, "torn"} {
		l, _ := numbers(1)
		l.Fetch = func(context.Context, string) (Page[int], error) { panic(value) }
		func() {
			defer func() {
				err, _ := recover().(error)
				require.ErrorContains(t, err, "torn")
				assert.Contains(t, err.Error(), "paging_test.go", "the stack")
				assert.Equal(t, value == any(cause), errors.Is(err, cause))
			}()
			_, _ = collect(t.Context(), l)
		}()
	}
	l, _ := numbers(1)
	l.Fetch = func(context.Context, string) (Page[int], error) { runtime.Goexit(); return Page[int]{}, nil }
	_, err := collect(t.Context(), l)
	require.ErrorIs(t, err, ErrAborted)
}

func TestTokenGuard_GrowingListingIsNoLoop(t *testing.T) {
	t.Parallel()
	var guard tokenGuard
	for n := range 100_000 {
		require.NoError(t, guard.check(strconv.Itoa(n), true))
	}
	require.NoError(t, guard.check("", false))
}

func TestTokenGuard_FindsEveryCycle(t *testing.T) {
	t.Parallel()
	for before := range 40 {
		for cycle := 1; cycle < 40; cycle++ {
			var guard tokenGuard
			for step := 0; ; step++ {
				token := step
				if step >= before {
					token = before + (step-before)%cycle
				}
				if guard.check(fmt.Sprint("t", token), false) != nil {
					require.GreaterOrEqual(t, step, before+cycle, "no token has come again yet")
					break
				}
				require.LessOrEqual(t, step, 4*(before+cycle), "a cycle of %d after %d pages is not found", cycle, before)
			}
		}
	}
}

func TestTokenGuard_BoundsPagesWithoutProgress(t *testing.T) {
	t.Parallel()
	var guard tokenGuard
	n := 0
	token := func() string { n++; return strconv.Itoa(n) }
	for range 3 {
		for range maxStalePages - 1 {
			require.NoError(t, guard.check(token(), false))
		}
		require.NoError(t, guard.check(token(), true), "something new: they are counted anew")
	}
	for range maxStalePages - 1 {
		require.NoError(t, guard.check(token(), false))
	}
	require.NoError(t, guard.check("", false), "the end is the end")
	require.ErrorIs(t, guard.check(token(), false), ErrNoProgress)
}
