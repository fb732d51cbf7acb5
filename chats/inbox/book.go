package inbox

import (
	"container/heap"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// entry is what is known of a chat: about 250 bytes, and as much again while
// something is going on in it.
type entry struct {
	id     chats.ChatID
	chat   chats.Chat // as it was last read; without an ID while only the mark or a push is known
	seen   time.Time  // when it was read
	listed bool       // Market listed it, so it matches the filter
	mark   Mark       // as it stands in the store
	news   *news
}

func (e *entry) queued() bool { return e.news != nil && e.news.index != outside }

// stranger: nothing but a push tells of the chat.
func (e *entry) stranger() bool { return e.chat.ID == 0 && e.mark.isZero() }

// book is what the inbox knows of all chats, and which it is to look at next.
type book struct {
	followed time.Time     // messages from before are not delivered
	changed  chan struct{} // holds one element when another chat is to be looked at next

	mu        sync.Mutex
	entries   map[chats.ChatID]*entry
	queue     queue
	strangers int
	closed    time.Time     // nothing is looked at before
	gap       time.Duration // between two looks
}

// newBook begins with the marks of the store.
func newBook(marks map[chats.ChatID]Mark, followed time.Time) *book {
	b := &book{
		followed: followed,
		changed:  make(chan struct{}, 1),
		entries:  make(map[chats.ChatID]*entry, len(marks)),
	}
	for id, mark := range marks {
		if id > 0 {
			b.entries[id] = &entry{id: id, mark: mark}
		}
	}
	return b
}

// listed takes note of a chat as the list shows it.
func (b *book) listed(chat chats.Chat, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(chat.ID)
	e.listed = true
	b.learn(e, chat, now)
}

// read takes note of a chat that was read by itself.
func (b *book) read(e *entry, chat chats.Chat, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learn(e, chat, now)
}

func (b *book) learn(e *entry, chat chats.Chat, now time.Time) {
	if e.stranger() && e.news != nil {
		b.strangers--
	}
	e.chat, e.seen = chat, now
	known := e.mark.UpdatedAt
	if e.news != nil && !e.news.moved.IsZero() {
		known = e.news.moved
	}
	if sameSecond(chat.UpdatedAt, known) || b.isOld(e) {
		return
	}
	n := b.newsOf(e)
	n.moved, n.sighted = chat.UpdatedAt, now
	b.schedule(e, now)
}

// isOld: whether all that the chat has is from before the business was followed.
func (b *book) isOld(e *entry) bool {
	return e.mark.isZero() && second(e.chat.UpdatedAt).Before(b.followed)
}

// aheadOfSweeps puts a chat that was woken before all that a sweep has found.
const aheadOfSweeps = time.Hour

// wake has a chat looked at because of a push.
func (b *book) wake(id chats.ChatID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(id)
	if e.news == nil && e.stranger() {
		if b.strangers >= maxWakes {
			delete(b.entries, id)
			return
		}
		b.strangers++
	}
	b.newsOf(e).woken = now
	b.schedule(e, now.Add(-aheadOfSweeps))
}

// glance has a chat looked at once.
func (b *book) glance(id chats.ChatID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(id)
	b.newsOf(e)
	b.schedule(e, now)
}

func (b *book) entry(id chats.ChatID) *entry {
	e := b.entries[id]
	if e == nil {
		e = &entry{id: id}
		b.entries[id] = e
	}
	return e
}

func (b *book) newsOf(e *entry) *news {
	if e.news == nil {
		e.news = &news{due: never}
		heap.Push(&b.queue, e)
	}
	return e.news
}

// never is when a chat is due until it is scheduled.
var never = time.Unix(1<<40, 0)

// schedule has a queued chat looked at no later than at the given time. A chat that
// is being looked at is put back when that look ends; one that failed waits for its
// pause.
func (b *book) schedule(e *entry, at time.Time) {
	if !e.queued() || e.news.failures > 0 || !at.Before(e.news.due) {
		return
	}
	e.news.due = at
	heap.Fix(&b.queue, e.news.index)
	signal(b.changed)
}

// due takes the chat out of the queue that is to be looked at now, or says how long
// nothing is to be done.
func (b *book) due(now time.Time) (e *entry, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return nil, longestPause
	}
	at := later(b.queue[0].news.due, b.closed)
	if at.After(now) {
		return nil, at.Sub(now)
	}
	b.closed = now.Add(b.gap)
	e, _ = heap.Pop(&b.queue).(*entry)
	return e, 0
}

// close has nothing looked at for a while.
func (b *book) close(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = later(b.closed, until)
}

// space sets how long to wait between two looks.
func (b *book) space(gap time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gap = gap
}

// state is what is known of a chat that was taken out of the queue. woken is when a
// push came for it, or the zero time.
func (b *book) state(e *entry) (known entry, woken time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *e, e.news.woken
}

// moved takes note of a mark that was moved.
func (b *book) moved(e *entry, mark Mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.mark = mark
}

// adopt takes over the marks that other workers have moved on.
func (b *book) adopt(marks map[chats.ChatID]Mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, mark := range marks {
		e := b.entries[id]
		if e != nil && !e.stranger() && e.mark.Message < mark.Message && (e.news == nil || e.queued()) {
			e.mark = mark
		}
	}
}

// account takes note of what a look found, newest being the newest message's time,
// and says whether all that is known of the chat is handled now, as of which time.
func (b *book) account(e *entry, l *look, now time.Time) (asOf time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.found && !e.news.woken.After(l.began) {
		e.news.woken = time.Time{}
	}
	e.news.read(l.newest, now)
	if e.news.moved.IsZero() {
		return time.Time{}, false
	}
	_, open := e.news.unsettled(l.began)
	return second(e.news.moved), !open
}

// finish ends a look that went well: the chat is put back until the next one, or
// is done with.
func (b *book) finish(e *entry, began time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.news.failures = 0
	if at, ok := e.news.next(e.mark, began); ok {
		if !e.news.woken.IsZero() && at.Equal(e.news.woken) { // a push came meanwhile
			at = at.Add(-aheadOfSweeps)
		}
		b.putBack(e, at)
		return
	}
	e.news = nil
}

// retry ends a look that failed: the chat is put back for a while that grows with
// every failure in a row.
func (b *book) retry(e *entry, progressed bool, longest time.Duration, now time.Time) (pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if progressed {
		e.news.failures = 0
	}
	e.news.failures++
	pause = backoff(e.news.failures, longest)
	b.putBack(e, now.Add(pause))
	return pause
}

// drop forgets a push: the chat does not exist, or does not match.
func (b *book) drop(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.stranger() {
		b.strangers--
		delete(b.entries, e.id)
	}
	e.news = nil
}

func (b *book) putBack(e *entry, at time.Time) {
	e.news.due = at
	heap.Push(&b.queue, e)
	signal(b.changed)
}
