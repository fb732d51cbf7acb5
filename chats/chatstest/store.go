package chatstest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// store is the state of a Market, guarded by its mutex.
type store struct {
	settings settings
	limits   *limits
	key      string
	chats    map[chats.ChatID]*chat
	listed   []*chat               // the same chats; see newestFirst
	files    map[string]storedFile // by path
	cursors  map[uint64]cursor     // by request; see WithConstantToken
	events   []event               // ascending
	lastID   int                   // the last ID that the store generated
	onChange func(chats.ChatID)    // may be nil
}

// event is a function to be called later.
type event struct {
	at time.Time
	do func()
}

// storedFile is a file that the Market serves.
type storedFile struct {
	contentType string
	data        []byte
}

// chat is a chat with its messages and uploads.
type chat struct {
	chats.Chat

	messages []chats.Message // ascending
	hidden   map[chats.MessageID]bool
	uploads  []Upload
}

func newStore(s settings, key string) store {
	return store{
		settings: s,
		key:      key,
		limits:   newLimits(s),
		chats:    map[chats.ChatID]*chat{},
		files:    map[string]storedFile{},
		cursors:  map[uint64]cursor{},
	}
}

func (s *store) nextID() int {
	s.lastID++
	return s.lastID
}

func (s *store) add(c chats.Chat, now time.Time) *chat {
	if c.ID == 0 {
		c.ID = s.freeChatID()
	}
	if s.chats[c.ID] != nil {
		panic(fmt.Sprintf("chatstest: chat %d already exists", c.ID))
	}
	c.Type = cmp.Or(c.Type, chats.ChatTypeChat)
	c.Status = cmp.Or(c.Status, chats.StatusNew)
	if c.CreatedAt.IsZero() {
		c.CreatedAt = now
	}
	if c.UpdatedAt.IsZero() {
		c.UpdatedAt = c.CreatedAt
	}
	c.Subject = s.fillSubject(c.Subject)
	added := &chat{Chat: c, hidden: map[chats.MessageID]bool{}}
	s.chats[c.ID] = added
	s.listed = append(s.listed, added)
	s.changed(added)
	return added
}

// addConversation adds a chat with messages, ascending.
func (s *store) addConversation(c chats.Chat, messages []chats.Message, now time.Time) *chat {
	if n := len(messages); n > 0 {
		if c.CreatedAt.IsZero() {
			c.CreatedAt = messages[0].CreatedAt
		}
		if c.UpdatedAt.IsZero() {
			c.UpdatedAt = messages[n-1].CreatedAt
		}
	}
	status := c.Status
	added := s.add(c, now)
	for _, message := range messages {
		message.Files = slices.Clone(message.Files)
		message.ID = added.nextMessageID(cmp.Or(message.ID, chats.MessageID(message.CreatedAt.UnixMicro())))
		added.messages = append(added.messages, message)
		if status == "" {
			added.update(message)
		}
	}
	return added
}

// changed reports a change of a chat to the function of [Market.OnChange].
func (s *store) changed(c *chat) {
	if s.onChange != nil {
		s.onChange(c.ID)
	}
}

func (s *store) freeChatID() chats.ChatID {
	for {
		if id := chats.ChatID(70_000_000 + s.nextID()); s.chats[id] == nil {
			return id
		}
	}
}

// fillSubject derives the kind from the IDs that are set, and sets the order of
// orders and returns, as Market does.
func (s *store) fillSubject(subject chats.Subject) chats.Subject {
	switch {
	case subject.Kind != "":
	case subject.Return != 0:
		subject.Kind = chats.SubjectReturn
	default:
		subject.Kind = chats.SubjectOrder
	}
	if subject.Order == 0 && (subject.Kind == chats.SubjectOrder || subject.Kind == chats.SubjectReturn) {
		subject.Order = chats.OrderID(50_000_000 + s.nextID())
	}
	return subject
}

