package chatstest

import (
	"maps"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Option changes how a Market behaves.
type Option func(*settings)

type settings struct {
	business chats.BusinessID
	subjects map[chats.Subject]bool // nil: every order and return exists

	order          Order
	exclusiveSince bool
	emptyPages     bool
	duplicates     bool
	repeatingToken bool
	preciseTimes   bool
	trimmedTexts   bool

	parallel int
	hourly   map[chats.Operation]int
	latency  time.Duration

	fileBase  string
	openFiles bool

	notifications string
}

func defaultSettings() settings {
	return settings{
		business: defaultBusiness,
		parallel: parallelLimit,
		hourly:   map[chats.Operation]int{},
		fileBase: defaultFileBase,

		notifications: "https://shop.example",
	}
}

// WithBusiness names the business whose chats the Market has; 1234567 by default.
func WithBusiness(id chats.BusinessID) Option {
	return func(s *settings) { s.business = id }
}

// WithSubjects names the orders and returns that exist. To open a chat about any
// other one is answered 404. By default every number exists. What a chat added
// by [Market.AddChat] is about exists in any case.
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

// WithOrder sets the order in which the history comes; [OldestFirst] by default.
func WithOrder(order Order) Option {
	return func(s *settings) { s.order = order }
}

// WithExclusiveSince leaves the message that messageIdFrom names out of the
// history. By default it comes.
func WithExclusiveSince() Option {
	return func(s *settings) { s.exclusiveSince = true }
}

// WithEmptyPages makes the first page of every list, and every third one after
// it, empty but for the token of the next.
func WithEmptyPages() Option {
	return func(s *settings) { s.emptyPages = true }
}

// WithDuplicates lets every page after the first repeat the last one or two
// items of the page before. Pages of one item repeat nothing.
func WithDuplicates() Option {
	return func(s *settings) { s.duplicates = true }
}

// WithRepeatingToken makes every list endless: each page after the first names
// its own token as the next one.
func WithRepeatingToken() Option {
	return func(s *settings) { s.repeatingToken = true }
}

// WithPreciseTimes renders times with their fractions of a second. By default
// they are cut to whole seconds, so that several messages may share one.
func WithPreciseTimes() Option {
	return func(s *settings) { s.preciseTimes = true }
}

// WithTrimmedTexts cuts the spaces off both ends of the texts that are sent.
func WithTrimmedTexts() Option {
	return func(s *settings) { s.trimmedTexts = true }
}

// WithParallelLimit sets how many API requests may be under way at once; 4 by
// default. One more is answered 420. Zero or less switches the limit off.
func WithParallelLimit(n int) Option {
	return func(s *settings) { s.parallel = n }
}

// WithHourlyLimit lets an operation be called n times in every hour of the
// clock; more is answered 420 until the hour is over. By default the headers
// tell the documented limits, but nothing is refused.
func WithHourlyLimit(op chats.Operation, n int) Option {
	return func(s *settings) { s.hourly[op] = max(n, 0) }
}

// WithLatency makes every request take d before it is processed.
func WithLatency(d time.Duration) Option {
	return func(s *settings) { s.latency = d }
}

// WithFileBase sets the address that the URLs of files begin with. A Market in
// process serves them on every host, so that https://files.messenger.yandex.net
// puts them on a foreign one, as on the real Market. By default they are beside
// the API.
func WithFileBase(url string) Option {
	return func(s *settings) { s.fileBase = url }
}

// WithOpenFiles serves files without a credential. By default a request for one
// without the Market's key or token is answered 403.
func WithOpenFiles() Option {
	return func(s *settings) { s.openFiles = true }
}

// WithNotificationURL is the address for notifications as it would be given in the
// cabinet: [Market.Notify] posts to it with /notification behind. By default it is
// https://shop.example.
func WithNotificationURL(url string) Option {
	return func(s *settings) { s.notifications = strings.TrimSuffix(url, "/") }
}
