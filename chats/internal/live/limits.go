package live

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/gen"
)

// pageLimits exceeds the documented page sizes, which the library itself never does.
func (p *probe) pageLimits() {
	p.report.add("page limits of chats", "%s", p.limitsOf(chats.MaxChatsPage, p.rawChats))
	if p.sample.chat.ID == 0 {
		p.report.add("page limits of messages", TooFew)
		return
	}
	p.report.add("page limits of messages", "%s", p.limitsOf(chats.MaxHistoryPage, p.rawHistory))
}

// rawRequest makes a request with a page size, or without one if limit is nil.
type rawRequest func(ctx context.Context, limit *int32) (*http.Response, error)

func (p *probe) rawChats(ctx context.Context, limit *int32) (*http.Response, error) {
	return p.client.API().GetChats(ctx, int64(p.config.Business), &gen.GetChatsParams{Limit: limit}, gen.GetChatsRequest{})
}

func (p *probe) rawHistory(ctx context.Context, limit *int32) (*http.Response, error) {
	return p.client.API().GetChatHistory(ctx, int64(p.config.Business),
		&gen.GetChatHistoryParams{ChatID: int64(p.sample.chat.ID), Limit: limit}, gen.GetChatHistoryRequest{})
}

func (p *probe) limitsOf(maximum int32, send rawRequest) string {
	above := maximum + 1
	atMaximum, _ := p.pageOf(p.ctx, &maximum, send)
	beyond, _ := p.pageOf(contract.Skip(p.ctx), &above, send)
	_, without := p.pageOf(p.ctx, nil, send)
	return fmt.Sprintf("%d: %s; %d: %s; without: %s", maximum, atMaximum, above, beyond, without)
}

// pageOf returns the status of the response and, if another page follows, the number of its
// items.
func (p *probe) pageOf(ctx context.Context, limit *int32, send rawRequest) (status, items string) {
	resp, err := send(ctx, limit)
	if err != nil {
		return "no response", "no response"
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Result struct {
			Chats, Messages []struct{}
			Paging          struct{ NextPageToken string }
		}
	}
	status = strconv.Itoa(resp.StatusCode)
	if json.NewDecoder(resp.Body).Decode(&body) != nil {
		return status, "no list"
	}
	if body.Result.Paging.NextPageToken == "" {
		return status, TooFew
	}
	return status, fmt.Sprintf("%d a page", len(body.Result.Chats)+len(body.Result.Messages))
}

// headers reports on the headers of all responses.
func (p *probe) headers() {
	all := p.traffic.exchanges()
	p.report.add("limit headers", "%s", presence(all, "X-RateLimit-Resource-Limit", "X-RateLimit-Resource-Remaining", "X-RateLimit-Resource-Until"))
	p.report.add("Date, traceparent", "%s; %s", presence(all, "Date"), presence(all, "Traceparent"))
	p.report.add("hourly limits", "%s", hourly(all))
	p.report.add("Remaining", "%s", countdown(all))
	p.report.add("Until", "%s", untils(all))
}

// presence reports how many responses had all of the headers.
func presence(all []exchange, names ...string) string {
	missing := map[string]bool{}
	have := 0
	for _, e := range all {
		if slices.ContainsFunc(names, func(name string) bool { return e.header.Get(name) == "" }) {
			missing[string(e.operation)+" "+strconv.Itoa(e.status)] = true
			continue
		}
		have++
	}
	text := share(have, len(all))
	if len(missing) > 0 {
		text += ", missing on " + sortedList(missing)
	}
	return text
}

func sortedList(set map[string]bool) string {
	all := make([]string, 0, len(set))
	for text := range set {
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func hourly(all []exchange) string {
	quotas := map[string]bool{}
	for _, e := range all {
		n, err := strconv.Atoi(e.header.Get("X-RateLimit-Resource-Limit"))
		if err != nil {
			continue
		}
		text := fmt.Sprintf("%s %d", e.operation, n)
		if want := contract.RateLimits()[e.operation]; n != want {
			text += fmt.Sprintf(" (the contract says %d)", want)
		}
		quotas[text] = true
	}
	return cmp.Or(sortedList(quotas), "not reported")
}

// countdown reports how Remaining changes between consecutive responses of an operation.
func countdown(all []exchange) string {
	last := map[chats.Operation]int{}
	steps := map[string]bool{}
	for _, e := range all {
		n, err := strconv.Atoi(e.header.Get("X-RateLimit-Resource-Remaining"))
		if err != nil {
			continue
		}
		if before, ok := last[e.operation]; ok {
			steps[fmt.Sprintf("%+d", n-before)] = true
		}
		last[e.operation] = n
	}
	return "changes between responses by " + cmp.Or(sortedList(steps), "an unknown number")
}

// untils reports on the dates of Until. It parses them leniently, because the name of the day may
// be wrong.
func untils(all []exchange) string {
	var reported, parsed, day, hour int
	for _, e := range all {
		text := e.header.Get("X-RateLimit-Resource-Until")
		if text == "" {
			continue
		}
		reported++
		name, date, _ := strings.Cut(text, ",")
		at, err := time.Parse("02 Jan 2006 15:04:05 GMT", strings.TrimSpace(date))
		if err != nil {
			continue
		}
		parsed++
		if at.Weekday().String()[:3] == name {
			day++
		}
		if at.Equal(at.Truncate(time.Hour)) {
			hour++
		}
	}
	if reported == 0 {
		return "not reported"
	}
	return fmt.Sprintf("readable %s, day of the week right %s, full hours %s", share(parsed, reported), share(day, parsed), share(hour, parsed))
}
