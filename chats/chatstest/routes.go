package chatstest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/ymchats/ymchats-go/chats"
)

// endpoint is one operation. handle returns the result of its response, or nil if
// it has none.
type endpoint struct {
	method string
	path   string // below the business
	op     chats.Operation
	handle func(*store, *request) (any, *problem)
}

var endpoints = []endpoint{
	{http.MethodPost, "/chats", chats.OpGetChats, (*store).getChats},
	{http.MethodGet, "/chat", chats.OpGetChat, (*store).getChat},
	{http.MethodPost, "/chats/history", chats.OpGetChatHistory, (*store).getChatHistory},
	{http.MethodGet, "/chats/message", chats.OpGetChatMessage, (*store).getChatMessage},
	{http.MethodPost, "/chats/new", chats.OpCreateChat, (*store).createChat},
	{http.MethodPost, "/chats/message", chats.OpSendMessageToChat, (*store).sendMessageToChat},
	{http.MethodPost, "/chats/file/send", chats.OpSendFileToChat, (*store).sendFileToChat},
}

// route returns the operation of a request, or "".
func route(method, path string) chats.Operation {
	if method == http.MethodGet && strings.HasPrefix(path, filesPath) {
		return OpDownload
	}
	_, below := splitPath(path)
	for _, e := range endpoints {
		if e.method == method && e.path == below {
			return e.op
		}
	}
	return ""
}

// splitPath separates the business from the path below it.
func splitPath(path string) (business, below string) {
	path, found := strings.CutPrefix(path, "/v2/businesses/")
	slash := strings.IndexByte(path, '/')
	if !found || slash < 0 {
		return "", ""
	}
	return path[:slash], path[slash:]
}

// handle processes a request.
func (s *store) handle(r *request) response {
	switch r.op {
	case OpDownload:
		return s.serveFile(r)
	case "":
		return notRouted(r).response()
	}
	if p := s.authorize(r); p != nil {
		return s.limits.withHeaders(p.response(), r.op, r.at)
	}
	if !s.limits.charge(r.op, r.at) {
		return s.limits.quotaExceeded(r.op, r.at)
	}
	return s.limits.withHeaders(s.call(r), r.op, r.at)
}

func (s *store) call(r *request) response {
	for _, e := range endpoints {
		if e.op == r.op {
			result, p := e.handle(s, r)
			if p != nil {
				return p.response()
			}
			return s.settings.withOddItems(r.op, jsonResponse(http.StatusOK, envelope{Status: "OK", Result: result}))
		}
	}
	panic("chatstest: no endpoint for " + string(r.op)) // route uses the same table
}

func notRouted(r *request) *problem {
	_, below := splitPath(r.path)
	for _, e := range endpoints {
		if e.path == below {
			return &problem{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Request method '" + r.method + "' is not supported"}
		}
	}
	return notFound("No resource at %s", r.path)
}

// authorize checks the credential and the business.
func (s *store) authorize(r *request) *problem {
	if p := s.authenticate(r.header); p != nil {
		return p
	}
	text, _ := splitPath(r.path)
	business, err := strconv.ParseInt(text, 10, 64)
	if err != nil || business < 1 {
		return badRequest("Parameter 'businessId' must be a number above 0: '%s'", text)
	}
	if chats.BusinessID(business) != s.settings.business {
		return forbidden("No access to business: %d", business)
	}
	return nil
}
