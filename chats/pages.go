package chats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"runtime/debug"
	"slices"
)

// maxStalePages is the number of pages without a new item after which a listing fails.
const maxStalePages = 1000

// maxReplays is the maximum number of new requests for a page that the server sent a second
// time. maxRestarts is how often a listing whose page tokens expire may start over without
// progress.
const (
	maxReplays  = 3
	maxRestarts = 3
)

var (
	errRepeatedPageToken = errors.New("the server repeats a page token: the listing would never end")
	errNoProgress        = errors.New("no new items in 1000 pages: the listing would never end")
	errAborted           = errors.New("a hook, limiter, credential source or transport ended the goroutine that fetched the page")
)

// listing is a list of the server that is read page by page.
type listing[T any] struct {
	op    Operation
	fetch func(ctx context.Context, token string) (Page[T], error)
	// hasNew reports whether a page has an item that no previous page had.
	hasNew func([]T) bool
	// restart prepares fetch and hasNew for starting over without a page token. It reports
	// whether the listing got further than before.
	restart func() bool
}

// pages returns a sequence of the pages of a listing. The next page is fetched while the
// caller works on the current one. If the caller stops, that fetch is cancelled and waited
// for. If the server refuses a page token, which may have expired, the listing starts over.
func pages[T any](ctx context.Context, l listing[T]) iter.Seq2[Page[T], error] {
	return func(yield func(Page[T], error) bool) {
		ahead := &lookahead[T]{fetch: l.fetch}
		ctx, cancel := context.WithCancel(ctx)
		defer ahead.wait()
		defer cancel()

		guard, token, restarts := tokenGuard{}, "", 0
		ahead.start(ctx, token)
		for {
			page, err := ahead.await()
			if token != "" && hasStatus(err, http.StatusBadRequest, http.StatusNotFound) {
				if restarts++; l.restart() {
					restarts = 1
				}
				if restarts <= maxRestarts {
					guard, token = tokenGuard{}, ""
					ahead.start(ctx, token)
					continue
				}
			}
			if err != nil {
				yield(Page[T]{}, err)
				return
			}
			endless := guard.check(page.Next, l.hasNew(page.Items))
			if token = page.Next; token != "" && endless == nil {
				ahead.start(ctx, token)
			}
			if !yield(page, nil) || token == "" {
				return
			}
			if endless != nil {
				yield(Page[T]{}, &Error{Operation: l.op, kinds: []error{ErrProtocol}, cause: endless})
				return
			}
		}
	}
}

// hasStatus reports whether the server responded with one of the statuses.
func hasStatus(err error, statuses ...int) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(statuses, e.StatusCode)
}

// lookahead fetches one page in a separate goroutine.
type lookahead[T any] struct {
	fetch func(context.Context, string) (Page[T], error)
	done  chan struct{}
	page  Page[T]
	err   error
	panic error // what fetch panicked with, and its stack
}

func (l *lookahead[T]) start(ctx context.Context, token string) {
	done := make(chan struct{})
	l.done = done
	go func() {
		defer close(done)
		defer func() {
			if value := recover(); value != nil {
				cause, isError := value.(error)
				if !isError {
					cause = fmt.Errorf("%v", value)
				}
				l.panic = fmt.Errorf("%w\n\n%s", cause, debug.Stack())
			}
		}()
		l.err = errAborted
		l.page, l.err = l.fetch(ctx, token)
	}()
}

func (l *lookahead[T]) await() (Page[T], error) {
	l.wait()
	page := l.page
	l.page = Page[T]{} // releases the page while the caller works on it
	return page, l.err
}

// wait waits for the fetch and panics if it did, so that the caller can recover.
func (l *lookahead[T]) wait() {
	<-l.done
	if failed := l.panic; failed != nil {
		l.panic = nil
		panic(failed)
	}
}

// tokenGuard detects a listing without an end. Among pages without a new item it finds
// cycles of page tokens by Brent's algorithm: compare each token with a kept one, and
// replace that one ever more rarely. So its memory does not grow with the listing.
type tokenGuard struct {
	last, kept  string
	stale, next int // pages without a new item; the one that replaces kept
	replays     int
}

// check reports whether the listing can go on with token. A token may stay the same while
// pages bring something new.
func (g *tokenGuard) check(token string, progress bool) error {
	if token == "" {
		return nil
	}
	if progress {
		*g = tokenGuard{last: token}
		return nil
	}
	g.stale++
	switch {
	case token == g.last: // perhaps a proxy has sent the page before again
		if g.replays++; g.replays > maxReplays {
			return errRepeatedPageToken
		}
	case token == g.kept:
		return errRepeatedPageToken
	case g.stale >= maxStalePages:
		return errNoProgress
	case g.stale > g.next:
		g.kept, g.next = token, 2*g.stale
	}
	g.last = token
	return nil
}

// yieldItem yields item, or ctx.Err() if ctx has ended, so that an interrupted listing
// never looks complete.
func yieldItem[T any](ctx context.Context, yield func(T, error) bool, item T) bool {
	if err := ctx.Err(); err != nil {
		var none T
		yield(none, err)
		return false
	}
	return yield(item, nil)
}
