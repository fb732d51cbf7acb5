package inbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// A chat that only pushes told of is counted until a list or Market itself tells of it.
func TestStrangersAreCounted(t *testing.T) {
	t.Parallel()
	b, now := newBook(map[chats.ChatID]Mark{0: {UpdatedAt: time.Now()}, 9: {Message: 1}}, time.Now().Add(-time.Hour)), time.Now()
	require.Len(t, b.entries, 1, "chat 0 is no chat")
	b.wake(9, now)
	assert.Zero(t, b.strangers, "its mark is known")
	for _, id := range []chats.ChatID{1, 2, 2, 3, 3, 3, 3} {
		b.wake(id, now)
	}
	assert.Equal(t, 3, b.strangers)
	b.listed(chats.Chat{ID: 1}, now)
	b.listed(chats.Chat{ID: 1}, now)
	assert.Equal(t, 2, b.strangers)
	for {
		e, _ := b.due(now)
		if e == nil {
			break
		}
		if e.id == 2 {
			before := b.strangers
			b.read(e, chats.Chat{ID: 2}, now)
			assert.Equal(t, before-1, b.strangers)
		}
		b.drop(e)
	}
	assert.Zero(t, b.strangers)
	assert.NotContains(t, b.entries, chats.ChatID(3))
	b.listed(chats.Chat{ID: 4}, now)
	assert.Zero(t, b.strangers, "a list is no push")
}

func TestMarksOfOthersAreAdopted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBook(map[chats.ChatID]Mark{1: {Message: 5}, 2: {Message: 5}, 3: {Message: 5}}, now)
	b.wake(3, now)
	atWork, _ := b.due(now)
	require.EqualValues(t, 3, atWork.id)
	b.wake(2, now)
	b.wake(4, now)
	b.adopt(map[chats.ChatID]Mark{1: {Message: 7}, 2: {Message: 7}, 3: {Message: 7}, 4: {Message: 7}, 5: {Message: 7}})
	assert.EqualValues(t, 7, b.entries[1].mark.Message)
	assert.EqualValues(t, 7, b.entries[2].mark.Message, "it waits in the queue")
	assert.EqualValues(t, 5, b.entries[3].mark.Message, "the look that is under way finds out itself")
	assert.Zero(t, b.entries[4].mark, "of a stranger it is not known whether it matches")
	b.adopt(map[chats.ChatID]Mark{1: {Message: 6}, 2: {Message: 7, UpdatedAt: now}})
	assert.EqualValues(t, 7, b.entries[1].mark.Message, "marks do not go back")
	assert.Zero(t, b.entries[2].mark.UpdatedAt, "of two that name one message it is not known which is newer")
}

func TestWhatAFilterMatches(t *testing.T) {
	t.Parallel()
	about := func(s chats.Subject) *chats.Chat { return &chats.Chat{Subject: s} }
	returned := chats.Subject{Kind: chats.SubjectReturn, Order: 1, Return: 2}
	for _, tt := range []struct {
		filter  chats.Subject
		subject chats.Subject
		want    bool
	}{
		{chats.AboutOrder(1), chats.AboutOrder(1), true},
		{chats.AboutOrder(1), chats.AboutOrder(2), false},
		{chats.AboutOrder(1), returned, false},
		{chats.AboutReturn(2), returned, true},
		{chats.AboutReturn(1), returned, false},
		{chats.AboutReturn(2), chats.AboutOrder(2), false},
	} {
		f := &chats.Filter{Subjects: []chats.Subject{tt.filter}}
		assert.Equal(t, tt.want, matches(f, about(tt.subject)), "%v, %v", tt.filter, tt.subject)
	}
	assert.True(t, matches(&chats.Filter{}, about(returned)))
}
