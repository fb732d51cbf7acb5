package inbox

import (
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// pace keeps the requests within what the server says of the hour's allowance.
type pace struct {
	client  *chats.Client
	reserve float64 // the part that is left to others
}

// window is how long the allowance's hours are.
const window = time.Hour

// left is how long the hour still lasts, as far as the two clocks agree. To be asked
// for just after an answer came: only then an hour that seems to be over means that
// the clocks differ.
func left(limit chats.Limit, now time.Time) time.Duration {
	if d := limit.Until.Sub(now); d > 0 && d <= window {
		return d
	}
	return window
}

// spare is how many requests there are above the reserve; not ok before the server
// has said anything.
func (p pace) spare(op chats.Operation) (spare float64, limit chats.Limit, ok bool) {
	limit, ok = p.client.Limit(op)
	if !ok || limit.Max == 0 {
		return 0, limit, false
	}
	return float64(limit.Remaining) - p.reserve*float64(limit.Max), limit, true
}

// isShort: only the reserve remains. To be asked for just after an answer came.
func (p pace) isShort(op chats.Operation) bool {
	spare, _, ok := p.spare(op)
	return ok && spare < 1
}

// mayAsk: whether more than the reserve remains, or the hour that the server last
// spoke of is over.
func (p pace) mayAsk(op chats.Operation) bool {
	limit, _ := p.client.Limit(op)
	return !p.isShort(op) || !time.Now().Before(limit.Until)
}

// spread is how long to rest so that requests that cost as much again and again are
// spread over what is left of the hour.
func (p pace) spread(op chats.Operation, cost int) time.Duration {
	spare, limit, ok := p.spare(op)
	if !ok {
		return 0
	}
	rest := left(limit, time.Now())
	if float64(cost) >= spare {
		return rest
	}
	return time.Duration(float64(rest) * float64(cost) / spare)
}

// gap is how far apart single requests are to be: not at all while more than the
// reserve remains, else so that they leave the reserve's part of what remains.
func (p pace) gap(op chats.Operation) time.Duration {
	spare, limit, ok := p.spare(op)
	if !ok || spare >= 1 {
		return 0
	}
	requests := max(1, (1-p.reserve)*float64(limit.Remaining))
	return time.Duration(float64(left(limit, time.Now())) / requests)
}

// budget is how many requests an hour may cost.
func (p pace) budget(op chats.Operation, otherwise int) float64 {
	most := otherwise
	if limit, ok := p.client.Limit(op); ok && limit.Max > 0 {
		most = limit.Max
	}
	return max(1, (1-p.reserve)*float64(most))
}

// blocked is how long to wait after a 420. The client refuses by itself until the
// hour is over, so that it costs nothing to try every minute; that is safer than to
// trust two clocks.
func (p pace) blocked(err error) time.Duration {
	var failed *chats.Error
	if errors.As(err, &failed) && failed.Limit != nil && failed.Limit.Kind == chats.LimitHourly {
		return min(left(*failed.Limit, time.Now()), longestPause)
	}
	return time.Second
}
