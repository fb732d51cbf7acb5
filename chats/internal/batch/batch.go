// Package batch combines concurrent calls to a function. Items that arrive while a call is in
// progress are passed to the next call together. The cost per item thus falls as the load
// rises, and no caller waits for a batch to fill up.
package batch

import (
	"context"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callback"
)

// Batcher passes items to a function, many at a time.
type Batcher[T any] struct {
	do      func(context.Context, []T) error
	timeout time.Duration
	slot    chan struct{} // held while do is called

	mu   sync.Mutex
	next *batch[T]
}

// batch holds the items of one call and, after the call, the error of each item.
type batch[T any] struct {
	items []T
	done  chan struct{}
	errs  []error
}

// New returns a Batcher that makes one call to do at a time. The context of a call ends after
// the timeout; a call that has not returned a second later is abandoned.
func New[T any](timeout time.Duration, do func(context.Context, []T) error) *Batcher[T] {
	return &Batcher[T]{do: do, timeout: timeout, slot: make(chan struct{}, 1)}
}

// Do passes the item to the function, possibly together with others. If that call fails before the
// timeout, the item is passed again, alone. Do returns the error of the last call. If ctx is done
// first, Do returns its error, and the item may still be passed to the function. If the function
// panics or ends its goroutine, Do returns an error.
func (b *Batcher[T]) Do(ctx context.Context, item T) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &batch[T]{done: make(chan struct{})}
		go b.call(context.WithoutCancel(ctx), b.next)
	}
	mine, n := b.next, len(b.next.items)
	mine.items = append(mine.items, item)
	b.mu.Unlock()
	select {
	case <-mine.done:
		return mine.errs[n]
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Batcher[T]) call(ctx context.Context, mine *batch[T]) {
	b.slot <- struct{}{}
	b.mu.Lock()
	b.next = nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	err := b.try(ctx, mine.items)
	for n := range mine.items {
		mine.errs = append(mine.errs, err)
		if err != nil && len(mine.items) > 1 && ctx.Err() == nil { // the error may be due to a single item
			mine.errs[n] = b.try(ctx, mine.items[n:n+1])
		}
	}
	cancel()
	<-b.slot
	close(mine.done)
}

func (b *Batcher[T]) try(ctx context.Context, items []T) error {
	call := callback.Call{Name: "the function", Timeout: b.timeout + time.Second, Slow: func(time.Duration) {}}
	if failed := call.Do(func() error { return b.do(ctx, items) }); failed != nil {
		return failed.Err
	}
	return nil
}
