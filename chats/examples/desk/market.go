package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"testing/fstest"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// How long it takes to type a line. The customers are quicker, so that their replies have
// arrived when the operator checks for new messages.
const (
	customerTypes = 120 * time.Millisecond
	operatorTypes = 150 * time.Millisecond
)

// showcase is an in-memory Market with scripted customers.
type showcase struct {
	market   *chatstest.Market
	timeline *timeline

	mu      sync.Mutex
	replies map[chats.ChatID][][]line // the customers', to the shop's next messages
}

func newShowcase(clock clock) *showcase {
	market := chatstest.NewMarket(chatstest.WithSubjects(chats.AboutOrder(orderWithoutChat)))
	s := &showcase{market: market, timeline: newTimeline(market, clock), replies: map[chats.ChatID][][]line{}}
	for _, scene := range scenes {
		s.add(scene)
	}
	return s
}

func (s *showcase) add(scene scene) {
	id := s.market.AddChat(chats.Chat{
		Type: scene.kind, Subject: scene.subject, Customer: chats.Customer{Name: scene.name},
		CreatedAt: s.timeline.before(scene.lines[0].ago),
	})
	for _, l := range scene.lines {
		files := make([]chats.File, 0, len(l.pictures))
		for _, p := range l.pictures {
			files = append(files, s.market.AddFile(p.name, p.png()))
		}
		message := s.market.AddMessage(id, l.sender, l.text, files...)
		s.timeline.set(messageKey{id, message}, s.timeline.before(l.ago))
	}
	s.replies[id] = scene.replies
	s.customerWrites(id, scene.later)
}

// customerWrites posts lines one after the other, each after the time it takes to type.
func (s *showcase) customerWrites(id chats.ChatID, lines []line) {
	for i, l := range lines {
		time.AfterFunc(time.Duration(i+1)*customerTypes, func() { s.market.CustomerSays(id, l.text) })
	}
}

func (s *showcase) client(wrap func(http.RoundTripper) http.RoundTripper) *chats.Client {
	var transport http.RoundTripper = s
	if wrap != nil {
		transport = wrap(transport)
	}
	return s.market.Client(chats.WithHTTPClient(&http.Client{Transport: transport}))
}

// RoundTrip passes the request on to the in-memory Market and lets the customer reply
// to what the shop has sent.
func (s *showcase) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.market.Transport().RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	id, _ := strconv.ParseInt(req.URL.Query().Get("chatId"), 10, 64) // 0 if there is none
	chat := chats.ChatID(id)
	switch op, _ := chats.OperationFromContext(req.Context()); op {
	case chats.OpSendMessageToChat, chats.OpSendFileToChat:
		s.customerReplies(chat)
	}
	return s.timeline.rewrite(resp, chat)
}

func (s *showcase) customerReplies(id chats.ChatID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, known := s.replies[id]
	if !known { // the shop has opened this chat
		left = newChatReplies
	}
	if len(left) > 0 {
		s.customerWrites(id, left[0])
		s.replies[id] = left[1:]
	}
}

// openFile opens the files of the demo, which are not on disk.
func (s *showcase) openFile(path string) (fs.File, error) {
	return fstest.MapFS{label.name: {Data: label.png()}}.Open(path)
}

// picture is a generated image.
type picture struct {
	name                string
	width, height, step int
}

func (p picture) png() []byte {
	img := image.NewGray(image.Rect(0, 0, p.width, p.height))
	for y := range p.height {
		for x := range p.width {
			img.SetGray(x, y, color.Gray{Y: uint8(x * y * p.step / 97)}) //nolint:gosec // wraps on purpose
		}
	}
	var file bytes.Buffer
	_ = png.Encode(&file, img) // writing to a buffer does not fail
	return file.Bytes()
}
