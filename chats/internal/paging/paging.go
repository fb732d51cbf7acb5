// Package paging reads a list from a server page by page. It reads one page ahead, and only while
// the listing makes progress.
package paging

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
)

// maxStalePages is the number of pages without a new item after which a listing fails.
const maxStalePages = 1000

// maxReplays is the maximum number of further requests with a page token that the server repeats.
// maxRestarts is how often a listing whose page tokens expire may start over without progress.
const (
	maxReplays  = 3
	maxRestarts = 3
)

// The errors for a listing that would never end, and for a fetch that has ended its goroutine.
var (
	ErrRepeatedToken = errors.New("the server repeats a page token: the listing would never end")
	ErrNoProgress    = errors.New("no new items in 1000 pages: the listing would never end")
	ErrAborted       = errors.New("a hook, limiter, credential source or transport ended the goroutine that fetched the page")
)

// Page is one page of a list. Next is the token of the next page, or empty.
type Page[T any] struct {
	Items []T
	Next  string
}

// Listing is a list on the server that is read page by page.
type Listing[T any] struct {
	// Fetch requests a page. It is called in a separate goroutine.
	Fetch func(ctx context.Context, token string) (Page[T], error)
	// Accept returns the items that can be yielded after a page, and reports whether the page has
	// an item that no other page has had since the listing began or started over.
	Accept func(page Page[T]) (ready []T, progress bool, err error)
	// Refused reports whether the server has refused a page token, which may have expired.
	Refused func(err error) bool
	// Restart prepares Fetch and Accept for starting over without a page token. It reports
	// whether the listing got further than before.
	Restart func() (further bool)
}

type lastKey struct{}

// WithLast returns a context under which [Items] sets last before it yields the items of the last
// page, after which it makes no more requests.
func WithLast(ctx context.Context, last *bool) context.Context {
	return context.WithValue(ctx, lastKey{}, last)
}

// Items returns a sequence of the items of a listing. The next page is fetched while the caller
// works on the current one. If the caller stops, Items cancels that fetch and waits for it to
// return. If the server refuses a page token, the listing starts over. An error is yielded once
// and ends the sequence; it is ctx.Err() if ctx is done.
func Items[T any](ctx context.Context, l Listing[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for ready, err := range l.pages(ctx) {
			ended := ctx.Err()
			if err != nil {
				if ended != nil && errors.Is(err, ended) {
					err = ended
				}
				yield(none, err)
				return
			}
			for _, item := range ready {
				if err := ctx.Err(); err != nil { // an interrupted listing must not look complete
					yield(none, err)
					return
				}
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// pages yields the items that Accept returns for each page.
func (l Listing[T]) pages(ctx context.Context) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		ahead := &lookahead[T]{fetch: l.Fetch}
		ctx, cancel := context.WithCancel(ctx)
		defer ahead.wait()
		defer cancel()

		guard, token, restarts := tokenGuard{}, "", 0
		ahead.start(ctx, token)
		for {
			page, err := ahead.await()
			if token != "" && err != nil && l.Refused(err) {
				if restarts++; l.Restart() {
					restarts = 1
				}
				if restarts <= maxRestarts {
					guard, token = tokenGuard{}, ""
					ahead.start(ctx, token)
					continue
				}
			}
			var ready []T
			var progress bool
			if err == nil {
				ready, progress, err = l.Accept(page)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			endless := guard.check(page.Next, progress)
			if token = page.Next; token != "" && endless == nil {
				ahead.start(ctx, token)
			}
			if last, ok := ctx.Value(lastKey{}).(*bool); ok {
				*last = token == ""
			}
			if !yield(ready, nil) || token == "" {
				return
			}
			if endless != nil {
				yield(nil, endless)
				return
			}
		}
	}
}

// lookahead fetches one page in a separate goroutine.
type lookahead[T any] struct {
	fetch func(context.Context, string) (Page[T], error)
	done  chan struct{}
	page  Page[T]
	err   error
	panic error // the value with which fetch panicked, and the stack
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
		l.err = ErrAborted
		l.page, l.err = l.fetch(ctx, token)
	}()
}

func (l *lookahead[T]) await() (Page[T], error) {
	l.wait()
	page := l.page
	l.page = Page[T]{} // releases the page while the caller works on it
	return page, l.err
}

// wait waits for the fetch. If the fetch has panicked, wait panics, so that the caller can recover.
func (l *lookahead[T]) wait() {
	<-l.done
	if failed := l.panic; failed != nil {
		l.panic = nil
		panic(failed)
	}
}

// tokenGuard detects a listing that never ends. Among pages without a new item, it finds cycles
// of page tokens by Brent's algorithm: it compares each token with a kept one, which it replaces
// less and less often. Its memory thus does not grow with the listing.
type tokenGuard struct {
	last, kept  string
	stale, next int // the number of pages without a new item, and the number at which kept is replaced
	replays     int
}

// check returns an error if the listing must not continue with token. A token may stay the same
// while pages have new items.
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
	case token == g.last: // perhaps a proxy has sent the previous page again
		if g.replays++; g.replays > maxReplays {
			return ErrRepeatedToken
		}
	case token == g.kept:
		return ErrRepeatedToken
	case g.stale >= maxStalePages:
		return ErrNoProgress
	case g.stale > g.next:
		g.kept, g.next = token, 2*g.stale
	}
	g.last = token
	return nil
}
