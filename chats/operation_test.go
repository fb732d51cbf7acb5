package chats_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestOperations_CoverTheContract(t *testing.T) {
	t.Parallel()
	routes := contract.Routes()
	named := make([]chats.Operation, 0, len(routes))
	for op := range routes {
		named = append(named, op)
	}
	assert.ElementsMatch(t, named, chats.Operations())
	for _, op := range chats.Operations() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			log := &wireLog{next: market.Transport()}
			s := shopOn(t, market, through(t, log))
			require.NoError(t, s.call(t.Context(), op))
			req, _ := log.last(t)
			assert.Equal(t, routes[op].Method, req.Method)
			assert.Equal(t, strings.Replace(routes[op].Path, "{businessId}", fmt.Sprint(s.market.Business()), 1), req.URL.Path)
		})
	}
}

// methods are all methods of Client, and the operations that each of them makes.
var methods = map[string]struct {
	call func(context.Context, *shop) error
	ops  []chats.Operation
}{
	"Chats": {func(ctx context.Context, s *shop) error {
		for _, err := range s.client.Chats(ctx, chats.Filter{}) {
			return err
		}
		return nil
	}, []chats.Operation{chats.OpGetChats}},
	"ChatsPage": {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpGetChats) }, []chats.Operation{chats.OpGetChats}},
	"Chat":      {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpGetChat) }, []chats.Operation{chats.OpGetChat}},
	"History": {func(ctx context.Context, s *shop) error {
		for _, err := range s.client.History(ctx, s.chat, 0) {
			return err
		}
		return nil
	}, []chats.Operation{chats.OpGetChatHistory}},
	"HistoryPage": {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpGetChatHistory) }, []chats.Operation{chats.OpGetChatHistory}},
	"Message":     {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpGetChatMessage) }, []chats.Operation{chats.OpGetChatMessage}},
	"OpenChat":    {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpCreateChat) }, []chats.Operation{chats.OpCreateChat}},
	"SendText":    {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpSendMessageToChat) }, []chats.Operation{chats.OpSendMessageToChat}},
	"SendTextConfirmed": {func(ctx context.Context, s *shop) error {
		_, err := s.client.SendTextConfirmed(ctx, s.chat, "Да")
		return err
	}, []chats.Operation{chats.OpGetChatHistory, chats.OpSendMessageToChat}},
	"SendFile": {func(ctx context.Context, s *shop) error { return s.call(ctx, chats.OpSendFileToChat) }, []chats.Operation{chats.OpSendFileToChat}},
	"API": {func(ctx context.Context, s *shop) error {
		_, err := s.apiCall(ctx, chats.OpGetChat)
		return err
	}, []chats.Operation{chats.OpGetChat}},
	// A download is none of the API's operations.
	"Download": {func(ctx context.Context, s *shop) error {
		body, err := s.client.Download(ctx, s.market.AddFile("a.txt", []byte("content")))
		if err != nil {
			return err
		}
		return body.Close()
	}, []chats.Operation{""}},
	"Business": {}, "Limit": {}, "String": {}, "Format": {},
}

func TestOperations_OfEveryMethod(t *testing.T) {
	t.Parallel()
	client := reflect.TypeFor[*chats.Client]()
	for i := range client.NumMethod() {
		assert.Contains(t, methods, client.Method(i).Name, "a new method: which operations does it make?")
	}
	assert.Len(t, methods, client.NumMethod())
	for name, method := range methods {
		if method.call == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			var made []chats.Operation
			s := shopOn(t, market, through(t, roundTrip(func(req *http.Request) (*http.Response, error) {
				op, _ := chats.OperationFromContext(req.Context())
				made = append(made, op)
				return market.Transport().RoundTrip(req)
			})))
			require.NoError(t, method.call(t.Context(), s))
			slices.Sort(made)
			assert.Equal(t, method.ops, slices.Compact(made))
		})
	}
	_, ok := chats.OperationFromContext(t.Context())
	assert.False(t, ok)
}
