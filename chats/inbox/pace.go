package inbox

import (
	"errors"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// pace keeps the requests within what the server says of the hour's allowance.
type pace struct {
	client  *chats.Client
	reserve float64 // the part that is left to others

	mu    sync.Mutex
	hours map[chats.Operation]hour
}

// hour is what the server said last of an operation's hour.
type hour struct {
	limit chats.Limit
	ends  time.Time // by our clock
}

// window is how long the allowance's hours are.
const window = time.Hour

func newPace(client *chats.Client, reserve float64) *pace {
	return &pace{client: client, reserve: reserve, hours: map[chats.Operation]hour{}}
}

// note takes in what an answer has said. It is called after every answer, because
// only then an hour that seems to be over means that the clocks differ; how long it
// lasts is not known then, and taken to be a whole hour.
func (p *pace) note(op chats.Operation) {
	limit, ok := p.client.Limit(op)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok && limit != p.hours[op].limit {
		now := time.Now()
		p.hours[op] = hour{limit, now.Add(left(limit, now))}
	}
}

func left(limit chats.Limit, now time.Time) time.Duration {
	if d := limit.Until.Sub(now); d > 0 && d <= window {
		return d
	}
	return window
}

// spare is how many requests there are above the reserve, for how long; not ok
// before the server has said anything of this hour.
func (p *pace) spare(op chats.Operation) (spare float64, rest time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hours[op]
	rest = time.Until(h.ends)
	return float64(h.limit.Remaining) - p.reserve*float64(h.limit.Max), rest, h.limit.Max > 0 && rest > 0
}

// isShort: only the reserve remains.
func (p *pace) isShort(op chats.Operation) bool {
	spare, _, ok := p.spare(op)
	return ok && spare < 1
}

// spread is how long to rest so that requests that cost as much again and again are
// spread over what is left of the hour.
func (p *pace) spread(op chats.Operation, cost int) time.Duration {
	spare, rest, ok := p.spare(op)
	switch {
	case !ok:
		return 0
	case float64(cost) >= spare:
		return rest
	default:
		return time.Duration(float64(rest) * float64(cost) / spare)
	}
}

// gap is how far apart single requests are to be: not at all while more than the
// reserve remains, else so that they leave the reserve's part of what remains.
func (p *pace) gap(op chats.Operation) time.Duration {
	spare, rest, ok := p.spare(op)
	if !ok || spare >= 1 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := max(1, (1-p.reserve)*float64(p.hours[op].limit.Remaining))
	return min(time.Duration(float64(rest)/requests), longestPause)
}

// budget is how many requests an hour may cost.
func (p *pace) budget(op chats.Operation, otherwise int) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.hours[op].limit.Max
	if most == 0 {
		most = otherwise
	}
	return max(1, (1-p.reserve)*float64(most))
}

// blocked is how long to wait after a 420. The client refuses by itself until the
// hour is over, so that it costs nothing to try every minute; that is safer than to
// trust two clocks.
func (p *pace) blocked(err error) time.Duration {
	var failed *chats.Error
	if errors.As(err, &failed) && failed.Limit != nil && failed.Limit.Kind == chats.LimitHourly {
		return min(left(*failed.Limit, time.Now()), longestPause)
	}
	return time.Second
}
