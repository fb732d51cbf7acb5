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
			log := &requestLog{next: market.Transport()}
			f := newFixtureOn(t, market, withContract(t, log))
			require.NoError(t, f.call(t.Context(), op))
			req, _ := log.last(t)
			assert.Equal(t, routes[op].Method, req.Method)
			assert.Equal(t, strings.Replace(routes[op].Path, "{businessId}", fmt.Sprint(f.market.Business()), 1), req.URL.Path)
		})
	}
}

// clientMethods has every method of Client and the operations that it makes.
var clientMethods = map[string]struct {
	call func(context.Context, *fixture) error
	ops  []chats.Operation
}{
	"Chats": {func(ctx context.Context, f *fixture) error {
		for _, err := range f.client.Chats(ctx, chats.Filter{}) {
			return err
		}
		return nil
	}, []chats.Operation{chats.OpGetChats}},
	"ChatsPage": {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpGetChats) }, []chats.Operation{chats.OpGetChats}},
	"Chat":      {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpGetChat) }, []chats.Operation{chats.OpGetChat}},
	"History": {func(ctx context.Context, f *fixture) error {
		for _, err := range f.client.History(ctx, f.chat, 0) {
			return err
		}
		return nil
	}, []chats.Operation{chats.OpGetChatHistory}},
	"HistoryPage": {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpGetChatHistory) }, []chats.Operation{chats.OpGetChatHistory}},
	"Message":     {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpGetChatMessage) }, []chats.Operation{chats.OpGetChatMessage}},
	"OpenChat":    {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpCreateChat) }, []chats.Operation{chats.OpCreateChat}},
	"SendText":    {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpSendMessageToChat) }, []chats.Operation{chats.OpSendMessageToChat}},
	"SendTextConfirmed": {func(ctx context.Context, f *fixture) error {
		_, err := f.client.SendTextConfirmed(ctx, f.chat, "Да")
		return err
	}, []chats.Operation{chats.OpGetChatHistory, chats.OpSendMessageToChat}},
	"SendFileConfirmed": {func(ctx context.Context, f *fixture) error {
		_, err := f.client.SendFileConfirmed(ctx, f.chat, "a.txt", strings.NewReader("content"))
		return err
	}, []chats.Operation{chats.OpGetChatHistory, chats.OpSendFileToChat}},
	"SendFile": {func(ctx context.Context, f *fixture) error { return f.call(ctx, chats.OpSendFileToChat) }, []chats.Operation{chats.OpSendFileToChat}},
	"API": {func(ctx context.Context, f *fixture) error {
		_, err := f.apiCall(ctx, chats.OpGetChat)
		return err
	}, []chats.Operation{chats.OpGetChat}},
	// A download is not an operation of the API.
	"Download": {func(ctx context.Context, f *fixture) error {
		body, err := f.client.Download(ctx, f.market.AddFile("a.txt", []byte("content")))
		if err != nil {
			return err
		}
		return body.Close()
	}, []chats.Operation{""}},
	"Business": {}, "CredentialFingerprint": {}, "Limit": {}, "ServerTime": {}, "String": {}, "Format": {},
}

func TestOperations_OfEveryMethod(t *testing.T) {
	t.Parallel()
	client := reflect.TypeFor[*chats.Client]()
	for i := range client.NumMethod() {
		assert.Contains(t, clientMethods, client.Method(i).Name, "new method: which operations does it make?")
	}
	assert.Len(t, clientMethods, client.NumMethod())
	for name, method := range clientMethods {
		if method.call == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			var made []chats.Operation
			f := newFixtureOn(t, market, withContract(t, roundTrip(func(req *http.Request) (*http.Response, error) {
				op, _ := chats.OperationFromContext(req.Context())
				made = append(made, op)
				return market.Transport().RoundTrip(req)
			})))
			require.NoError(t, method.call(t.Context(), f))
			slices.Sort(made)
			assert.Equal(t, method.ops, slices.Compact(made))
		})
	}
	_, ok := chats.OperationFromContext(t.Context())
	assert.False(t, ok)
}
