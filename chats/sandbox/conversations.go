package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// pageChat is a chat as the page shows it.
type pageChat struct {
	ID       chats.ChatID      `json:"id,string"`
	Type     chats.ChatType    `json:"type"`
	Status   chats.Status      `json:"status"`
	Kind     chats.SubjectKind `json:"kind"`
	Order    chats.OrderID     `json:"order,omitempty"`
	Return   chats.ReturnID    `json:"return,omitempty"`
	Title    string            `json:"title,omitempty"` // of the order
	Customer string            `json:"customer"`
	Updated  time.Time         `json:"updated"`
	Last     *pageMessage      `json:"last,omitempty"`
}

// pageMessage is a message as the page shows it.
type pageMessage struct {
	ID     chats.MessageID `json:"id,string"`
	Sender chats.Sender    `json:"sender"`
	Text   string          `json:"text"`
	Files  []pageFile      `json:"files"`
	At     time.Time       `json:"at"`
}

type pageFile struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	URL   string `json:"url"` // on the page
	Image bool   `json:"image"`
}

func (w *world) describe(c chats.Chat) pageChat {
	o := w.order(c.Subject.Order)
	p := pageChat{
		ID: c.ID, Type: c.Type, Status: c.Status, Kind: c.Subject.Kind, Order: c.Subject.Order, Return: c.Subject.Return,
		Title: o.Title, Customer: cmp.Or(c.Customer.Name, o.Customer), Updated: c.UpdatedAt,
	}
	for _, m := range w.market.LastMessages(c.ID, 0, 1) {
		last := describeMessage(m)
		last.Text = cut(last.Text, 200)
		p.Last = &last
	}
	return p
}

func describeMessage(m chats.Message) pageMessage {
	p := pageMessage{ID: m.ID, Sender: m.Sender, Text: m.Text, At: time.UnixMicro(int64(m.ID)), Files: []pageFile{}}
	for _, f := range m.Files {
		_, below, _ := strings.Cut(f.URL, "/files/")
		p.Files = append(p.Files, pageFile{f.Name, f.Size, "/sandbox/files/" + below, imageType(f.Name) != ""})
	}
	return p
}

