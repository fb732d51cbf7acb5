package chats

import (
	"context"
	"errors"
	"iter"
)

// maxStalePages bounds how long a listing may go on without anything new.
const maxStalePages = 1000

var (
	errRepeatedPageToken = errors.New("the server sends a page token again: the listing would never end")
	errNoProgress        = errors.New("1000 pages in a row without anything new: the listing would never end")
	errAborted           = errors.New("a hook, a credential's source or a transport has ended the goroutine that fetched the page")
)

// pages reads the pages of a listing. While the caller works on one page the next
// is being fetched; when the caller stops, that fetch is cancelled and waited for.
// news tells whether a page has anything that none before it had.
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

// lookahead fetches one page beside the caller.
type lookahead[T any] struct {
	fetch func(context.Context, string) (Page[T], error)
	done  chan struct{}
	page  Page[T]
	err   error
}

func (l *lookahead[T]) start(ctx context.Context, token string) {
	done := make(chan struct{})
	l.done = done
	go func() {
		defer close(done)
		l.err = errAborted
		l.page, l.err = l.fetch(ctx, token)
	}()
}

func (l *lookahead[T]) await() (Page[T], error) {
	l.wait()
	page := l.page
	l.page = Page[T]{} // not kept while the caller works on it
	return page, l.err
}

func (l *lookahead[T]) wait() { <-l.done }

// tokenGuard finds a listing without an end. Tokens that go in a circle are found by
// Brent's method: compare with one that is kept, and keep a new one ever more
// rarely. That needs no memory that grows with the listing.
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

// deliver yields an item, or the context's error where the context has ended: a
// listing that was cut never looks complete.
func yieldItem[T any](ctx context.Context, yield func(T, error) bool, item T) bool {
	if err := ctx.Err(); err != nil {
		var none T
		yield(none, err)
		return false
	}
	return yield(item, nil)
}

// ended gives a sequence the bare ctx.Err() where the context is what ended it.
func contextErr(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		return ctxErr
	}
	return err
}
