package chats_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// spans starts a span for every request. next may be any transport, for example one
// with a proxy.
type spans struct{ next http.RoundTripper }

func (s spans) RoundTrip(req *http.Request) (*http.Response, error) {
	op, _ := chats.OperationFromContext(req.Context())
	fmt.Println("span:", op)
	return s.next.RoundTrip(req)
}

// Use a transport that starts a span for every request.
func ExampleOperationFromContext() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	client := market.Client(chats.WithHTTPClient(&http.Client{Transport: spans{market.Transport()}}))

	_, err := client.Chat(context.Background(), chat)
	fmt.Println(err)
	// Output:
	// span: getChat
	// <nil>
}
