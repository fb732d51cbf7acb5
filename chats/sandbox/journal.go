package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// entry is one line of the state file: a JSON object with one of these fields. A chat is
// written again when it has changed, before its new messages.
type entry struct {
	Order   *order        `json:"order,omitempty"`
	Chat    *savedChat    `json:"chat,omitempty"`
	Message *savedMessage `json:"message,omitempty"`
	File    *savedFile    `json:"file,omitempty"`
}

type savedChat struct {
	ID       chats.ChatID     `json:"id"`
	Type     chats.ChatType   `json:"type"`
	Status   chats.Status     `json:"status"`
	Subject  chats.Subject    `json:"subject"`
	Customer chats.Customer   `json:"customer"`
	Campaign chats.CampaignID `json:"campaign,omitempty"`
	Created  time.Time        `json:"created"`
}

// savedMessage has no time, because the ID is one.
type savedMessage struct {
	Chat   chats.ChatID    `json:"chat"`
	ID     chats.MessageID `json:"id"`
	Sender chats.Sender    `json:"sender"`
	Text   string          `json:"text,omitempty"`
	Files  []chats.File    `json:"files,omitempty"`
}

// savedFile precedes the message that it belongs to.
type savedFile struct {
	URL  string `json:"url"`
	Data []byte `json:"data"`
}

// journal appends every change to the state file, so a sandbox that is killed loses at most
// its last changes. The zero journal writes nothing.
type journal struct {
	file   *os.File
	out    *bufio.Writer
	orders int             // written
	files  map[string]bool // written, by URL
}

// create replaces the file with one that has the current state of the world.
func (j *journal) create(ctx context.Context, name string, w *world) error {
	if name == "" {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	j.files = map[string]bool{}
	j.open(file)
	err = errors.Join(j.recordAll(ctx, w), j.close())
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return err
	}
	file, err = os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0) //nolint:gosec // the user names it
	if err == nil {
		j.open(file)
	}
	return err
}

func (j *journal) open(file *os.File) { j.file, j.out = file, bufio.NewWriterSize(file, 64<<10) }

func (j *journal) recordAll(ctx context.Context, w *world) error {
	for _, c := range w.market.Chats() {
		if err := j.record(ctx, w, c, w.market.Messages(c.ID)); err != nil {
			return err
		}
	}
	return j.recordOrders(w)
}

// record appends a chat and its new messages.
func (j *journal) record(ctx context.Context, w *world, c chats.Chat, messages []chats.Message) error {
	if j.file == nil {
		return nil
	}
	if err := j.recordOrders(w); err != nil {
		return err
	}
	saved := savedChat{c.ID, c.Type, c.Status, c.Subject, c.Customer, c.Campaign, c.CreatedAt}
	if err := j.write(entry{Chat: &saved}); err != nil {
		return err
	}
	for _, m := range messages {
		for _, f := range m.Files {
			if err := j.recordFile(ctx, w, f); err != nil {
				return err
			}
		}
		if err := j.write(entry{Message: &savedMessage{c.ID, m.ID, m.Sender, m.Text, m.Files}}); err != nil {
			return err
		}
	}
	return j.out.Flush()
}

func (j *journal) recordOrders(w *world) error {
	if j.file == nil {
		return nil
	}
	w.mu.Lock()
	orders := w.placed[j.orders:]
	w.mu.Unlock()
	for _, o := range orders {
		if err := j.write(entry{Order: &o}); err != nil {
			return err
		}
		j.orders++
	}
	return j.out.Flush()
}

func (j *journal) recordFile(ctx context.Context, w *world, f chats.File) error {
	if j.files[f.URL] {
		return nil
	}
	j.files[f.URL] = true
	resp, err := w.open(ctx, f.URL)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		return err // a file that the Market does not serve has no content
	}
	return j.write(entry{File: &savedFile{f.URL, data}})
}

func (j *journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.out.Write(append(line, '\n'))
	return err
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.out.Flush(), j.file.Close())
	j.file = nil
	return err
}

// open requests a file from the Market. The path of address identifies the file.
func (w *world) open(ctx context.Context, address string) (*http.Response, error) {
	ctx = chatstest.ContextWithFault(ctx, chatstest.OK())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // in memory: it reaches no other host
	if err != nil {
		return nil, err
	}
	req.Header.Set("Api-Key", w.market.Key())
	return w.market.Transport().RoundTrip(req)
}

// restored is the content of a state file.
type restored struct {
	ids      []chats.ChatID // in the order of the file
	chats    map[chats.ChatID]savedChat
	messages map[chats.ChatID][]chats.Message
	files    map[string]chats.File // by their former URL
}

// load restores the state and reports whether there was any.
func (w *world) load(name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	file, err := os.Open(name) //nolint:gosec // the user names it
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	r := restored{
		chats: map[chats.ChatID]savedChat{}, messages: map[chats.ChatID][]chats.Message{}, files: map[string]chats.File{},
	}
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // an incomplete last line was being written when the sandbox was killed
		}
		if err != nil {
			return false, err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return false, fmt.Errorf("%s: line %d is not the state of a sandbox: %w", name, n, err)
		}
		if err := r.take(w, e); err != nil {
			return false, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
	}
	for _, id := range r.ids {
		c := r.chats[id]
		w.market.AddConversation(chats.Chat{
			ID: c.ID, Type: c.Type, Status: c.Status, Subject: c.Subject, Customer: c.Customer, Campaign: c.Campaign, CreatedAt: c.Created,
		}, r.messages[id]...)
	}
	return true, nil
}

func (r *restored) take(w *world, e entry) error {
	switch {
	case e.Order != nil:
		_, err := w.addOrder(*e.Order)
		return err
	case e.File != nil:
		name, err := url.PathUnescape(path.Base(e.File.URL))
		if err != nil {
			return err
		}
		r.files[e.File.URL] = w.market.AddFile(name, e.File.Data) // files from programs are not limited, either
	case e.Chat != nil:
		if _, known := r.chats[e.Chat.ID]; !known {
			r.ids = append(r.ids, e.Chat.ID)
		}
		r.chats[e.Chat.ID] = *e.Chat
	case e.Message != nil:
		m := e.Message
		for i, f := range m.Files {
			if added, served := r.files[f.URL]; served {
				m.Files[i].URL = added.URL
			}
		}
		r.messages[m.Chat] = append(r.messages[m.Chat], chats.Message{
			ID: m.ID, Sender: m.Sender, Text: m.Text, Files: m.Files, CreatedAt: time.UnixMicro(int64(m.ID)),
		})
	}
	return nil
}
