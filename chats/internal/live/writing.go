package live

import (
	"slices"
	"strings"

	"github.com/ymchats/ymchats-go/chats"
)

// testText contains what a server may change: spaces at the edges and within the text, a line
// break, and a character outside the Basic Multilingual Plane.
const testText = " ymchats-go:  a test of the API,\nplease ignore it 🙂 "

const testFile = "ymchats-go test.txt"

// writing opens the chat of the test order, posts to it and reads it back.
func (p *probe) writing() {
	id, err := p.client.OpenChat(p.ctx, chats.AboutOrder(p.config.Order))
	if err != nil {
		p.tb.Errorf("createChat: %s", outcome(err))
		return
	}
	again, err := p.client.OpenChat(p.ctx, chats.AboutOrder(p.config.Order))
	p.mustSucceed(err, "createChat again")
	p.report.add("opening a chat twice", "the same chat: %t", id == again)

	posted, err := p.client.SendTextConfirmed(p.ctx, id, testText)
	if err != nil {
		p.tb.Errorf("SendTextConfirmed: %s", outcome(err))
		return
	}
	p.report.add("a text is stored", "%s", change(testText, posted.Text))
	p.sendFile(id, posted.ID)
}

func change(sent, stored string) string {
	switch stored {
	case sent:
		return "as it was sent"
	case strings.TrimSpace(sent):
		return "without the spaces at its edges"
	default:
		return "changed"
	}
}

func (p *probe) sendFile(id chats.ChatID, after chats.MessageID) {
	content := "a test of the API"
	err := p.client.SendFile(p.ctx, id, testFile, strings.NewReader(content))
	if err != nil {
		p.tb.Errorf("sendFileToChat: %s", outcome(err))
		return
	}
	for message, err := range p.client.History(p.ctx, id, after) {
		p.mustSucceed(err, "the history after a file")
		if i := slices.IndexFunc(message.Files, func(f chats.File) bool { return f.Size == int64(len(content)) }); i >= 0 {
			p.file = message.Files[i]
			p.report.add("a file is stored", "at once, name kept: %t", p.file.Name == testFile)
			return
		}
	}
	p.report.add("a file is stored", "not at once")
}