// mustChat panics if the chat does not exist.
func (s *store) mustChat(id chats.ChatID) *chat {
	c := s.chats[id]
	if c == nil {
		panic(fmt.Sprintf("chatstest: there is no chat %d", id))
	}
	return c
}

// chatAbout returns the oldest chat about a subject, or nil.
func (s *store) chatAbout(about chats.Subject) *chat {
	var found *chat
	for _, c := range s.chats {
		if identity(c.Subject) == about && (found == nil || c.ID < found.ID) {
			found = c
		}
	}
	return found
}

// newestFirst returns the chats in the order in which they are listed. The sorted list is
// kept, because it usually stays sorted.
func (s *store) newestFirst() []*chat {
	if !slices.IsSortedFunc(s.listed, laterFirst) {
		slices.SortFunc(s.listed, laterFirst)
	}
	return s.listed
}

func laterFirst(a, b *chat) int {
	return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), cmp.Compare(b.ID, a.ID))
}

// schedule calls do at the given time, or immediately if that is not in the future.
func (s *store) schedule(now, at time.Time, do func()) {
	if !at.After(now) {
		do()
		return
	}
	i, _ := slices.BinarySearchFunc(s.events, at, func(e event, at time.Time) int {
		return cmp.Or(e.at.Compare(at), -1) // after those of the same time
	})
	s.events = slices.Insert(s.events, i, event{at, do})
}

// catchUp runs the events that are due.
func (s *store) catchUp() {
	if len(s.events) == 0 {
		return
	}
	for now := time.Now(); len(s.events) > 0 && !s.events[0].at.After(now); {
		due := s.events[0]
		s.events = s.events[1:]
		due.do()
	}
}

// post appends a message. Its ID is the microseconds since 1970, or the next free number if
// several messages share one. The settings decide when it becomes visible.
func (s *store) post(c *chat, message chats.Message, now time.Time) chats.MessageID {
	message.ID, message.CreatedAt = c.nextMessageID(chats.MessageID(now.UnixMicro())), now
	c.messages = append(c.messages, message)
	listed := now
	if s.settings.visibility != nil {
		message.Files = slices.Clone(message.Files)
		listed = now.Add(s.settings.visibility(message))
	}
	c.hidden[message.ID] = true
	s.changed(c)
	s.schedule(now, listed, func() {
		c.update(message)
		s.changed(c)
	})
	s.schedule(now, listed.Add(s.settings.historyLag), func() {
		delete(c.hidden, message.ID)
		s.changed(c)
	})
	return message.ID
}

// nextMessageID returns wanted, or the last ID plus one if wanted is not above the last ID. The ID of
// a message without a time would be negative, and clients would skip the message.
func (c *chat) nextMessageID(wanted chats.MessageID) chats.MessageID {
	if n := len(c.messages); n > 0 {
		return max(wanted, c.messages[n-1].ID+1)
	}
	return max(wanted, 1)
}

// update changes what the list of chats shows after a message.
func (c *chat) update(message chats.Message) {
	if message.CreatedAt.After(c.UpdatedAt) {
		c.UpdatedAt = message.CreatedAt
	}
	switch message.Sender {
	case chats.SenderCustomer:
		c.Status = chats.StatusWaitingForPartner
	case chats.SenderPartner:
		c.Status = chats.StatusWaitingForCustomer
	default:
	}
}

// visible returns the messages that requests can read, ascending.
func (c *chat) visible() []chats.Message {
	if len(c.hidden) == 0 {
		return c.messages
	}
	return slices.DeleteFunc(slices.Clone(c.messages), func(m chats.Message) bool { return c.hidden[m.ID] })
}

// find returns the position of a visible message, or where it would be inserted.
func find(messages []chats.Message, id chats.MessageID) (int, bool) {
	return slices.BinarySearchFunc(messages, id, func(m chats.Message, id chats.MessageID) int {
		return cmp.Compare(m.ID, id)
	})
}
