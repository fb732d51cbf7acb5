package chatstest

import (
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
)

func (s *store) getChats(r *request) (any, *problem) {
	var f filter
	if p := r.decode(&f); p != nil {
		return nil, p
	}
	if !s.settings.legacyOrderIDs {
		f.Orders = nil
	}
	if p := f.check(); p != nil {
		return nil, p
	}
	p, invalid := s.pager(r, 10, chats.MaxChatsPage, f)
	if invalid != nil {
		return nil, invalid
	}
	matching := s.matching(f)
	w := p.window(len(matching), false)
	result := chatsResult{Chats: make([]wireChat, 0, w.to-w.from), Paging: wirePaging{w.next}}
	for _, c := range matching[w.from:w.to] {
		result.Chats = append(result.Chats, s.settings.wireChat(c.Chat))
	}
	return result, nil
}

func (s *store) matching(f filter) []*chat {
	list := s.newestFirst()
	if f.isEmpty() {
		return list
	}
	var matching []*chat
	for _, c := range list {
		if f.matches(c.Chat) {
			matching = append(matching, c)
		}
	}
	return matching
}

func (s *store) getChat(r *request) (any, *problem) {
	c, p := s.chatOf(r)
	if p != nil {
		return nil, p
	}
	return s.settings.wireChat(c.Chat), nil
}

func (s *store) getChatHistory(r *request) (any, *problem) {
	var body struct {
		From *chats.MessageID `json:"messageIdFrom"`
	}
	if p := r.decode(&body); p != nil {
		return nil, p
	}
	if body.From != nil && *body.From < 1 {
		return nil, badRequest("Field 'messageIdFrom' must be above 0")
	}
	p, invalid := s.pager(r, 50, chats.MaxHistoryPage, body)
	if invalid != nil {
		return nil, invalid
	}
	c, invalid := s.chatOf(r)
	if invalid != nil {
		return nil, invalid
	}
	messages, invalid := s.since(c, body.From)
	if invalid != nil {
		return nil, invalid
	}
	page, next := p.messagePage(messages)
	return historyResult{
		Order: s.settings.legacyOrder(c.Chat), Context: wireContextOf(c.Chat), Messages: page, Paging: wirePaging{next},
	}, nil
}

// since returns the part of the history that messageIdFrom selects.
func (s *store) since(c *chat, from *chats.MessageID) ([]chats.Message, *problem) {
	messages := c.visible()
	if from == nil {
		return messages, nil
	}
	i, found := find(messages, *from)
	switch {
	case !found && s.settings.strictSince:
		return nil, messageNotFound(c.ID, *from)
	case found && s.settings.exclusiveSince:
		i++
	}
	return messages[i:], nil
}

func messageNotFound(chat chats.ChatID, message chats.MessageID) *problem {
	return notFound("Can't find message by id: '%d' for chat '%d'", message, chat)
}

func (s *store) getChatMessage(r *request) (any, *problem) {
	id, p := r.id("messageId")
	if p != nil {
		return nil, p
	}
	c, p := s.chatOf(r)
	if p != nil {
		return nil, p
	}
	messages := c.visible()
	i, found := find(messages, chats.MessageID(id))
	if !found {
		return nil, messageNotFound(c.ID, chats.MessageID(id))
	}
	return s.settings.wireMessage(messages[i]), nil
}

func (s *store) createChat(r *request) (any, *problem) {
	var body struct {
		Order   chats.OrderID `json:"orderId"`
		Context *identifier   `json:"context"`
	}
	if p := r.decode(&body); p != nil {
		return nil, p
	}
	if body.Context == nil && body.Order > 0 && s.settings.legacyOrderIDs {
		body.Context = &identifier{chats.SubjectOrder, int64(body.Order)}
	}
	if body.Context == nil {
		return nil, badRequest("Field 'context' is missing")
	}
	if p := body.Context.check(); p != nil {
		return nil, p
	}
	about := body.Context.subject()
	if c := s.chatAbout(about); c != nil {
		return createdResult{c.ID}, nil
	}
	if s.settings.subjects != nil && !s.settings.subjects[about] {
		return nil, subjectNotFound(*body.Context)
	}
	return createdResult{s.add(chats.Chat{Subject: about, Customer: s.settings.customer(about)}, r.at).ID}, nil
}

func subjectNotFound(about identifier) *problem {
	if about.Type == chats.SubjectReturn {
		return notFound("Return not found: '%d'", about.ID)
	}
	return notFound("Order not found: '%d'", about.ID)
}

func (s *store) sendMessageToChat(r *request) (any, *problem) {
	var body struct {
		Text string `json:"message"`
	}
	if p := r.decode(&body); p != nil {
		return nil, p
	}
	if n := utf8.RuneCountInString(body.Text); n < 1 || n > chats.MaxTextLength {
		return nil, badRequest("Field 'message' must have 1 to %d characters", chats.MaxTextLength)
	}
	c, p := s.writableChatOf(r)
	if p != nil {
		return nil, p
	}
	s.post(c, chats.Message{Sender: chats.SenderPartner, Text: s.settings.storedText(body.Text)}, r.at)
	return nil, nil // its response has no result
}

func (s *store) sendFileToChat(r *request) (any, *problem) {
	upload, p := r.upload()
	if p != nil {
		return nil, p
	}
	c, p := s.writableChatOf(r)
	if p != nil {
		return nil, p
	}
	file := s.settings.storedFile(s.addFile(upload.Name, upload.ContentType, upload.Data))
	c.uploads = append(c.uploads, upload)
	s.post(c, chats.Message{Sender: chats.SenderPartner, Files: []chats.File{file}}, r.at)
	return nil, nil // its response has no result
}

// chatOf returns the chat that a request names.
func (s *store) chatOf(r *request) (*chat, *problem) {
	id, p := r.id("chatId")
	if p != nil {
		return nil, p
	}
	c := s.chats[chats.ChatID(id)]
	if c == nil {
		return nil, notFound("Can't find chat by id: '%d'", id)
	}
	return c, nil
}

// writableChatOf returns the chat that a request writes to.
func (s *store) writableChatOf(r *request) (*chat, *problem) {
	c, p := s.chatOf(r)
	if p == nil && c.Status == chats.StatusFinished {
		return nil, badRequest("Chat is closed: '%d'", c.ID)
	}
	return c, p
}
