package chats_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestConfirmBefore_RunsBeforeEachSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		id := market.AddChat(chats.Chat{})
		own := []chats.MessageID{market.AddMessage(id, chats.SenderPartner, "one"), market.AddMessage(id, chats.SenderPartner, "two")}
		market.CustomerSays(id, "question")
		market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore(), chatstest.Refused())
		var sends []int
		before := func(_ context.Context, shop []chats.MessageID) error {
			sends = append(sends, market.Calls(chats.OpSendMessageToChat))
			assert.Equal(t, own, shop)
			return nil
		}
		_, err := newClient(t, market).SendTextConfirmed(t.Context(), id, "text", chats.ConfirmBefore(before))
		require.NoError(t, err)
		assert.Equal(t, []int{0, 1, 2}, sends)
	})
}

func TestConfirmBefore_ErrorEndsTheSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		id := market.AddChat(chats.Chat{})
		refusal, calls := errors.New("the lease is lost"), 0
		market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		before := func(context.Context, []chats.MessageID) error {
			if calls++; calls > 1 {
				return refusal
			}
			return nil
		}
		_, err := newClient(t, market).SendTextConfirmed(t.Context(), id, "text", chats.ConfirmBefore(before))
		require.ErrorIs(t, err, refusal)
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown, "the first send may become visible after the search")
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 1, e.Attempts)
		assert.Empty(t, market.Messages(id))
	})
}

// The slot that the function occupies is that of its own client, and so is the key.
func TestConfirmBefore_AnotherClientsCallsAreAsUsual(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, other := newFixture(t), newFixture(t)
		other.market.SetKey("ACMA:fedcba9876543210fedcba9876543210fedcba98:76543210")
		other.client = newClient(t, other.market)
		other.market.Fail(chats.OpGetChat, chatstest.DropBefore())
		before := func(ctx context.Context, _ []chats.MessageID) error {
			_, err := other.client.Chat(ctx, other.chat)
			return err
		}
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "text", chats.ConfirmBefore(before))
		require.NoError(t, err)
		assert.Equal(t, 2, other.market.Calls(chats.OpGetChat), "retried")
	})
}

func TestConfirmExcept_MessagesOfOtherSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		id := market.AddChat(chats.Chat{})
		same := market.AddMessage(id, chats.SenderPartner, "text")
		other := market.AddMessage(id, chats.SenderPartner, "other")
		client := newClient(t, market)
		_, err := client.SendTextConfirmed(t.Context(), id, "text", chats.ConfirmAfter(0), chats.ConfirmExcept(same))
		require.ErrorIs(t, err, chats.ErrAmbiguous)
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		message, err := client.SendTextConfirmed(t.Context(), id, "text", chats.ConfirmAfter(0), chats.ConfirmExcept(same, other))
		require.NoError(t, err)
		assert.Greater(t, message.ID, other)
		assert.Len(t, market.Messages(id), 3)
	})
}

func TestErrAmbiguous_AfterASend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault chatstest.Fault
		want  error
	}{
		"accepted": {chatstest.OK(), chats.ErrUnconfirmed}, "response lost": {chatstest.DropAfter(), chats.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(chatstest.WithStoredText(func(string) string { return "masked" }))
				id := market.AddChat(chats.Chat{})
				market.Fail(chats.OpSendMessageToChat, c.fault)
				_, err := newClient(t, market).SendTextConfirmed(t.Context(), id, "text")
				require.ErrorIs(t, err, chats.ErrAmbiguous)
				require.ErrorIs(t, err, c.want)
				assert.Len(t, market.Messages(id), 1)
			})
		})
	}
}

func TestConfirmFirstAttempt_ReadsLessAndSearchesNothingBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		id := market.AddChat(chats.Chat{})
		for n := range 250 {
			market.AddMessage(id, []chats.Sender{chats.SenderCustomer, chats.SenderPartner}[n%2], "text")
		}
		<-time.After(48 * time.Hour)
		known := market.AddMessage(id, chats.SenderPartner, "text")
		message, err := newClient(t, market).SendTextConfirmed(t.Context(), id, "text", chats.ConfirmFirstAttempt(known))
		require.NoError(t, err)
		assert.Greater(t, message.ID, known)
		assert.Equal(t, 2, market.Calls(chats.OpGetChatHistory))
		all := market.Messages(id)
		assert.True(t, slices.ContainsFunc(all, func(m chats.Message) bool { return m.ID == message.ID }))
	})
}

func TestConfirmBefore_ErrorIsTheCallsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		cause := fmt.Errorf("saving: %w, %w", context.DeadlineExceeded, errDisk)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.RateLimitedParallel())
		calls := 0
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "text", chats.ConfirmBefore(func(context.Context, []chats.MessageID) error {
			if calls++; calls == 2 {
				return cause
			}
			return nil
		}))
		require.ErrorIs(t, err, errDisk)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
		assert.Equal(t, "error", outcomeOf(t, err))
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, f.market.Business(), e.Business)
		assert.Equal(t, chats.OpSendMessageToChat, e.Operation)
		assert.Equal(t, 1, e.Attempts)
	})
}

func TestConfirmOptions_InvalidArguments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for want, option := range map[string]chats.ConfirmOption{
		"ConfirmBefore": chats.ConfirmBefore(nil), "ConfirmFirstAttempt": chats.ConfirmFirstAttempt(-5), "ConfirmAfter": chats.ConfirmAfter(-5),
		"ConfirmExcept": chats.ConfirmExcept(7, 0),
	} {
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "text", option)
		var invalid *chats.ArgumentError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, want, invalid.Field)
	}
	assert.Zero(t, f.market.Calls(chats.OpGetChatHistory))
}
