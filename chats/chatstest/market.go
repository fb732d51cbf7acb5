package chatstest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// defaultBusiness is the business of a Market made without [WithBusiness].
const defaultBusiness chats.BusinessID = 1234567

// The credentials of every Market have the documented form, and open nothing
// anywhere else.
const (
	fakeKey   = "ACMA:NotARealKeyNotARealKeyNotARealKeyNotARea:00c0ffee"
	fakeToken = "y0_not-a-real-token-of-chatstest" //nolint:gosec // no credential, as it says
)

// defaultFileBase is where files are said to be: beside the API, as in process
// one Market answers for every host.
const defaultFileBase = "https://api.partner.market.yandex.ru"

// Market is the chats section of the Partner API in memory, for one business.
// Make one with [NewMarket] or [NewServer]; the zero Market is not usable. All
// methods may be called from several goroutines at once.
//
// Methods that take a chat's id panic when there is no such chat: a test that
// names one is wrong.
type Market struct {
	settings settings

	mu     sync.Mutex // guards everything below but failFunc
	key    string
	chats  map[chats.ChatID]*chat
	listed []*chat               // the same, see newestFirst
	files  map[string]servedFile // by path
	late   []*request            // to be processed at their time; see ProcessLate
	limits limits
	faults map[chats.Operation][]Fault
	calls  map[chats.Operation]int
	serial int // of files and of what AddChat fills in
	traces int

	pushing chan struct{} // held by the notification that is being delivered

	failMu   sync.Mutex
	failFunc func(chats.Operation, int) Fault
}

// chat is a conversation with everything it holds.
type chat struct {
	chats.Chat

	messages []chats.Message // ascending
	uploads  []Upload
}

// Upload is a file as it reached the Market in a sendFileToChat.
type Upload struct {
	Name        string
	ContentType string // as the part's header has it
	Data        []byte
}

// NewMarket makes a Market without chats.
func NewMarket(options ...Option) *Market {
	m := &Market{
		settings: defaultSettings(),
		key:      fakeKey,
		chats:    map[chats.ChatID]*chat{},
		files:    map[string]servedFile{},
		faults:   map[chats.Operation][]Fault{},
		calls:    map[chats.Operation]int{},
		pushing:  make(chan struct{}, 1),
	}
	for _, option := range options {
		option(&m.settings)
	}
	m.limits = newLimits(m.settings)
	return m
}

// Client makes a client of this Market, in process. Its base URL is the real
// one, but nothing leaves the process. Options come after the Market's own, so
// that WithHTTPClient puts another transport around [Market.Transport]. It
// panics when [chats.New] refuses the options.
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

// Business is the business whose chats the Market has. Every other one is answered 403.
func (m *Market) Business() chats.BusinessID { return m.settings.business }

// Key is the Api-Key that the Market accepts.
func (m *Market) Key() string {
	m.lock()
	defer m.mu.Unlock()
	return m.key
}

// SetKey replaces the Api-Key that the Market accepts: the old one is answered
// 401 from now on.
func (m *Market) SetKey(key string) {
	m.lock()
	defer m.mu.Unlock()
	m.key = key
}

// Token is the OAuth token that the Market accepts.
func (m *Market) Token() string { return fakeToken }

// AddChat adds a chat and returns its id. What is zero is filled in: the id,
// a Subject (a new order), ChatTypeChat, StatusNew, and both times (now). It
// panics when the id is taken.
func (m *Market) AddChat(c chats.Chat) chats.ChatID {
	m.lock()
	defer m.mu.Unlock()
	return m.add(c, time.Now()).ID
}

func (m *Market) add(c chats.Chat, now time.Time) *chat {
	if c.ID == 0 {
		c.ID = m.freeChatID()
	}
	if m.chats[c.ID] != nil {
		panic(fmt.Sprintf("chatstest: chat %d is there already", c.ID))
	}
	if c.Type == "" {
		c.Type = chats.ChatTypeChat
	}
	if c.Status == "" {
		c.Status = chats.StatusNew
	}
	if c.CreatedAt.IsZero() {
		c.CreatedAt = now
	}
	if c.UpdatedAt.IsZero() {
		c.UpdatedAt = c.CreatedAt
	}
	c.Subject = m.fillSubject(c.Subject)
	added := &chat{Chat: c}
	m.chats[c.ID] = added
	m.listed = append(m.listed, added)
	return added
}

func (m *Market) freeChatID() chats.ChatID {
	for {
		if id := chats.ChatID(70_000_000 + m.next()); m.chats[id] == nil {
			return id
		}
	}
}

// fillSubject names the kind by the numbers that are given, and gives orders and
// returns the number of an order, as Market does.
func (m *Market) fillSubject(s chats.Subject) chats.Subject {
	switch {
	case s.Kind != "":
	case s.Return != 0:
		s.Kind = chats.SubjectReturn
	default:
		s.Kind = chats.SubjectOrder
	}
	if s.Order == 0 && (s.Kind == chats.SubjectOrder || s.Kind == chats.SubjectReturn) {
		s.Order = chats.OrderID(50_000_000 + m.next())
	}
	return s
}

