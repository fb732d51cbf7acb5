package chats

import (
	"context"
	"net/http"
	"strings"
)

// Operation is one of the API's operations. Its value is the operationId of the
// contract.
type Operation string

// The operations of the contract, and what makes them.
const (
	OpGetChats          Operation = "getChats"          // [Client.Chats], [Client.ChatsPage]
	OpGetChat           Operation = "getChat"           // [Client.Chat]
	OpGetChatHistory    Operation = "getChatHistory"    // [Client.History], [Client.HistoryPage]
	OpGetChatMessage    Operation = "getChatMessage"    // [Client.Message]
	OpCreateChat        Operation = "createChat"        // [Client.OpenChat]
	OpSendMessageToChat Operation = "sendMessageToChat" // [Client.SendText], [Client.SendTextConfirmed]
	OpSendFileToChat    Operation = "sendFileToChat"    // [Client.SendFile]
)

// OpDownload names [Client.Download] in errors. It is no operation of the API.
const OpDownload Operation = "download"

// rule is what the library knows of an operation.
type rule struct {
	method string
	path   string // below /v2/businesses/{businessId}
	// repeatable says that a request may be made again although the one before may
	// have been processed. It goes by what the operation does, not by its method:
	// two of the reads are POSTs, and createChat finds the chat that it opened.
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

// Operations lists the API's operations, in the order of the constants.
func Operations() []Operation {
	return []Operation{
		OpGetChats, OpGetChat, OpGetChatHistory, OpGetChatMessage, OpCreateChat, OpSendMessageToChat, OpSendFileToChat,
	}
}

// operationOf finds the operation of a request made by the generated client.
func operationOf(method, path string) (Operation, bool) {
	_, below, found := strings.Cut(path, "/v2/businesses/")
	_, below, slash := strings.Cut(below, "/")
	if !found || !slash {
		return "", false
	}
	for op, r := range rules {
		if r.method == method && r.path == "/"+below {
			return op, true
		}
	}
	return "", false
}

type operationKey struct{}

// OperationFromContext tells a caller's own transport, wrapped into
// [WithHTTPClient], which operation a request belongs to: a name for a span.
func OperationFromContext(ctx context.Context) (Operation, bool) {
	op, ok := ctx.Value(operationKey{}).(Operation)
	return op, ok
}
