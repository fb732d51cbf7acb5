package main

import (
	"fmt"
	"go/format"
	"strconv"
	"strings"

	"github.com/ymchats/ymchats-go/chats"
)

// export returns a conversation as a Go test that uses chatstest, with the Market's
// behaviour. Files of messages keep their names and sizes, but not their contents.
func export(c chats.Chat, messages []chats.Message, behaviour []choice) ([]byte, error) {
	var body strings.Builder
	p := func(form string, values ...any) { _, _ = fmt.Fprintf(&body, form+"\n", values...) }
	p("// TestChat%d replays a conversation of the sandbox.", c.ID)
	p("func TestChat%d(t *testing.T) {", c.ID)
	p("market := chatstest.NewMarket(%s)", exportedOptions(behaviour))
	p("chat := market.AddConversation(chats.Chat{")
	p("ID: %d, Type: %q, Status: %q,", c.ID, c.Type, c.Status)
	p("Subject: chats.Subject{Kind: %q, Order: %d, Return: %d},", c.Subject.Kind, c.Subject.Order, c.Subject.Return)
	p("Customer: chats.Customer{Name: %s},", strconv.Quote(c.Customer.Name))
	p("CreatedAt: time.Unix(%d, 0),", c.CreatedAt.Unix())
	p("},")
	for _, m := range messages {
		p("chats.Message{ID: %d, Sender: %q%s, CreatedAt: time.UnixMicro(%d)},", m.ID, m.Sender, exportedContent(m), m.ID)
	}
	p(")")
	p("client := market.Client()\n")
	p("// Run your program with client here, and check what it has written.\n")
	p("want := market.Messages(chat)")
	p("var got []chats.Message")
	p("for message, err := range client.History(t.Context(), chat, 0) {")
	p("if err != nil {\nt.Fatal(err)\n}")
	p("got = append(got, message)\n}")
	p("if len(got) != len(want) || len(got) != %d {", len(messages))
	p("t.Fatalf(\"got %%d messages, want %%d\", len(got), len(want))\n}")
	p("for i := range want {")
	p("if got[i].ID != want[i].ID || got[i].Sender != want[i].Sender || got[i].Text != want[i].Text {")
	p("t.Errorf(\"got %%+v, want %%+v\", got[i], want[i])\n}\n}")
	p("}")
	return format.Source([]byte(exportedHead(exportedOptions(behaviour)) + body.String()))
}

func exportedHead(options string) string {
	var head strings.Builder
	head.WriteString("package shop_test\n\nimport (\n")
	for _, name := range []string{"html", "regexp", "strings"} {
		if strings.Contains(options, name+".") {
			_, _ = fmt.Fprintf(&head, "%q\n", name)
		}
	}
	head.WriteString("\"testing\"\n\"time\"\n")
	head.WriteString("\n\"github.com/ymchats/ymchats-go/chats\"\n\"github.com/ymchats/ymchats-go/chats/chatstest\"\n)\n\n")
	return head.String()
}

func exportedOptions(behaviour []choice) string {
	var all []string
	for _, c := range behaviour {
		if c.source != "" {
			all = append(all, c.source)
		}
	}
	return strings.Join(all, ", ")
}

func exportedContent(m chats.Message) string {
	var text strings.Builder
	if m.Text != "" {
		text.WriteString(", Text: " + strconv.Quote(m.Text))
	}
	if len(m.Files) > 0 {
		text.WriteString(", Files: []chats.File{")
		for _, f := range m.Files {
			_, _ = fmt.Fprintf(&text, "market.AddFile(%s, make([]byte, %d)),", strconv.Quote(f.Name), f.Size)
		}
		text.WriteString("}")
	}
	return text.String()
}
