package chatstest

import (
	"maps"
	"math"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Order is the order in which the history is listed. Market's order is not documented, so
// a program must work with every order.
type Order int

const (
	// OldestFirst lists messages from the oldest to the newest. A message that
	// arrives between two pages is listed at the end.
	OldestFirst Order = iota
	// NewestFirst lists messages from the newest to the oldest and counts from the newest:
	// a message that arrives between two pages shifts the rest, so that the last message
	// of a page is repeated on the next page.
	NewestFirst
	// NewestPageFirst lists pages from the newest to the oldest, with the messages
	// of each page oldest first. A message that arrives between two pages is not
	// listed.
	NewestPageFirst
)

// The defaults of a Market.
const (
	defaultBusiness     chats.BusinessID = 1234567
	defaultParallel                      = 4 // the documented limit
	defaultFileBase                      = "https://api.partner.market.yandex.ru"
	defaultNotification                  = "https://shop.example/market"
)

// Option configures a Market.
type Option func(*settings)

type settings struct {
	business chats.BusinessID
	subjects map[chats.Subject]bool // nil: every order and return exists
	customer func(chats.Subject) chats.Customer

	order          Order
	exclusiveSince bool
	strictSince    bool

	swappedNeighbours bool

	emptyPages     bool
	duplicates     bool
	repeatingToken bool
	constantToken  bool
	tokenLifetime  time.Duration
	maxPage        map[chats.Operation]int
	preciseTimes   bool
	legacyOrderIDs bool
	oddItems       func(map[string]any) // nil: none

	storedText func(string) string
	storedFile func(chats.File) chats.File
	visibility func(chats.Message) time.Duration // nil: immediately
	historyLag time.Duration

	parallel int
	hourly   map[chats.Operation]int
	latency  time.Duration

	fileBase  string
	openFiles bool

	notificationURL string
}

func newSettings(options []Option) settings {
	s := settings{
		business:        defaultBusiness,
		customer:        func(chats.Subject) chats.Customer { return chats.Customer{} },
		storedText:      func(text string) string { return text },
		storedFile:      func(file chats.File) chats.File { return file },
		tokenLifetime:   math.MaxInt64,
		maxPage:         map[chats.Operation]int{},
		parallel:        defaultParallel,
		hourly:          map[chats.Operation]int{},
		fileBase:        defaultFileBase,
		notificationURL: defaultNotification,
	}
	for _, option := range options {
		if option == nil {
			panic("chatstest: an option is nil")
		}
		option(&s)
	}
	return s
}

// WithBusiness sets the business that owns the chats. The default is 1234567.
func WithBusiness(id chats.BusinessID) Option {
	return func(s *settings) { s.business = id }
}

// WithSubjects sets the orders and returns that exist, in addition to the subjects from
// earlier WithSubjects options and from [Market.AddChat]. Opening a chat about any other
// order or return fails with 404. By default every order and return exists.
func WithSubjects(subjects ...chats.Subject) Option {
	return func(s *settings) {
		known := maps.Clone(s.subjects)
		if known == nil {
			known = map[chats.Subject]bool{}
		}
		for _, subject := range subjects {
			known[identity(subject)] = true
		}
		s.subjects = known
	}
}

// WithCustomers sets a function that returns the customer of each chat that a client opens
// about an order or a return. By default the customer has no name. The function must not
// use the Market.
func WithCustomers(customer func(chats.Subject) chats.Customer) Option {
	return func(s *settings) { s.customer = customer }
}

// WithOrder sets the order of the history. The default is [OldestFirst].
func WithOrder(order Order) Option {
	return func(s *settings) { s.order = order }
}

// WithExclusiveSince makes the history omit the message that messageIdFrom names. By default that
// message is included.
func WithExclusiveSince() Option {
	return func(s *settings) { s.exclusiveSince = true }
}

// WithStrictSince makes the history fail with 404 if messageIdFrom names a message
// that the chat does not have or that is not visible yet. By default such an ID selects the
// messages above it.
func WithStrictSince() Option {
	return func(s *settings) { s.strictSince = true }
}

// WithEmptyPages makes the first page of every list, and every third page after it, empty
// except for the token of the next page.
func WithEmptyPages() Option {
	return func(s *settings) { s.emptyPages = true }
}

// WithDuplicates makes every page after the first repeat the last one or two
// items of the page before it. Pages of one item repeat nothing.
func WithDuplicates() Option {
	return func(s *settings) { s.duplicates = true }
}

// WithRepeatingToken makes every list endless: each page after the first returns its own
// token as the token of the next page.
func WithRepeatingToken() Option {
	return func(s *settings) { s.repeatingToken = true }
}

// WithConstantToken makes every page return the same token for the next page: the Market
// remembers the position of each list, as a server with cursors does. A request that is
// retried because its response was lost gets the page after the lost page. Two listings of the
// same list at the same time share its position, so each misses pages.
func WithConstantToken() Option {
	return func(s *settings) { s.constantToken = true }
}

// WithTokenLifetime makes page tokens expire d after they were issued. Requests with an
// expired token fail with 400. If d is 0, no token is accepted.
func WithTokenLifetime(d time.Duration) Option {
	return func(s *settings) { s.tokenLifetime = d }
}

// WithMaxPage lowers the maximum page size of op to n items. op is getChats or getChatHistory. A
// request for more gets a 400.
func WithMaxPage(op chats.Operation, n int) Option {
	return func(s *settings) { s.maxPage[op] = n }
}

// WithSwappedNeighbours swaps every second message of the history with its successor: 1 3 2 5 4.
// With an even page size, page boundaries split pairs. The order is the same on every page.
func WithSwappedNeighbours() Option {
	return func(s *settings) { s.swappedNeighbours = true }
}

// WithPreciseTimes renders times with fractions of a second. By default they are
// truncated to whole seconds, so several messages may have the same time.
func WithPreciseTimes() Option {
	return func(s *settings) { s.preciseTimes = true }
}

// WithLegacyOrderIDs enables the order ID fields that the vendor has disabled:
// orderIds of getChats, and orderId of createChat, chats and histories. By default they are
// ignored in requests, like unknown fields, and absent from responses.
func WithLegacyOrderIDs() Option {
	return func(s *settings) { s.legacyOrderIDs = true }
}

// WithOddItems sets a function that is called with every chat and message of a response,
// decoded from its JSON, before the response is sent. The function may drop fields, set
// them to null, or give them other types; numbers are json.Number. A response that the function has
// altered has the header named by [FaultHeader]. The function must not use the Market.
func WithOddItems(change func(map[string]any)) Option {
	return func(s *settings) { s.oddItems = change }
}

// WithTrimmedTexts removes leading and trailing whitespace from texts before storing them.
func WithTrimmedTexts() Option { return WithStoredText(strings.TrimSpace) }

// WithStoredText sets a function that returns the text to store for each text sent:
// normalised, escaped, masked or truncated, for example. [Market.AddMessage] is not affected.
func WithStoredText(change func(string) string) Option {
	return func(s *settings) { s.storedText = change }
}

// WithStoredFile sets a function that changes how messages show uploaded files: renamed or
// without a size, for example. [Market.Uploads] still returns files as they were sent, and
// [Market.AddFile] is not affected.
func WithStoredFile(change func(chats.File) chats.File) Option {
	return func(s *settings) { s.storedFile = change }
}

// WithVisibility sets a function that returns how long each message remains invisible, as if the
// message were held for review or its file scanned. While a message is invisible, neither the
// history nor the chat's status and time show it. When it becomes visible, newer messages with
// higher IDs may already be visible. Afterwards the chat's UpdatedAt is the time of its newest
// visible message. The function must not use the Market. [Market.Messages] also returns messages
// that are not visible yet.
func WithVisibility(delay func(chats.Message) time.Duration) Option {
	return func(s *settings) { s.visibility = delay }
}

// WithHistoryLag makes the history lag behind the list of chats: a new message changes its
// chat's status and time immediately but appears in the history with a delay of d.
func WithHistoryLag(d time.Duration) Option {
	return func(s *settings) { s.historyLag = d }
}

// WithParallelLimit sets how many API requests may be in flight at once. The
// default is 4; a request beyond the limit fails with 420. Zero or less disables the limit.
func WithParallelLimit(n int) Option {
	return func(s *settings) { s.parallel = n }
}

// WithHourlyLimit enforces an hourly quota of n requests for op. Further requests fail with 420
// until the quota window ends. By default the headers report the documented quotas, but none is
// enforced.
func WithHourlyLimit(op chats.Operation, n int) Option {
	return func(s *settings) { s.hourly[op] = max(n, 0) }
}

// WithLatency delays the processing of every request by d.
func WithLatency(d time.Duration) Option {
	return func(s *settings) { s.latency = d }
}

// WithFileBase sets the base of file URLs. The in-process transport serves files on every host. For
// example, https://files.messenger.yandex.net puts them on a host other than the API's, as the real
// Market appears to do. The default is the host of the real API or, for a [Server], the server's
// URL.
func WithFileBase(url string) Option {
	return func(s *settings) { s.fileBase = strings.TrimSuffix(url, "/") }
}

// WithOpenFiles serves files without a credential. By default a request for a
// file fails with 403 unless the request has the Market's key, or the Market's token with the
// scheme Bearer or OAuth ([chats.AttachmentOAuth] sends the latter).
func WithOpenFiles() Option {
	return func(s *settings) { s.openFiles = true }
}

// WithNotificationURL sets the URL for notifications as it would be entered in the
// seller's cabinet. [Market.Notify] appends /notification to it, even if it ends with a slash. The
// default is https://shop.example/market.
func WithNotificationURL(url string) Option {
	return func(s *settings) { s.notificationURL = url }
}
