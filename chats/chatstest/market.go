package chatstest

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Market is the chats section of the Partner API in memory, for one business.
// Create one with [NewMarket] or [NewServer]; the zero Market is not usable. A Market is safe for
// concurrent use.
//
// Methods that take a chat's ID panic if there is no such chat.
type Market struct {
	mu sync.Mutex // guards everything down to traces
	store
	faults map[chats.Operation][]Fault
	served map[chats.Operation]response // the previous one; see Replay
	calls  map[chats.Operation]int
	traces int

	defaults []Option // that differ from a Market's, see NewServer

	notifying chan struct{} // a lock that a notification holds until it is delivered

	failMu   sync.Mutex
	failFunc func(chats.Operation, int) Fault
}

// NewMarket returns a Market without chats.
func NewMarket(options ...Option) *Market {
	return &Market{
		store:     newStore(newSettings(options), fakeKey),
		faults:    map[chats.Operation][]Fault{},
		served:    map[chats.Operation]response{},
		calls:     map[chats.Operation]int{},
		notifying: make(chan struct{}, 1),
	}
}

// lockAndCatchUp locks the Market and runs the events that are due. The caller unlocks mu.
func (m *Market) lockAndCatchUp() {
	m.mu.Lock()
	m.catchUp()
}

// Business returns the business that owns the chats. Requests for any other business fail
// with 403.
func (m *Market) Business() chats.BusinessID {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.settings.business
}

// SetOptions replaces the options that the Market was created with; options that are not
// given return to their defaults (the default file base of a [Server] is the server's URL). Chats,
// files, used quotas and the visibility of existing messages are kept.
func (m *Market) SetOptions(options ...Option) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	m.settings = newSettings(slices.Concat(m.defaults, options))
	m.limits.configure(m.settings)
}

// Key returns the Api-Key that the Market accepts.
func (m *Market) Key() string {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.key
}

// SetKey replaces the Api-Key that the Market accepts. Requests with the previous key fail
// with 401 from then on.
func (m *Market) SetKey(key string) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	m.key = key
}

// Token returns the OAuth token that the Market accepts.
func (m *Market) Token() string { return fakeToken }

// AddChat adds a chat and returns its ID. Zero fields get defaults: a new ID, a new order as the
// Subject, ChatTypeChat, StatusNew, the current time as CreatedAt, and CreatedAt as UpdatedAt.
// AddChat panics if the ID is taken.
func (m *Market) AddChat(c chats.Chat) chats.ChatID {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.add(c, time.Now()).ID
}

// AddFile makes the Market serve a file and returns its description, to be passed to
// [Market.CustomerSays]. Downloads need the Market's credential unless [WithOpenFiles] is set.
func (m *Market) AddFile(name string, data []byte) chats.File {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.addFile(name, http.DetectContentType(data), data)
}

// AddConversation adds a chat with messages from the past: each keeps its CreatedAt, and its ID
// unless that is 0. The messages must be in ascending order; they are visible immediately. Zero
// times and a zero Status of the chat are derived from the messages; other zero fields are filled
// in as in [Market.AddChat]. Fields that are set are kept, with one exception: if Status is zero,
// UpdatedAt is advanced to the time of the newest message if that is later.
func (m *Market) AddConversation(c chats.Chat, messages ...chats.Message) chats.ChatID {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.addConversation(c, messages, time.Now()).ID
}

// CustomerSays adds a message from the customer and returns its ID. The chat then waits for
// the shop. A message without text and files is a sticker.
func (m *Market) CustomerSays(id chats.ChatID, text string, files ...chats.File) chats.MessageID {
	return m.AddMessage(id, chats.SenderCustomer, text, files...)
}

// AddMessage adds a message from any sender and returns its ID. After a message from the customer,
// the chat waits for the shop; after a message from the shop, it waits for the customer. Messages
// from other senders do not change the chat's status. A message without text and files is a
// sticker. Unlike a request, AddMessage also writes to a finished chat; a message from the customer
// or the shop reopens the chat.
func (m *Market) AddMessage(id chats.ChatID, sender chats.Sender, text string, files ...chats.File) chats.MessageID {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	message := chats.Message{Sender: sender, Text: text, Files: slices.Clone(files)}
	return m.post(m.mustChat(id), message, time.Now())
}

// SetStatus changes a chat's status and nothing else.
func (m *Market) SetStatus(id chats.ChatID, status chats.Status) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	c := m.mustChat(id)
	c.Status = status
	m.changed(c)
}

// SetType changes a chat's type and nothing else, for example to [chats.ChatTypeArbitrage]
// when a dispute begins.
func (m *Market) SetType(id chats.ChatID, kind chats.ChatType) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	c := m.mustChat(id)
	c.Type = kind
	m.changed(c)
}

// FinishChat closes a chat. Sending messages and files to it then fails with 400 until its status
// changes; a message added with [Market.CustomerSays] reopens the chat.
func (m *Market) FinishChat(id chats.ChatID) { m.SetStatus(id, chats.StatusFinished) }

// Chat returns a chat as a client would read it now.
func (m *Market) Chat(id chats.ChatID) chats.Chat {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.settings.renderChat(m.mustChat(id).Chat)
}

// Chats returns all chats as a client would read them now, the chat with the latest UpdatedAt
// first.
func (m *Market) Chats() []chats.Chat {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	list := make([]chats.Chat, 0, len(m.chats))
	for _, c := range m.newestFirst() {
		list = append(list, m.settings.renderChat(c.Chat))
	}
	return list
}

// Messages returns the messages of a chat as a client would read them, oldest
// first, including those that are not visible to clients yet.
func (m *Market) Messages(id chats.ChatID) []chats.Message {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.rendered(m.mustChat(id).messages)
}

// LastMessages returns the newest n messages of a chat whose IDs are less than before (or
// the newest n of all messages if before is 0), in the form and order of [Market.Messages].
func (m *Market) LastMessages(id chats.ChatID, before chats.MessageID, n int) []chats.Message {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	messages := m.mustChat(id).messages
	if before != 0 {
		end, _ := find(messages, before)
		messages = messages[:end]
	}
	return m.rendered(messages[max(len(messages)-max(n, 0), 0):])
}

// rendered returns copies of messages as a client would read them.
func (m *Market) rendered(messages []chats.Message) []chats.Message {
	messages = slices.Clone(messages)
	for i := range messages {
		messages[i].Files = slices.Clone(messages[i].Files)
		messages[i].CreatedAt = m.settings.renderTime(messages[i].CreatedAt)
	}
	return messages
}

// Uploads returns the files that were sent to a chat through the API, oldest first.
func (m *Market) Uploads(id chats.ChatID) []Upload {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return slices.Clone(m.mustChat(id).uploads)
}

// OnChange sets a function to be called after every change to a chat: when it is added, when its
// status or type changes, and when it gets a message. The function may be called more than once for
// a message, and again when the message becomes visible to clients or, if the Market is not in use
// then, when it is next used. The function must be quick and must not use the Market. A later call
// to OnChange replaces the function, and OnChange(nil) removes it.
func (m *Market) OnChange(f func(chats.ChatID)) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	m.onChange = f
}

// Calls returns the number of requests for an operation, or for [OpDownload],
// including those that failed because of a limit or a fault.
func (m *Market) Calls(op chats.Operation) int {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.calls[op]
}

// PeakParallel returns the highest number of API requests that were in flight at
// once. A request is in flight from its arrival until the last byte of its
// response has been written or, in process, the response has been read or closed.
func (m *Market) PeakParallel() int {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return m.limits.peak
}
