package chatstest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
)

func (m *Market) getChats(r *request) (any, *problem) {
	var f filter
	if p := r.decode(&f); p != nil {
		return nil, p
	}
	if p := f.check(); p != nil {
		return nil, p
	}
	p, wrong := r.pager(10, chats.MaxChatsPage, f)
	if wrong != nil {
		return nil, wrong
	}
	matching := f.of(m.newestFirst())
	w := p.window(m.settings, len(matching), false)
	result := chatsResult{Chats: make([]wireChat, 0, w.to-w.from), Paging: wirePaging{w.next}}
	for _, c := range matching[w.from:w.to] {
		result.Chats = append(result.Chats, m.settings.wireChat(c.Chat))
	}
	return result, nil
}

func (m *Market) getChat(r *request) (any, *problem) {
	c, p := m.chatOf(r)
	if p != nil {
		return nil, p
	}
	return m.settings.wireChat(c.Chat), nil
}

func (m *Market) getChatHistory(r *request) (any, *problem) {
	var body struct {
		From *chats.MessageID `json:"messageIdFrom"`
	}
	if p := r.decode(&body); p != nil {
		return nil, p
	}
	if body.From != nil && *body.From < 1 {
		return nil, badRequest("Field 'messageIdFrom' must be above 0")
	}
	p, wrong := r.pager(50, chats.MaxHistoryPage, body)
	if wrong != nil {
		return nil, wrong
	}
	c, wrong := m.chatOf(r)
	if wrong != nil {
		return nil, wrong
	}
	page, next := m.settings.messagePage(c.since(body.From, m.settings.exclusiveSince), p)
	return historyResult{
		Order: c.Subject.Order, Context: contextOf(c.Chat), Messages: page, Paging: wirePaging{next},
	}, nil
}

// since is the part of the history that messageIdFrom asks for. The message that
// it names need not exist.
func (c *chat) since(from *chats.MessageID, exclusive bool) []chats.Message {
	if from == nil {
		return c.messages
	}
	first := sort.Search(len(c.messages), func(i int) bool {
		return c.messages[i].ID > *from || c.messages[i].ID == *from && !exclusive
	})
	return c.messages[first:]
}

func (m *Market) getChatMessage(r *request) (any, *problem) {
	id, p := r.id("messageId")
	if p != nil {
		return nil, p
	}
	c, p := m.chatOf(r)
	if p != nil {
		return nil, p
	}
	from := chats.MessageID(id)
	if found := c.since(&from, false); len(found) > 0 && found[0].ID == from {
		return m.settings.wireMessage(found[0]), nil
	}
	return nil, notFound("Can't find message by id: '%d' for chat '%d'", id, c.ID)
}

func (m *Market) createChat(r *request) (any, *problem) {
	var body struct {
		Order   chats.OrderID `json:"orderId"`
		Context *identifier   `json:"context"`
	}
	if p := r.decode(&body); p != nil {
		return nil, p
	}
	if body.Context == nil && body.Order > 0 { // deprecated, but taken
		body.Context = &identifier{chats.SubjectOrder, int64(body.Order)}
	}
	if body.Context == nil {
		return nil, badRequest("Field 'context' is missing")
	}
	if p := body.Context.check(); p != nil {
		return nil, p
	}
	about := body.Context.subject()
	if c := m.chatAbout(about); c != nil {
		return createdResult{c.ID}, nil
	}
	if m.settings.subjects != nil && !m.settings.subjects[about] {
		return nil, noSubject(*body.Context)
	}
	return createdResult{m.add(chats.Chat{Subject: about}, r.at).ID}, nil
}

// chatAbout finds the chat that is open about a subject, the first of several.
func (m *Market) chatAbout(about chats.Subject) *chat {
	var found *chat
	for _, c := range m.chats {
		if identity(c.Subject) == about && (found == nil || c.ID < found.ID) {
			found = c
		}
	}
	return found
}

func noSubject(about identifier) *problem {
	if about.Type == chats.SubjectReturn {
		return notFound("Return not found: '%d'", about.ID)
	}
	return notFound("Order not found: '%d'", about.ID)
}

func (m *Market) sendMessageToChat(r *request) (any, *problem) {
	var body struct {
		Text string `json:"message"`
	}
	if p := r.decode(&body); p != nil {
		return nil, p
	}
	if n := utf8.RuneCountInString(body.Text); n < 1 || n > chats.MaxTextLength {
		return nil, badRequest("Field 'message' must have 1 to %d characters", chats.MaxTextLength)
	}
	c, p := m.openChatOf(r)
	if p != nil {
		return nil, p
	}
	if m.settings.trimmedTexts {
		body.Text = strings.TrimSpace(body.Text)
	}
	c.post(chats.Message{Sender: chats.SenderPartner, Text: body.Text}, r.at)
	return nil, nil // this answer has no result
}

func (m *Market) sendFileToChat(r *request) (any, *problem) {
	upload, p := r.upload()
	if p != nil {
		return nil, p
	}
	c, p := m.openChatOf(r)
	if p != nil {
		return nil, p
	}
	file := m.store(upload.Name, upload.ContentType, upload.Data)
	c.uploads = append(c.uploads, upload)
	c.post(chats.Message{Sender: chats.SenderPartner, Files: []chats.File{file}}, r.at)
	return nil, nil // this answer has no result
}

// upload finds the file in a form that is whole.
func (r *request) upload() (Upload, *problem) {
	mediaType, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		return Upload{}, r.unsupported()
	}
	if len(r.body) > maxFormBody {
		return Upload{}, badRequest("The file is larger than %d bytes", chats.MaxFileSize)
	}
	// Not left to the reader: it takes a form that is cut within a part's header for its end.
	if !bytes.HasSuffix(bytes.TrimSpace(r.body), []byte("--"+params["boundary"]+"--")) {
		return Upload{}, badRequest("The form is not complete")
	}
	var found []Upload
	form := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Upload{}, badRequest("The form cannot be read: %v", err)
		}
		upload, p := readPart(part)
		if p != nil {
			return Upload{}, p
		}
		if part.FormName() == "file" {
			found = append(found, upload)
		}
	}
	if len(found) != 1 {
		return Upload{}, badRequest("The form must have one part 'file', and has %d", len(found))
	}
	return found[0], found[0].check()
}

func readPart(part *multipart.Part) (Upload, *problem) {
	data, err := io.ReadAll(part)
	if err != nil {
		return Upload{}, badRequest("The form cannot be read: %v", err)
	}
	return Upload{Name: part.FileName(), ContentType: part.Header.Get("Content-Type"), Data: data}, nil
}

func (u Upload) check() *problem {
	switch {
	case u.Name == "":
		return badRequest("The file has no name")
	case len(u.Data) == 0:
		return badRequest("The file is empty")
	case len(u.Data) > chats.MaxFileSize:
		return badRequest("The file is larger than %d bytes", chats.MaxFileSize)
	}
	return nil
}

// chatOf finds the chat that a request names.
func (m *Market) chatOf(r *request) (*chat, *problem) {
	id, p := r.id("chatId")
	if p != nil {
		return nil, p
	}
	c := m.chats[chats.ChatID(id)]
	if c == nil {
		return nil, notFound("Can't find chat by id: '%d'", id)
	}
	return c, nil
}

// openChatOf finds the chat that a request wants to write into.
func (m *Market) openChatOf(r *request) (*chat, *problem) {
	c, p := m.chatOf(r)
	if p == nil && c.Status == chats.StatusFinished {
		return nil, badRequest("Chat is closed: '%d'", c.ID)
	}
	return c, p
}
