package chatstest

import (
	"fmt"
	"net/http"

	"github.com/ymchats/ymchats-go/chats"
)

// Client returns an in-process client of this Market. Its base URL is that of the real
// API, but no request leaves the process. The options are applied after the Market's
// own, so that WithHTTPClient can wrap [Market.Transport]. Client panics if [chats.New]
// returns an error.
func (m *Market) Client(options ...chats.Option) *chats.Client {
	return m.client(&http.Client{Transport: m.Transport()}, options)
}

func (m *Market) client(httpClient *http.Client, options []chats.Option) *chats.Client {
	options = append([]chats.Option{chats.WithHTTPClient(httpClient)}, options...)
	client, err := chats.New(m.Business(), chats.APIKey(m.Key()), options...)
	if err != nil {
		panic(fmt.Sprintf("chatstest: Client: %v", err))
	}
	return client
}
