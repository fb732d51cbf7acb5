package chatstest

import (
	"bytes"
	"encoding/json"

	"github.com/ymchats/ymchats-go/chats"
)

// withOddItems passes the chats and messages of a response to WithOddItems.
func (s settings) withOddItems(op chats.Operation, resp response) response {
	if s.oddItems == nil {
		return resp
	}
	var body struct {
		Status string         `json:"status"`
		Result map[string]any `json:"result,omitempty"`
	}
	decoder := json.NewDecoder(bytes.NewReader(resp.body))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		panic("chatstest: " + err.Error()) // impossible: it was just encoded
	}
	before, _ := json.Marshal(body) //nolint:errchkjson // it was decoded from JSON
	for _, item := range items(op, body.Result) {
		s.oddItems(item)
	}
	after, err := json.Marshal(body)
	if err != nil {
		panic("chatstest: WithOddItems: " + err.Error())
	}
	if bytes.Equal(before, after) {
		return resp
	}
	return resp.withBody(after).marked("odd items")
}

// items returns the chats and messages of a result.
func items(op chats.Operation, result map[string]any) []map[string]any {
	if op == chats.OpGetChat || op == chats.OpGetChatMessage {
		return []map[string]any{result}
	}
	var all []map[string]any
	for _, name := range []string{"chats", "messages"} {
		list, _ := result[name].([]any)
		for _, item := range list {
			all = append(all, item.(map[string]any))
		}
	}
	return all
}
