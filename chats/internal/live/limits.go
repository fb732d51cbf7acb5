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

// pageLimits asks beyond the bounds, which the library itself would not.
func (p *probe) pageLimits() {
	p.report.add("page limits of chats", "%s", p.limitsOf(chats.MaxChatsPage, p.rawChats))
	if p.story.chat.ID == 0 {
		p.report.add("page limits of messages", TooFew)
		return
	}
	p.report.add("page limits of messages", "%s", p.limitsOf(chats.MaxHistoryPage, p.rawHistory))
}

// raw is a request with a limit, or without one where it is nil.
type raw func(ctx context.Context, limit *int32) (*http.Response, error)

func (p *probe) rawChats(ctx context.Context, limit *int32) (*http.Response, error) {
	return p.client.API().GetChats(ctx, int64(p.config.Business), &gen.GetChatsParams{Limit: limit}, gen.GetChatsRequest{})
}

func (p *probe) rawHistory(ctx context.Context, limit *int32) (*http.Response, error) {
	return p.client.API().GetChatHistory(ctx, int64(p.config.Business),
		&gen.GetChatHistoryParams{ChatID: int64(p.story.chat.ID), Limit: limit}, gen.GetChatHistoryRequest{})
}

func (p *probe) limitsOf(most int32, ask raw) string {
	above := most + 1
	atMost, _ := p.answerTo(p.ctx, &most, ask)
	beyond, _ := p.answerTo(contract.Skip(p.ctx), &above, ask)
	_, without := p.answerTo(p.ctx, nil, ask)
	return fmt.Sprintf("%d: %s; %d: %s; none given: %s", most, atMost, above, beyond, without)
}

// answerTo is the status of the answer, and how many items it has where there are
// more to come.
func (p *probe) answerTo(ctx context.Context, limit *int32, ask raw) (status, items string) {
	resp, err := ask(ctx, limit)
	if err != nil {
		return "no answer", "no answer"
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

// headers tells what the answers said of limits, beside their bodies.
func (p *probe) headers() {
	all := p.traffic.exchanges()
	p.report.add("limit headers", "%s", presence(all, "X-RateLimit-Resource-Limit", "X-RateLimit-Resource-Remaining", "X-RateLimit-Resource-Until"))
	p.report.add("Date, traceparent", "%s; %s", presence(all, "Date"), presence(all, "Traceparent"))
	p.report.add("hourly limits", "%s", hourly(all))
	p.report.add("Remaining", "%s", countdown(all))
	p.report.add("Until", "%s", untils(all))
}

// presence tells on how many answers all of the headers are.
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
	told := map[string]bool{}
	for _, e := range all {
		n, err := strconv.Atoi(e.header.Get("X-RateLimit-Resource-Limit"))
		if err != nil {
			continue
		}
		text := fmt.Sprintf("%s %d", e.operation, n)
		if want := contract.RateLimits()[e.operation]; n != want {
			text += fmt.Sprintf(" (the contract says %d)", want)
		}
		told[text] = true
	}
	return cmp.Or(sortedList(told), "not told")
}

// countdown looks at neighbouring answers of one operation.
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
	return "changes from answer to answer by " + cmp.Or(sortedList(steps), "an unknown number")
}

// untils reads the dates as they are: the day's name may be wrong in them.
func untils(all []exchange) string {
	var told, read, day, hour int
	for _, e := range all {
		text := e.header.Get("X-RateLimit-Resource-Until")
		if text == "" {
			continue
		}
		told++
		name, date, _ := strings.Cut(text, ",")
		at, err := time.Parse("02 Jan 2006 15:04:05 GMT", strings.TrimSpace(date))
		if err != nil {
			continue
		}
		read++
		if at.Weekday().String()[:3] == name {
			day++
		}
		if at.Equal(at.Truncate(time.Hour)) {
			hour++
		}
	}
	if told == 0 {
		return "not told"
	}
	return fmt.Sprintf("readable %s, day of the week right %s, full hours %s", share(read, told), share(day, read), share(hour, read))
}