// imageType returns the type of an image that the page shows, or "".
func imageType(name string) string {
	return map[string]string{
		".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	}[strings.ToLower(path.Ext(name))]
}

// listChats returns part of the list, newest chat first, and the number of matching chats.
func (s *sandbox) listChats(r *http.Request) (any, error) {
	query := r.URL.Query()
	offset, err := number(query.Get("offset"), 0, maxChats)
	limit, err2 := number(query.Get("limit"), 50, maxListed)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	w, status, search := s.current(), chats.Status(query.Get("status")), strings.ToLower(strings.TrimSpace(query.Get("search")))
	found, total := []pageChat{}, 0
	for _, c := range w.market.Chats() {
		if status != "" && c.Status != status || search != "" && !w.mentions(c, search) {
			continue
		}
		if total >= offset && len(found) < limit {
			found = append(found, w.describe(c))
		}
		total++
	}
	return map[string]any{"chats": found, "total": total}, nil
}

// mentions reports whether a chat's customer, order or ID contains the text.
func (w *world) mentions(c chats.Chat, text string) bool {
	o := w.order(c.Subject.Order)
	return strings.Contains(strings.ToLower(cmp.Or(c.Customer.Name, o.Customer)+" "+o.Title), text) ||
		strings.Contains(fmt.Sprint(c.ID, " ", c.Subject.Order, " ", c.Subject.Return), text)
}

// chatOf returns the chat that a path names.
func (s *sandbox) chatOf(r *http.Request) (*world, chats.Chat, error) {
	w := s.current()
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || !w.exists(chats.ChatID(id)) {
		return nil, chats.Chat{}, errNotFound
	}
	return w, w.market.Chat(chats.ChatID(id)), nil
}

func (s *sandbox) getChat(r *http.Request) (any, error) {
	w, c, err := s.chatOf(r)
	if err != nil {
		return nil, err
	}
	return w.describe(c), nil
}

// listMessages returns the newest messages below an ID, oldest first.
func (s *sandbox) listMessages(r *http.Request) (any, error) {
	w, c, err := s.chatOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := number(r.URL.Query().Get("limit"), 50, maxListed)
	if err != nil {
		return nil, err
	}
	before, err := number(r.URL.Query().Get("before"), 0, int64(1<<53)) // an int has 32 bits on some platforms
	if err != nil {
		return nil, err
	}
	messages := w.market.LastMessages(c.ID, chats.MessageID(before), limit+1)
	more := len(messages) > limit
	if more {
		messages = messages[1:]
	}
	list := make([]pageMessage, len(messages))
	for i, m := range messages {
		list[i] = describeMessage(m)
	}
	return map[string]any{"messages": list, "more": more}, nil
}

// openChat opens a chat as a customer does: about an order or a return, or about none.
func (s *sandbox) openChat(r *http.Request) (any, error) {
	var body struct {
		Kind     chats.SubjectKind `json:"kind"`
		Order    chats.OrderID     `json:"order"`
		Customer string            `json:"customer"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if err := checkName("the customer's name", body.Customer); err != nil {
		return nil, err
	}
	w := s.current()
	o := w.order(body.Order)
	subject := chats.Subject{Kind: body.Kind}
	switch {
	case body.Kind == chats.SubjectDirect:
		o = order{Customer: body.Customer}
	case o.ID == 0:
		return nil, invalid("there is no order %d", body.Order)
	case body.Kind == chats.SubjectOrder:
		subject.Order = o.ID
	case body.Kind == chats.SubjectReturn:
		subject.Order, subject.Return = o.ID, chats.ReturnID(o.ID%1_000_000+3_000_000)
	default:
		return nil, invalid("unknown subject %q", cut(string(body.Kind), 30))
	}
	if id := w.chatAbout(subject); id != 0 {
		return w.describe(w.market.Chat(id)), nil
	}
	id, err := w.addChat(chats.Chat{Subject: subject, Customer: chats.Customer{Name: cmp.Or(o.Customer, body.Customer)}})
	if err != nil {
		return nil, invalid("%v", err)
	}
	return w.describe(w.market.Chat(id)), nil
}

// chatAbout returns the chat about an order or a return, or 0.
func (w *world) chatAbout(subject chats.Subject) chats.ChatID {
	if subject.Kind == chats.SubjectDirect {
		return 0
	}
	for _, c := range w.market.Chats() {
		if c.Subject == subject {
			return c.ID
		}
	}
	return 0
}

// postMessage adds a message from any sender but the shop, which posts through the API.
func (s *sandbox) postMessage(r *http.Request) (any, error) {
	w, c, err := s.chatOf(r)
	if err != nil {
		return nil, err
	}
	if err := r.ParseMultipartForm(8 << 20); err != nil {
		return nil, invalid("the form cannot be read: %v", err)
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	sender, text := chats.Sender(r.FormValue("sender")), r.FormValue("text")
	if !slices.Contains([]chats.Sender{chats.SenderCustomer, chats.SenderMarket, chats.SenderSupport}, sender) {
		return nil, invalid("unknown sender %q", cut(string(sender), 30))
	}
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > chats.MaxTextLength {
		return nil, invalid("the text must have at most %d characters", chats.MaxTextLength)
	}
	attached, err := w.attached(r)
	if err != nil {
		return nil, err
	}
	isSticker := r.FormValue("sticker") != ""
	if !isSticker && strings.TrimSpace(text) == "" && len(attached) == 0 {
		return nil, invalid("the message is empty")
	}
	if isSticker {
		text, attached = "", nil
	}
	id := w.market.AddMessage(c.ID, sender, text, attached...)
	for _, m := range w.market.LastMessages(c.ID, id+1, 1) {
		return describeMessage(m), nil
	}
	return nil, errNotFound
}

// attached stores and returns the files of a form.
func (w *world) attached(r *http.Request) ([]chats.File, error) {
	headers := r.MultipartForm.File["file"]
	if len(headers) > maxAttached {
		return nil, invalid("a message has at most %d files", maxAttached)
	}
	var all []chats.File
	for _, h := range headers {
		name := path.Base(strings.ReplaceAll(h.Filename, `\`, "/"))
		if err := checkName("the file's name", name); err != nil || h.Size > chats.MaxFileSize || h.Size == 0 || strings.Trim(name, ".") == "" {
			return nil, invalid("%s: a file must have 1 byte to 5 MB, and its name at most %d characters", cut(name, 50), maxName)
		}
		file, err := h.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		added, err := w.addFile(name, data)
		if err != nil {
			return nil, invalid("%v", err)
		}
		all = append(all, added)
	}
	return all, nil
}

// act performs the action of one of a chat's buttons.
func (s *sandbox) act(r *http.Request) (any, error) {
	w, c, err := s.chatOf(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Act string `json:"act"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	switch body.Act {
	case "finish":
		w.market.FinishChat(c.ID)
	case "reopen":
		w.market.SetType(c.ID, chats.ChatTypeChat)
		w.market.SetStatus(c.ID, chats.StatusWaitingForPartner)
	case "startDispute":
		w.market.SetType(c.ID, chats.ChatTypeArbitrage)
		w.market.SetStatus(c.ID, chats.StatusWaitingForArbiter)
		s.announceDispute(r.Context(), w, c, notify.ArbitrageStarted{Chat: c.ID, At: time.Now()})
	case "finishDispute":
		w.market.FinishChat(c.ID)
		s.announceDispute(r.Context(), w, c, notify.ArbitrageFinished{Chat: c.ID, At: time.Now()})
	default:
		return nil, invalid("unknown action %q", cut(body.Act, 30))
	}
	return w.describe(w.market.Chat(c.ID)), nil
}

// announceDispute announces a dispute. Like Market, it does not for chats without an order.
func (s *sandbox) announceDispute(ctx context.Context, w *world, c chats.Chat, event notify.Event) {
	if c.Subject.Kind != chats.SubjectDirect {
		s.push.announce(ctx, w.market, event)
	}
}

func (s *sandbox) listOrders(*http.Request) (any, error) {
	orders := s.current().allOrders()
	slices.Reverse(orders)
	return map[string]any{"orders": append([]order{}, orders[:min(len(orders), maxListed)]...)}, nil
}

func (s *sandbox) postOrder(r *http.Request) (any, error) {
	var body order
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if err := errors.Join(checkName("the customer's name", body.Customer), checkName("the goods", body.Title)); err != nil {
		return nil, err
	}
	if body.ID < 0 || body.ID > 1<<50 {
		return nil, invalid("the order's number must be above 0")
	}
	o, err := s.current().placeOrder(body)
	if err != nil {
		return nil, invalid("%v", err)
	}
	s.hub.publish("orders", nil)
	return o, nil
}

// serveFile serves an attachment to the page: images as images, everything else as a
// download, whatever its name claims.
func (s *sandbox) serveFile(w http.ResponseWriter, r *http.Request) {
	below := strings.TrimPrefix(r.URL.EscapedPath(), "/sandbox/files/")
	resp, err := s.current().open(r.Context(), s.config.baseURL+"/files/"+below)
	if err != nil {
		http.Error(w, "the file cannot be read", http.StatusBadRequest)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	data, _ := io.ReadAll(resp.Body)
	contentType := imageType(r.PathValue("path"))
	if http.DetectContentType(data) != contentType {
		contentType = "application/octet-stream"
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(r.PathValue("path"))}))
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "private, max-age=3600")
	_, _ = w.Write(data)
}
