package inbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

func TestTheBookIsBounded(t *testing.T) {
	t.Parallel()
	b, now := newBook(nil, time.Now()), time.Now()
	for id := range chats.ChatID(2 * maxWakes) {
		b.wake(id+1, now)
		b.wake(id+1, now)
	}
	assert.Len(t, b.entries, maxWakes, "of chats that only a push tells of")
	for {
		e, _ := b.due(now)
		if e == nil {
			break
		}
		b.drop(e)
	}
	assert.Empty(t, b.entries)
	b.wake(1, now)
	assert.Len(t, b.entries, 1)
}

func TestPushesThatNobodyFetchesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWakes()
	for id := range chats.ChatID(2 * maxWakes) {
		w.add(id + 1)
	}
	assert.Len(t, w.take(), maxWakes)
	assert.Empty(t, w.take())
}
