package live

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// How much is read: enough for a result, but a small part of an hourly quota.
const (
	sampleChats     = 60
	sampleHistories = 20
	enoughMessages  = 6
)

// historySample is the part of a chat's history that was read.
type historySample struct {
	chat     chats.Chat
	messages []chats.Message // one page of the largest size, in the server's order
	whole    bool
}

func (p *probe) listing() {
	token := ""
	for len(p.chats) < sampleChats {
		page, err := p.client.ChatsPage(p.ctx, chats.Filter{}, chats.PageRequest{Token: token})
		if err != nil {
			p.tb.Fatalf("the list of chats: %s", outcome(err)) // every other probe needs the list
		}
		p.chats = append(p.chats, page.Items...)
		if token = page.Next; token == "" {
			break
		}
	}
	p.report.add("chats read", "%d", len(p.chats))
	p.report.add("order of chats", "%s", orderOfChats(p.chats))
	values := map[string]bool{}
	for _, c := range p.chats {
		values[string(c.Type)], values[string(c.Status)], values[string(c.Subject.Kind)] = true, true, true
	}
	p.report.add("enum values in chats", "%s", printable(values))
}

func printable(values map[string]bool) string {
	all := make([]string, 0, len(values))
	for _, value := range slices.Sorted(maps.Keys(values)) {
		all = append(all, contract.Printable(value))
	}
	return strings.Join(all, ", ")
}

func (p *probe) histories() {
	var read []historySample
	for _, chat := range p.chats[:min(len(p.chats), sampleHistories)] {
		page, err := p.client.HistoryPage(p.ctx, chat.ID, 0, chats.PageRequest{})
		if err != nil {
			p.tb.Errorf("a history: %s", outcome(err))
			continue
		}
		s := historySample{chat, page.Items, page.Next == ""}
		read = append(read, s)
		p.noteFile(s.messages)
		if len(s.messages) > len(p.sample.messages) {
			p.sample = s
		}
	}
	p.forms(read)
	p.report.add("order of messages", "%s", p.orderFrom(0))
	p.since()
}

func (p *probe) noteFile(messages []chats.Message) {
	for _, m := range messages {
		if len(m.Files) > 0 {
			p.file = m.Files[0]
		}
	}
}

// forms reports on the content, senders, IDs and times of messages.
func (p *probe) forms(read []historySample) {
	var messages, texts, files, both, neither, micro, last, whole int
	senders := map[string]bool{}
	for _, s := range read {
		for _, m := range s.messages {
			messages++
			senders[string(m.Sender)] = true
			texts, files, both, neither = count(m, texts, files, both, neither)
			if d := m.CreatedAt.Sub(time.UnixMicro(int64(m.ID))); d.Abs() < 2*time.Second {
				micro++
			}
		}
		if s.whole && len(s.messages) > 0 {
			whole++
			newest := slices.MaxFunc(s.messages, byID)
			if newest.CreatedAt.Sub(s.chat.UpdatedAt).Abs() < time.Second {
				last++
			}
		}
	}
	p.report.add("messages read", "%d: text %d, files %d, both %d, neither %d", messages, texts, files, both, neither)
	p.report.add("senders", "%s", printable(senders))
	p.report.add("ids are microseconds of createdAt", "%s", share(micro, messages))
	p.report.add("updatedAt is the last message's time", "%s", share(last, whole))
	p.report.add("times are written", "%s", p.traffic.timeShapes())
}

func count(m chats.Message, texts, files, both, neither int) (int, int, int, int) {
	switch {
	case m.Text != "" && len(m.Files) > 0:
		both++
	case m.Text != "":
		texts++
	case len(m.Files) > 0:
		files++
	default:
		neither++
	}
	return texts, files, both, neither
}

func share(some, all int) string {
	if all == 0 {
		return TooFew
	}
	return fmt.Sprintf("%d of %d", some, all)
}

// orderFrom returns the order of two consecutive pages of the longest history.
func (p *probe) orderFrom(since chats.MessageID) string {
	n := len(p.sample.messages)
	if n < 3 {
		return TooFew
	}
	size := min(max(n/2, 2), chats.MaxHistoryPage/2)
	first, err := p.client.HistoryPage(p.ctx, p.sample.chat.ID, since, chats.PageRequest{Size: size})
	if err != nil || first.Next == "" {
		return TooFew
	}
	second, err := p.client.HistoryPage(p.ctx, p.sample.chat.ID, since, chats.PageRequest{Size: size, Token: first.Next})
	if err != nil {
		return outcome(err)
	}
	return orderOf(first.Items, second.Items)
}

