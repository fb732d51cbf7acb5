package main

import (
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// aspect is a limit, or something that the vendor does not document, with the possible
// behaviours of the Market. The first one is the default.
type aspect struct {
	Name    string
	Choices []choice
}

// choice is one behaviour. source is its option in Go, for exported tests; it is empty if
// such a test would have to wait or could not read the whole history.
type choice struct {
	name    string
	source  string
	options []chatstest.Option
}

var aspects = []aspect{
	{"order", []choice{
		{"oldestFirst", "", nil},
		{"newestFirst", "chatstest.WithOrder(chatstest.NewestFirst)", one(chatstest.WithOrder(chatstest.NewestFirst))},
		{"newestPageFirst", "chatstest.WithOrder(chatstest.NewestPageFirst)", one(chatstest.WithOrder(chatstest.NewestPageFirst))},
	}},
	{"neighbours", []choice{{"ordered", "", nil}, {"swapped", "chatstest.WithSwappedNeighbours()", one(chatstest.WithSwappedNeighbours())}}},
	{"since", []choice{
		{"inclusive", "", nil},
		{"exclusive", "chatstest.WithExclusiveSince()", one(chatstest.WithExclusiveSince())},
		{"strict", "chatstest.WithStrictSince()", one(chatstest.WithStrictSince())},
	}},
	{"pages", []choice{
		{"full", "", nil},
		{"empty", "chatstest.WithEmptyPages()", one(chatstest.WithEmptyPages())},
		{"duplicates", "chatstest.WithDuplicates()", one(chatstest.WithDuplicates())},
		{"small", "chatstest.WithMaxPage(chats.OpGetChats, 5), chatstest.WithMaxPage(chats.OpGetChatHistory, 10)", []chatstest.Option{
			chatstest.WithMaxPage(chats.OpGetChats, 5), chatstest.WithMaxPage(chats.OpGetChatHistory, 10),
		}},
	}},
	{"token", []choice{
		{"opaque", "", nil},
		{"constant", "chatstest.WithConstantToken()", one(chatstest.WithConstantToken())},
		{"expiring", "chatstest.WithTokenLifetime(time.Second)", one(chatstest.WithTokenLifetime(time.Second))},
		{"repeating", "", one(chatstest.WithRepeatingToken())},
	}},
	{"visibility", []choice{
		{"atOnce", "", nil},
		{"lag", "chatstest.WithHistoryLag(5 * time.Second)", one(chatstest.WithHistoryLag(5 * time.Second))},
		{"late", "chatstest.WithVisibility(func(chats.Message) time.Duration { return 15 * time.Second })", one(chatstest.WithVisibility(func(chats.Message) time.Duration { return 15 * time.Second }))},
		{"lateFiles", "chatstest.WithVisibility(func(m chats.Message) time.Duration { return time.Duration(len(m.Files)) * 15 * time.Second })", one(chatstest.WithVisibility(func(m chats.Message) time.Duration { return time.Duration(len(m.Files)) * 15 * time.Second }))},
	}},
	{"texts", []choice{
		{"asSent", "", nil},
		{"trimmed", "chatstest.WithTrimmedTexts()", one(chatstest.WithTrimmedTexts())},
		{"oneLine", `chatstest.WithStoredText(func(text string) string { return strings.Join(strings.Fields(text), " ") })`, one(chatstest.WithStoredText(func(text string) string { return strings.Join(strings.Fields(text), " ") }))},
		{"escaped", "chatstest.WithStoredText(html.EscapeString)", one(chatstest.WithStoredText(html.EscapeString))},
		{"masked", `chatstest.WithStoredText(func(text string) string { return regexp.MustCompile("[0-9]{5,}").ReplaceAllString(text, "***") })`, one(chatstest.WithStoredText(func(text string) string { return digits.ReplaceAllString(text, "***") }))},
		{"cut", "chatstest.WithStoredText(func(text string) string { return string([]rune(text)[:min(20, len([]rune(text)))]) })", one(chatstest.WithStoredText(func(text string) string { return string([]rune(text)[:min(20, len([]rune(text)))]) }))},
	}},
	{"times", []choice{{"seconds", "", nil}, {"precise", "chatstest.WithPreciseTimes()", one(chatstest.WithPreciseTimes())}}},
	{"downloads", []choice{{"credential", "", nil}, {"open", "chatstest.WithOpenFiles()", one(chatstest.WithOpenFiles())}}},
	{"parallel", []choice{
		{"four", "", nil},
		{"two", "chatstest.WithParallelLimit(2)", one(chatstest.WithParallelLimit(2))},
		{"one", "chatstest.WithParallelLimit(1)", one(chatstest.WithParallelLimit(1))},
		{"unlimited", "chatstest.WithParallelLimit(0)", one(chatstest.WithParallelLimit(0))},
	}},
	{"quota", []choice{{"reported", "", nil}, {"enforced", "", documentedQuotas(1)}, {"tiny", "", documentedQuotas(100)}}},
	{"latency", []choice{
		{"none", "", nil},
		{"short", "", one(chatstest.WithLatency(300 * time.Millisecond))},
		{"long", "", one(chatstest.WithLatency(2 * time.Second))},
	}},
}

var digits = regexp.MustCompile("[0-9]{5,}")

func one(option chatstest.Option) []chatstest.Option { return []chatstest.Option{option} }

// documentedQuotas enforces the documented hourly quotas, divided by divisor.
func documentedQuotas(divisor int) []chatstest.Option {
	all := one(chatstest.WithHourlyLimit(chats.OpGetChats, 5000/divisor))
	all = append(all, chatstest.WithHourlyLimit(chats.OpGetChatHistory, 10_000/divisor))
	for _, op := range []chats.Operation{
		chats.OpGetChat, chats.OpGetChatMessage, chats.OpCreateChat, chats.OpSendMessageToChat, chats.OpSendFileToChat,
	} {
		all = append(all, chatstest.WithHourlyLimit(op, 1000/divisor))
	}
	return all
}

// behaviour is the behaviour that was chosen on the page.
type behaviour struct {
	mu     sync.Mutex
	chosen map[string]string // by aspect; a missing one has the default
}

func newBehaviour() *behaviour { return &behaviour{chosen: map[string]string{}} }

func (b *behaviour) choose(aspectName, choiceName string) error {
	for _, a := range aspects {
		if a.Name == aspectName && slices.ContainsFunc(a.Choices, func(c choice) bool { return c.name == choiceName }) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.chosen[aspectName] = choiceName
			return nil
		}
	}
	return fmt.Errorf("unknown behaviour %q of %q", choiceName, aspectName)
}

func (b *behaviour) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.chosen)
}

func (b *behaviour) all() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.chosen)
}

// selected returns the choices that are not defaults.
func (b *behaviour) selected() []choice {
	chosen := b.all()
	var all []choice
	for _, a := range aspects {
		for _, c := range a.Choices[1:] {
			if chosen[a.Name] == c.name {
				all = append(all, c)
			}
		}
	}
	return all
}

func (b *behaviour) options() []chatstest.Option {
	var all []chatstest.Option
	for _, c := range b.selected() {
		all = append(all, c.options...)
	}
	return all
}
