package chats

import (
	"context"
	"sync"
)

// turns lets one call of [Client.SendTextConfirmed] go after the other where they
// could take each other's message for their own.
type turns struct {
	mu    sync.Mutex
	taken map[turn]chan struct{} // closed when it is given back
}

type turn struct {
	chat  ChatID
	words string
}

// take waits for the turn; whoever has it gives it back.
func (t *turns) take(ctx context.Context, which turn) (give func(), err error) {
	for {
		before, mine := t.claim(which)
		if before == nil {
			return func() { t.give(which, mine) }, nil
		}
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim gives the turn, or the one to wait for.
func (t *turns) claim(which turn) (before, mine chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before = t.taken[which]; before != nil {
		return before, nil
	}
	if t.taken == nil {
		t.taken = map[turn]chan struct{}{}
	}
	mine = make(chan struct{})
	t.taken[which] = mine
	return nil, mine
}

func (t *turns) give(which turn, mine chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.taken, which)
	close(mine)
}
