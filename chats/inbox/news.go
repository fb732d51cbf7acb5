package inbox

import "time"

// news is what is to be found out about a chat. A chat has none while all that is
// known of it is handled.
type news struct {
	moved   time.Time // the newest time known of the chat: its UpdatedAt, or a message's CreatedAt
	sighted time.Time // when that was first seen, by our clock
	newest  time.Time // CreatedAt of the newest message that was read
	woken   time.Time // when a push came whose message is not found yet

	due      time.Time // when the chat is to be looked at next
	index    int       // in the queue; outside while not in it
	failures int       // in a row
}

// outside is the index of a chat that is not in the queue: it is being looked at.
const outside = -1

// When a chat is looked at, counted from what called for it. A look counts for all
// moments before it began.
var (
	// afterMessage: a message that comes in the second of the last one leaves the
	// chat's UpdatedAt as it is, so the chat is looked at once more when that second
	// is over for certain. Market's clock may differ from ours, but when we see a
	// time of its, it is there, and 2 s later its second is over on both.
	afterMessage = []time.Duration{2 * time.Second}
	// afterMove: the list says that something happened, and no message that was read
	// accounts for it. A change of status may have done it, or the history lags
	// behind the list.
	afterMove = []time.Duration{0, 5 * time.Second, time.Minute}
	// afterWake: a push may be faster than the history.
	afterWake = []time.Duration{0, time.Second, 5 * time.Second}
)

// uncovered finds the first of the moments that is not before a look began.
func uncovered(from time.Time, after []time.Duration, began time.Time) (time.Time, bool) {
	for _, pause := range after {
		if moment := from.Add(pause); moment.After(began) {
			return moment, true
		}
	}
	return time.Time{}, false
}

// unsettled says when the chat is to be looked at again until all that is known of
// it is accounted for; not ok where a look that began then has done so.
func (n *news) unsettled(began time.Time) (next time.Time, ok bool) {
	after := afterMove
	if !second(n.newest).Before(second(n.moved)) {
		after = afterMessage
	}
	return uncovered(n.sighted, after, began)
}

// read takes note of the newest message that a look has read.
func (n *news) read(created, now time.Time) {
	n.newest = later(n.newest, created)
	if second(created).After(second(n.moved)) {
		n.moved, n.sighted = created, now
	}
}

// next is when the chat is to be looked at again after a look that began then; not
// ok where there is nothing left to find out. mark is the chat's.
func (n *news) next(mark Mark, began time.Time) (at time.Time, ok bool) {
	if !n.moved.IsZero() && !sameSecond(n.moved, mark.UpdatedAt) {
		at, ok = n.unsettled(began)
	}
	if n.woken.IsZero() {
		return at, ok
	}
	if wake, open := uncovered(n.woken, afterWake, began); open && (!ok || wake.Before(at)) {
		return wake, true
	}
	return at, ok
}

// queue is a container/heap of the chats that are to be looked at, the first due on
// top.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].news.due.Before(q[j].news.due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].news.index, q[j].news.index = i, j
}

func (q *queue) Push(x any) {
	e, _ := x.(*entry)
	e.news.index = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.news.index = outside
	return e
}
