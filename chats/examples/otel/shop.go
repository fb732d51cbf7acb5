package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// shop replies to customers on an in-memory Market.
type shop struct {
	market *chatstest.Market
	client *chats.Client
	tracer trace.Tracer
	out    io.Writer
}

func newShop(t telemetry, out io.Writer) (*shop, error) {
	market := chatstest.NewMarket()
	options, err := t.options(market.Transport())
	if err != nil {
		return nil, err
	}
	quick := chats.RetryPolicy{BaseDelay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond}
	s := &shop{
		market: market,
		client: market.Client(append(options, chats.WithRetry(quick))...),
		tracer: t.tracers.Tracer(scope),
		out:    out,
	}
	for _, name := range []string{"Анна", "Борис", "Вера"} {
		id := market.AddChat(chats.Chat{Customer: chats.Customer{Name: name}})
		market.CustomerSays(id, "Здравствуйте! Когда привезут заказ?")
	}
	return s, nil
}

// work replies to every waiting chat. Each step encounters a failure.
func (s *shop) work(ctx context.Context) error {
	s.market.Fail(chats.OpGetChats, chatstest.HTML(502))
	s.market.Fail(chats.OpGetChatHistory, chatstest.RateLimitedParallel())
	// The first attempt is retried because nothing was sent. The other two are posted, and
	// the response to the last one is lost.
	s.market.Fail(chats.OpSendMessageToChat, chatstest.Refused(), chatstest.OK(), chatstest.DropAfter())

	ctx, span := s.tracer.Start(ctx, "reply to waiting chats")
	defer span.End()
	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	var ids []chats.ChatID
	for chat, err := range s.client.Chats(ctx, waiting) {
		if err != nil {
			return err
		}
		ids = append(ids, chat.ID)
	}
	for _, id := range ids {
		if _, err := s.client.SendTextConfirmed(ctx, id, "Здравствуйте! Заказ приедет завтра."); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(s.out, "replied to %d chats\n", len(ids))
	return s.sendUnconfirmed(ctx, ids[0])
}

// sendUnconfirmed posts without searching the history for the message. A shop should be
// alerted to the unknown outcome.
func (s *shop) sendUnconfirmed(ctx context.Context, id chats.ChatID) error {
	s.market.Fail(chats.OpSendMessageToChat, chatstest.StatusAfter(500, `{"status":"ERROR"}`))
	err := s.client.SendText(ctx, id, "Курьер позвонит за час.")
	if !errors.Is(err, chats.ErrOutcomeUnknown) {
		return fmt.Errorf("want an unknown outcome, got: %w", err)
	}
	_, _ = fmt.Fprintln(s.out, err)
	return nil
}
