package chats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
)

// maxStalePages is the number of pages without a new item after which a listing fails.
const maxStalePages = 1000

var (
	errRepeatedPageToken = errors.New("repeated page token: the listing would never end")
	errNoProgress        = errors.New("no new items in 1000 pages: the listing would never end")
	errAborted           = errors.New("a hook, limiter, credential source or transport ended the goroutine that fetched the page")
)

// pages returns a sequence of the pages of a listing. The next page is fetched while the
// caller works on the current one. If the caller stops, that fetch is cancelled and waited
// for. hasNew reports whether a page has an item that no previous page had.
func pages[T any](
	ctx context.Context, op Operation, fetch func(context.Context, string) (Page[T], error), hasNew func([]T) bool,
) iter.Seq2[Page[T], error] {
	return func(yield func(Page[T], error) bool) {
		ahead := &lookahead[T]{fetch: fetch}
		ctx, cancel := context.WithCancel(ctx)
		defer ahead.wait()
		defer cancel()

		guard := tokenGuard{}
		ahead.start(ctx, "")
		for {
			page, err := ahead.await()
			if err != nil {
				yield(Page[T]{}, err)
				return
			}
			endless := guard.check(page.Next, hasNew(page.Items))
			if page.Next != "" && endless == nil {
				ahead.start(ctx, page.Next)
			}
			if !yield(page, nil) || page.Next == "" {
				return
			}
			if endless != nil {
				yield(Page[T]{}, &Error{Operation: op, kinds: []error{ErrProtocol}, cause: endless})
				return
			}
		}
	}
}

// lookahead fetches one page in a goroutine of its own.
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

// tokenGuard detects a listing without an end. It finds cycles of page tokens by Brent's
// algorithm: compare each token with a kept one, and replace that one ever more rarely.
// So its memory does not grow with the listing.
type tokenGuard struct {
	kept        string
	steps, next int
	stale       int
}

func (g *tokenGuard) check(token string, progress bool) error {
	if token == "" {
		return nil
	}
	if token == g.kept {
		return errRepeatedPageToken
	}
	if g.steps++; g.steps > g.next {
		g.kept, g.next = token, 2*g.steps
	}
	if progress {
		g.stale = 0
		return nil
	}
	if g.stale++; g.stale >= maxStalePages {
		return errNoProgress
	}
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

// contextErr returns the bare ctx.Err() if err was caused by the end of ctx, and err
// otherwise.
func contextErr(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		return ctxErr
	}
	return err
}
