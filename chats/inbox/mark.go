package inbox

import "time"

// Times are compared, and written into marks, by the second. Market may cut them
// to it, and by the second is enough: a second counts as looked at only when it
// was over, see news.unsettled.
func second(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

func sameSecond(a, b time.Time) bool { return second(a).Equal(second(b)) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// earliest is older than every chat of Market, and not the zero time, which some
// stores may keep as 1970.
var earliest = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)

func (m Mark) equal(other Mark) bool {
	return m.Message == other.Message && m.UpdatedAt.Equal(other.UpdatedAt)
}

func (m Mark) isZero() bool { return m.equal(Mark{}) }
