package chats

import (
	"context"
	"net/http"
	"strings"
)

// Operation is an operation of the API. Its value is the operationId of the contract.
type Operation string

// The operations of the contract and the methods that call them.
const (
	OpGetChats          Operation = "getChats"          // [Client.Chats], [Client.ChatsPage]
	OpGetChat           Operation = "getChat"           // [Client.Chat]
	OpGetChatHistory    Operation = "getChatHistory"    // [Client.History], [Client.HistoryPage]
	OpGetChatMessage    Operation = "getChatMessage"    // [Client.Message]
	OpCreateChat        Operation = "createChat"        // [Client.OpenChat]
	OpSendMessageToChat Operation = "sendMessageToChat" // [Client.SendText], [Client.SendTextConfirmed]
	OpSendFileToChat    Operation = "sendFileToChat"    // [Client.SendFile], [Client.SendFileConfirmed]
)

// OpDownload is the Operation of errors from [Client.Download]. It is not an operation of
// the API.
const OpDownload Operation = "download"

// rule describes an operation.
type rule struct {
	method string
	path   string // below /v2/businesses/{businessId}
	// repeatable is set if a request may be sent again even though the previous one may have
	// been processed. That depends on the effect of the operation, not on its method: two of
	// the reads are POSTs, and a repeated createChat returns the same chat.
	repeatable bool
}

var rules = map[Operation]rule{
	OpGetChats:          {http.MethodPost, "/chats", true},
	OpGetChat:           {http.MethodGet, "/chat", true},
	OpGetChatHistory:    {http.MethodPost, "/chats/history", true},
	OpGetChatMessage:    {http.MethodGet, "/chats/message", true},
	OpCreateChat:        {http.MethodPost, "/chats/new", true},
	OpSendMessageToChat: {http.MethodPost, "/chats/message", false},
	OpSendFileToChat:    {http.MethodPost, "/chats/file/send", false},
}

// Operations returns the operations of the API in the order of the constants.
func Operations() []Operation {
	return []Operation{
		OpGetChats, OpGetChat, OpGetChatHistory, OpGetChatMessage, OpCreateChat, OpSendMessageToChat, OpSendFileToChat,
	}
}

// operationOf returns the operation of a request from the generated client.
func operationOf(method, path string) (Operation, bool) {
	_, below, _ := strings.Cut(path, "/v2/businesses/")
	_, below, _ = strings.Cut(below, "/")
	for op, r := range rules {
		if r.method == method && r.path == "/"+below {
			return op, true
		}
	}
	return "", false
}

type operationKey struct{}

// OperationFromContext returns the operation of a request from the request's context, for
// example to name a span in the transport set with [WithHTTPClient]. It returns false for a
// download request.
func OperationFromContext(ctx context.Context) (Operation, bool) {
	op, ok := ctx.Value(operationKey{}).(Operation)
	return op, ok
}
