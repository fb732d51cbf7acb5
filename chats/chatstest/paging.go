package chatstest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/ymchats/ymchats-go/chats"
)

// cursor is what a page token contains.
type cursor struct {
	number   int    // of the page, from 0
	position int    // where the page begins; -1: at the beginning
	request  uint64 // fingerprint of the request that the token belongs to
}

const cursorForm = "%d/%d/%x"

func (c cursor) token() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, cursorForm, c.number, c.position, c.request))
}

// pager is the paging of one request.
type pager struct {
	limit int
	token string
	at    cursor
}

// pager reads the paging parameters. A token is valid only for the request that
// it was issued for: limit and body must stay the same on every page.
func (r *request) pager(standard, maximum int, body any) (pager, *problem) {
	limit := standard
	if r.query.Has("limit") {
		n, err := strconv.Atoi(r.query.Get("limit"))
		if err != nil || n < 1 || n > maximum {
			return pager{}, badRequest("Parameter 'limit' must be between 1 and %d", maximum)
		}
		limit = n
	}
	p := pager{limit: limit, token: r.query.Get("pageToken")}
	p.at = cursor{position: -1, request: r.fingerprint(limit, body)}
	if p.token == "" {
		return p, nil
	}
	want := p.at.request
	text, err := base64.RawURLEncoding.DecodeString(p.token)
	if err == nil {
		_, err = fmt.Sscanf(string(text), cursorForm, &p.at.number, &p.at.position, &p.at.request)
	}
	if err != nil || p.at.request != want {
		return pager{}, badRequest("Parameter 'pageToken' is unknown or was issued for another request: '%s'", p.token)
	}
	return p, nil
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

// window is the part of a list that makes a page.
type window struct {
	from, to int
	next     string
}

// window cuts the page out of a list of the given length, counting from its
// beginning or, backwards, from its end.
func (p pager) window(s settings, length int, backwards bool) window {
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

// overlap is smaller than a page, so that the list comes to its end.
func (p pager) overlap(s settings) int {
	if !s.duplicates {
		return 0
	}
	return min(p.limit/2, 2)
}

func (p pager) nextToken(position int) string {
	return cursor{number: p.at.number + 1, position: position, request: p.at.request}.token()
}

// messagePage cuts a page out of ascending messages, in the Market's order.
func (s settings) messagePage(messages []chats.Message, p pager) ([]wireMessage, string) {
	w := p.window(s, len(messages), s.order == NewestPageFirst)
	if s.order == NewestFirst {
		w.from, w.to = len(messages)-w.to, len(messages)-w.from
	}
	page := make([]wireMessage, 0, w.to-w.from)
	for _, message := range messages[w.from:w.to] {
		page = append(page, s.wireMessage(message))
	}
	if s.order == NewestFirst {
		slices.Reverse(page)
	}
	return page, w.next
}
