package live

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

func TestOrderOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, second []int64
		want          string
	}{
		{[]int64{1, 2}, []int64{3, 4}, OldestFirst},
		{[]int64{1, 2}, []int64{3}, OldestFirst},
		{[]int64{4, 3}, []int64{2, 1}, NewestFirst},
		{[]int64{3, 4}, []int64{1, 2}, NewestPageFirst},
		{[]int64{2, 1}, []int64{4, 3}, OldestPageNewestWithin},
		{[]int64{2, 1}, []int64{3, 4}, NoOrder},
		{[]int64{1, 3}, []int64{2, 4}, NoOrder},
		{[]int64{1, 3, 2}, []int64{4}, NoOrder},
		{[]int64{1, 2}, nil, TooFew},
		{[]int64{1}, []int64{2}, TooFew},
	} {
		assert.Equal(t, c.want, orderOf(messages(c.first), messages(c.second)), "%v %v", c.first, c.second)
	}
}

func messages(ids []int64) []chats.Message {
	all := make([]chats.Message, len(ids))
	for i, id := range ids {
		all[i].ID = chats.MessageID(id)
	}
	return all
}

func TestOrderOfChats(t *testing.T) {
	t.Parallel()
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	chat := func(updated, created, id int64) chats.Chat {
		return chats.Chat{ID: chats.ChatID(id), CreatedAt: at(created), UpdatedAt: at(updated)}
	}
	for want, list := range map[string][]chats.Chat{
		"newest first, by updatedAt": {chat(3, 1, 1), chat(2, 3, 3), chat(2, 2, 2)},
		"oldest first, by createdAt": {chat(3, 1, 1), chat(1, 2, 3), chat(2, 3, 2)},
		"oldest first, by id":        {chat(3, 1, 1), chat(1, 3, 2), chat(2, 2, 3)},
		NoOrder:                      {chat(3, 1, 1), chat(1, 3, 3), chat(2, 2, 2)},
		TooFew:                       {chat(3, 1, 1)},
	} {
		assert.Equal(t, want, orderOfChats(list))
	}
}