// since finds out what messageIdFrom means with the ID of a message, with an ID that no message
// has, and for the pages after the first.
func (p *probe) since() {
	if len(p.sample.messages) < 2 {
		p.report.add("messageIdFrom", TooFew)
		return
	}
	sorted := slices.SortedFunc(slices.Values(p.sample.messages), byID)
	middle := sorted[(len(sorted)-1)/2].ID
	p.report.add("messageIdFrom", "%s", p.sinceMeans(middle))
	p.report.add("messageIdFrom that no message has", "%s", p.sinceNone(sorted))
	p.report.add("order of messages, with messageIdFrom", "%s", p.orderFrom(sorted[0].ID))
}

func (p *probe) sinceMeans(named chats.MessageID) string {
	page, err := p.client.HistoryPage(p.ctx, p.sample.chat.ID, named, chats.PageRequest{})
	if err != nil {
		return outcome(err)
	}
	before, itself, after := around(page.Items, named)
	switch {
	case before > 0:
		return "no lower bound: earlier messages are listed too"
	case itself > 0:
		return "inclusive"
	case after > 0:
		return "exclusive"
	default:
		return "nothing, although there are later messages"
	}
}

func (p *probe) sinceNone(sorted []chats.Message) string {
	named := gap(sorted)
	if named == 0 {
		return TooFew
	}
	page, err := p.client.HistoryPage(p.ctx, p.sample.chat.ID, named, chats.PageRequest{})
	if err != nil {
		return outcome(err)
	}
	before, _, after := around(page.Items, named)
	return fmt.Sprintf("accepted: %s later, %s earlier", some(after), some(before))
}

// gap returns an ID between two messages, or 0 if all IDs are consecutive.
func gap(sorted []chats.Message) chats.MessageID {
	for i := len(sorted) - 1; i > 0; i-- {
		if named := sorted[i].ID - 1; named > sorted[i-1].ID {
			return named
		}
	}
	return 0
}

func some(n int) string {
	if n == 0 {
		return "none"
	}
	return "some"
}

func around(messages []chats.Message, id chats.MessageID) (before, itself, after int) {
	for _, m := range messages {
		switch {
		case m.ID < id:
			before++
		case m.ID == id:
			itself++
		default:
			after++
		}
	}
	return before, itself, after
}

// noSuchID is larger than any ID seen so far, and fits into a JavaScript number.
const noSuchID = 1<<53 - 1

func (p *probe) singles() {
	if len(p.chats) > 0 {
		_, err := p.client.Chat(p.ctx, p.chats[0].ID)
		p.mustSucceed(err, "getChat")
	}
	if len(p.sample.messages) > 0 {
		_, err := p.client.Message(p.ctx, p.sample.chat.ID, p.sample.messages[0].ID)
		p.mustSucceed(err, "getChatMessage")
		_, err = p.client.Message(p.ctx, p.sample.chat.ID, noSuchID)
		p.report.add("a message that does not exist", "%s", outcome(err))
	}
	_, err := p.client.Chat(p.ctx, noSuchID)
	p.report.add("a chat that does not exist", "%s", outcome(err))
}

// mustSucceed reports err, if there is one, as an error of the test.
func (p *probe) mustSucceed(err error, what string) {
	p.tb.Helper()
	if err != nil {
		p.tb.Errorf("%s: %s", what, outcome(err))
	}
}

// filters finds out whether filters may be combined. According to one source, only one is
// accepted at a time.
func (p *probe) filters() {
	together := chats.Filter{
		Types:        []chats.ChatType{chats.ChatTypeChat},
		Statuses:     []chats.Status{chats.StatusNew, chats.StatusWaitingForPartner},
		SubjectKinds: []chats.SubjectKind{chats.SubjectOrder},
	}
	_, err := p.client.ChatsPage(p.ctx, together, chats.PageRequest{Size: 1})
	p.report.add("types, statuses and kinds together", "%s", outcome(err))
	for _, c := range p.chats {
		if c.Subject.Kind == chats.SubjectOrder && c.Subject.Order != 0 {
			bySubject := chats.Filter{Subjects: []chats.Subject{c.Subject}, Types: []chats.ChatType{c.Type}}
			_, err := p.client.ChatsPage(p.ctx, bySubject, chats.PageRequest{Size: 1})
			p.report.add("subjects and types together", "%s", outcome(err))
			return
		}
	}
}
