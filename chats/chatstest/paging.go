package chatstest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// pager is the paging state of one request.
type pager struct {
	store *store
	limit int
	token string
	at    cursor
	now   time.Time
}

// pager reads the paging parameters. A token is valid only for the request that
// it was issued for: limit and body must stay the same on every page.
func (s *store) pager(r *request, standard, maximum int, body any) (pager, *problem) {
	if n, lowered := s.settings.maxPage[r.op]; lowered {
		maximum = n
	}
	limit := min(standard, maximum)
	if r.query.Has("limit") {
		n, err := strconv.Atoi(r.query.Get("limit"))
		if err != nil || n < 1 || n > maximum {
			return pager{}, badRequest("Parameter 'limit' must be between 1 and %d", maximum)
		}
		limit = n
	}
	p := pager{store: s, limit: limit, token: r.query.Get("pageToken"), now: r.at}
	p.at = cursor{position: -1, request: r.fingerprint(limit, body)}
	if p.token == "" {
		return p, nil
	}
	return p, p.resume()
}

// resume continues the list at the token.
func (p *pager) resume() *problem {
	at, err := parseToken(p.token)
	if p.token == constantToken {
		at, err = p.store.cursors[p.at.request], nil
	}
	if err != nil || at.request != p.at.request {
		return badRequest("Parameter 'pageToken' is unknown or was issued for another request: '%s'", p.token)
	}
	if at.isExpired(p.now, p.store.settings.tokenLifetime) {
		return badRequest("Parameter 'pageToken' has expired: '%s'", p.token)
	}
	p.at = at
	return nil
}

func (r *request) fingerprint(limit int, body any) uint64 {
	text, err := json.Marshal(body)
	if err != nil {
		panic("chatstest: " + err.Error()) // it was decoded from JSON
	}
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%s %s %d %s", r.op, r.query.Get("chatId"), limit, text)
	return hash.Sum64()
}

// window is the part of a list that forms a page.
type window struct {
	from, to int
	next     string
}

// window cuts the page out of a list of the given length, counting from its
// beginning or, backwards, from its end.
func (p *pager) window(length int, backwards bool) window {
	s := p.store.settings
	if s.emptyPages && p.at.number%3 == 0 {
		return window{next: p.nextToken(p.at.position)}
	}
	var w window
	var after int
	var more bool
	if backwards {
		end := length
		if p.at.position >= 0 {
			end = min(p.at.position, length)
		}
		w.from, w.to = max(end-p.limit, 0), end
		after, more = w.from+p.overlap(s), w.from > 0
	} else {
		w.from = min(max(p.at.position, 0), length)
		w.to = min(w.from+p.limit, length)
		after, more = w.to-p.overlap(s), w.to < length
	}
	switch {
	case s.repeatingToken && p.token != "":
		w.next = p.token
	case s.repeatingToken || more:
		w.next = p.nextToken(after)
	}
	return w
}

// overlap returns how many items of the previous page are repeated: fewer than a page has,
// so that the list ends.
func (p *pager) overlap(s settings) int {
	if !s.duplicates {
		return 0
	}
	return min(p.limit/2, 2)
}

func (p *pager) nextToken(position int) string {
	next := p.at
	next.number, next.position, next.issued = p.at.number+1, position, p.now.UnixNano()
	if p.store.settings.constantToken {
		p.store.cursors[p.at.request] = next
		return constantToken
	}
	return next.token()
}

// messagePage cuts a page out of ascending messages, in the Market's order.
func (p *pager) messagePage(messages []chats.Message) ([]wireMessage, string) {
	s := p.store.settings
	if p.token == "" && s.order != OldestFirst {
		p.at.parity = len(messages) % 2
	}
	w := p.window(len(messages), s.order == NewestPageFirst)
	if s.order == NewestFirst {
		w.from, w.to = len(messages)-w.to, len(messages)-w.from
	}
	page := make([]wireMessage, 0, w.to-w.from)
	for i := w.from; i < w.to; i++ {
		page = append(page, s.wireMessage(messages[p.swapped(i, len(messages))]))
	}
	if s.order == NewestFirst {
		slices.Reverse(page)
	}
	return page, w.next
}

// swapped returns the position of the message that is listed at position i. The
// pairs stay the same from page to page, so that the order is stable.
func (p *pager) swapped(i, length int) int {
	if !p.store.settings.swappedNeighbours {
		return i
	}
	neighbour := i - 1
	if i%2 != p.at.parity {
		neighbour = i + 1
	}
	if neighbour < 0 || neighbour >= length {
		return i
	}
	return neighbour
}