// CustomerSays posts a message of the buyer and returns its id. The chat then
// waits for the shop. Without text and files it is a sticker. For files that
// can be downloaded see [Market.AddFile].
func (m *Market) CustomerSays(id chats.ChatID, text string, files ...chats.File) chats.MessageID {
	return m.AddMessage(id, chats.SenderCustomer, text, files...)
}

// AddMessage posts a message of any sender and returns its id. A message of the buyer
// leaves the chat waiting for the shop, one of the shop leaves it waiting for
// the buyer, any other leaves its status alone. Without text and files it is a
// sticker. Unlike a request it may also write into a finished chat.
func (m *Market) AddMessage(id chats.ChatID, sender chats.Sender, text string, files ...chats.File) chats.MessageID {
	m.lock()
	defer m.mu.Unlock()
	message := chats.Message{Sender: sender, Text: text, Files: slices.Clone(files)}
	return m.mustChat(id).post(message, time.Now())
}

// post appends a message. Ids are the microseconds since 1970, or the next free
// number where several messages share one.
func (c *chat) post(message chats.Message, now time.Time) chats.MessageID {
	message.ID, message.CreatedAt = chats.MessageID(now.UnixMicro()), now
	if n := len(c.messages); n > 0 {
		message.ID = max(message.ID, c.messages[n-1].ID+1)
	}
	c.messages = append(c.messages, message)
	c.UpdatedAt = now
	switch message.Sender {
	case chats.SenderCustomer:
		c.Status = chats.StatusWaitingForPartner
	case chats.SenderPartner:
		c.Status = chats.StatusWaitingForCustomer
	default:
	}
	return message.ID
}

// SetStatus changes a chat's status, and nothing else of it.
func (m *Market) SetStatus(id chats.ChatID, status chats.Status) {
	m.lock()
	defer m.mu.Unlock()
	m.mustChat(id).Status = status
}

// FinishChat closes a chat: messages and files sent to it are answered 400 from now on.
func (m *Market) FinishChat(id chats.ChatID) { m.SetStatus(id, chats.StatusFinished) }

// Chat is a chat as a client would read it now.
func (m *Market) Chat(id chats.ChatID) chats.Chat {
	m.lock()
	defer m.mu.Unlock()
	return m.settings.shown(m.mustChat(id).Chat)
}

// Chats is every chat of the Market as a client would read it now, the one with
// the newest message first.
func (m *Market) Chats() []chats.Chat {
	m.lock()
	defer m.mu.Unlock()
	list := make([]chats.Chat, 0, len(m.chats))
	for _, c := range m.newestFirst() {
		list = append(list, m.settings.shown(c.Chat))
	}
	return list
}

// Messages is what a chat holds, oldest first, as a client would read it.
func (m *Market) Messages(id chats.ChatID) []chats.Message {
	m.lock()
	defer m.mu.Unlock()
	held := slices.Clone(m.mustChat(id).messages)
	for i := range held {
		held[i].Files = slices.Clone(held[i].Files)
		held[i].CreatedAt = m.settings.stamp(held[i].CreatedAt)
	}
	return held
}

// Uploads is every file that was sent into a chat through the API, oldest first.
func (m *Market) Uploads(id chats.ChatID) []Upload {
	m.lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mustChat(id).uploads)
}

// Calls counts the requests that were made for an operation, or for [OpDownload]:
// those too that a limit or a fault refused.
func (m *Market) Calls(op chats.Operation) int {
	m.lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// PeakParallel is the highest number of API requests that were ever under way at
// once. A request is under way from its arrival until the last byte of its
// answer has gone out or, in process, until the answer has been read or closed.
func (m *Market) PeakParallel() int {
	m.lock()
	defer m.mu.Unlock()
	return m.limits.mostUnderWay
}

// lock also lets happen what was postponed until now.
func (m *Market) lock() {
	m.mu.Lock()
	m.settle(time.Now())
}

// settle processes the late requests whose time has come.
func (m *Market) settle(now time.Time) {
	if len(m.late) == 0 {
		return
	}
	slices.SortStableFunc(m.late, func(a, b *request) int { return a.at.Compare(b.at) })
	for len(m.late) > 0 && !m.late[0].at.After(now) {
		r := m.late[0]
		m.late = m.late[1:]
		m.handle(r)
	}
}

func (m *Market) mustChat(id chats.ChatID) *chat {
	c := m.chats[id]
	if c == nil {
		panic(fmt.Sprintf("chatstest: there is no chat %d", id))
	}
	return c
}

// newestFirst is the order of the list of chats. The list is kept, as most of the
// time it is in order still.
func (m *Market) newestFirst() []*chat {
	if !slices.IsSortedFunc(m.listed, laterFirst) {
		slices.SortFunc(m.listed, laterFirst)
	}
	return m.listed
}

func laterFirst(a, b *chat) int {
	if byTime := b.UpdatedAt.Compare(a.UpdatedAt); byTime != 0 {
		return byTime
	}
	return cmp.Compare(b.ID, a.ID)
}

func (m *Market) next() int {
	m.serial++
	return m.serial
}

// shown is a chat with its times as they are rendered.
func (s settings) shown(c chats.Chat) chats.Chat {
	c.CreatedAt, c.UpdatedAt = s.stamp(c.CreatedAt), s.stamp(c.UpdatedAt)
	return c
}

func (s settings) fileURL(path string) string { return strings.TrimSuffix(s.fileBase, "/") + path }
