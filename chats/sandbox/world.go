package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// Limits of a sandbox, so that a runaway script cannot fill the memory.
const (
	maxChats     = 20_000
	maxOrders    = 20_000
	maxFileBytes = 512 << 20
)

// order is an order of the shop.
type order struct {
	ID       chats.OrderID `json:"id"`
	Customer string        `json:"customer"`
	Title    string        `json:"title"`
}

// world is a Market with what the sandbox knows about it. A reset replaces it.
type world struct {
	market  *chatstest.Market
	options func() []chatstest.Option
	hub     *hub
	push    *pusher
	journal *journal
	retired chan struct{} // closed when another world replaces this one
	ended   chan struct{} // closed when watch has returned
	ready   chan struct{} // has an element if dirty is not empty

	applying sync.Mutex // held by apply, so that the latest options win

	mu        sync.Mutex                       // guards everything below; the Market's mutex may be held
	last      map[chats.ChatID]chats.MessageID // last reported message, for every chat that exists
	dirty     []chats.ChatID                   // in the order of their first change
	isDirty   map[chats.ChatID]bool
	orders    []order // ascending
	placed    []order // the same, in the order in which they were placed
	lastOrder chats.OrderID
	fileBytes int64
}

func newWorld(hub *hub, push *pusher, options func() []chatstest.Option) *world {
	return &world{
		market: chatstest.NewMarket(options()...), options: options, hub: hub, push: push, journal: &journal{},
		retired: make(chan struct{}), ended: make(chan struct{}), ready: make(chan struct{}, 1),
		last: map[chats.ChatID]chats.MessageID{}, isDirty: map[chats.ChatID]bool{}, lastOrder: firstOrder,
	}
}

// firstOrder is a number below that of the first order.
const firstOrder chats.OrderID = 55_210_000

// begin starts to report changes. Existing chats and messages are not reported.
func (w *world) begin(ctx context.Context, file string) error {
	for _, c := range w.market.Chats() {
		w.last[c.ID] = 0
		if newest := w.market.LastMessages(c.ID, 0, 1); len(newest) > 0 {
			w.last[c.ID] = newest[0].ID
		}
	}
	w.apply()
	w.market.OnChange(w.changed)
	return w.journal.create(ctx, file, w)
}

// apply makes the Market behave as chosen on the page. For the Market, only orders that were
// placed exist.
func (w *world) apply() {
	w.applying.Lock()
	defer w.applying.Unlock()
	w.mu.Lock()
	subjects := make([]chats.Subject, len(w.orders))
	for i, o := range w.orders {
		subjects[i] = chats.AboutOrder(o.ID)
	}
	w.mu.Unlock()
	w.market.SetOptions(append(w.options(), chatstest.WithSubjects(subjects...), chatstest.WithCustomers(w.customerOf))...)
}

// changed is called while the Market's mutex is held.
func (w *world) changed(id chats.ChatID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.last[id]; !known {
		w.last[id] = -1
	}
	if !w.isDirty[id] {
		w.isDirty[id] = true
		w.dirty = append(w.dirty, id)
	}
	w.signal()
}

// signal makes watch report.
func (w *world) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// watch reports changes until the context is done or another world replaces this one.
func (w *world) watch(ctx context.Context) {
	defer close(w.ended)
	late := time.NewTicker(200 * time.Millisecond)
	defer late.Stop()
	for {
		select {
		case <-w.ready:
			w.reportAll(context.WithoutCancel(ctx))
		case <-late.C:
			w.market.Calls("") // using the Market runs the events that are due
		case <-w.retired:
			return
		case <-ctx.Done():
			w.reportAll(context.WithoutCancel(ctx))
			return
		}
	}
}

// retire stops watch without reporting the latest changes.
func (w *world) retire() {
	w.market.OnChange(nil)
	close(w.retired)
	<-w.ended
}

func (w *world) close() error { return w.journal.close() }

func (w *world) reportAll(ctx context.Context) {
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = nil
	clear(w.isDirty)
	w.mu.Unlock()
	for _, id := range dirty {
		w.report(ctx, id)
	}
	w.check(w.journal.recordOrders(w))
}

// report passes what is new in a chat to the state file, the push notifications and the
// pages.
func (w *world) report(ctx context.Context, id chats.ChatID) {
	w.mu.Lock()
	last := w.last[id]
	w.mu.Unlock()
	chat := w.market.Chat(id)
	messages := w.above(id, last)
	if last < 0 {
		w.push.announce(ctx, w.market, notify.ChatCreated{Chat: id, At: chat.CreatedAt})
		last = 0
	}
	for _, m := range messages {
		last = m.ID
		w.push.announceMessage(ctx, w.market, id, m)
	}
	w.mu.Lock()
	w.last[id] = last
	w.mu.Unlock()
	w.check(w.journal.record(ctx, w, chat, messages))
	w.hub.publish("chat", w.describe(chat))
}

// check shows an error of the state file on the pages.
func (w *world) check(err error) {
	if err != nil {
		w.hub.publish("trouble", err.Error())
	}
}

// above returns the messages of a chat above an ID, oldest first.
func (w *world) above(id chats.ChatID, last chats.MessageID) []chats.Message {
	for n := 16; ; n *= 4 {
		messages := w.market.LastMessages(id, 0, n)
		if len(messages) < n || messages[0].ID <= last {
			return slices.DeleteFunc(messages, func(m chats.Message) bool { return m.ID <= last })
		}
	}
}

// exists reports whether there is such a chat. Chats are not deleted.
func (w *world) exists(id chats.ChatID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, exists := w.last[id]
	return exists
}

var (
	errTooManyChats  = errors.New("the sandbox cannot hold more chats")
	errTooManyOrders = errors.New("the sandbox cannot hold more orders")
	errTooManyFiles  = errors.New("the sandbox cannot hold more files")
)

// placeOrder adds an order, with the next number if its ID is 0. The shop may open a chat
// about it.
func (w *world) placeOrder(o order) (order, error) {
	o, err := w.addOrder(o)
	if err == nil {
		w.apply()
		w.signal()
	}
	return o, err
}

// addOrder adds an order that exists for the shop after the next apply.
func (w *world) addOrder(o order) (order, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.orders) >= maxOrders {
		return o, errTooManyOrders
	}
	if o.ID == 0 {
		w.lastOrder += 17
		o.ID = w.lastOrder
	}
	at, exists := slices.BinarySearchFunc(w.orders, o.ID, byID)
	if exists {
		return o, fmt.Errorf("order %d already exists", o.ID)
	}
	w.orders = slices.Insert(w.orders, at, o)
	w.placed = append(w.placed, o)
	w.lastOrder = max(w.lastOrder, o.ID)
	return o, nil
}

func byID(o order, id chats.OrderID) int { return cmp.Compare(o.ID, id) }

// order returns an order, or the zero order if it was not placed here.
func (w *world) order(id chats.OrderID) order {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, exists := slices.BinarySearchFunc(w.orders, id, byID)
	if !exists {
		return order{}
	}
	return w.orders[at]
}

func (w *world) customerOf(about chats.Subject) chats.Customer {
	return chats.Customer{Name: w.order(about.Order).Customer}
}

func (w *world) allOrders() []order {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.orders)
}

// addChat adds a chat unless there are too many.
func (w *world) addChat(c chats.Chat) (chats.ChatID, error) {
	w.mu.Lock()
	full := len(w.last) >= maxChats
	w.mu.Unlock()
	if full {
		return 0, errTooManyChats
	}
	return w.market.AddChat(c), nil
}

// addFile makes the Market serve a file unless there are too many.
func (w *world) addFile(name string, data []byte) (chats.File, error) {
	w.mu.Lock()
	full := w.fileBytes+int64(len(data)) > maxFileBytes
	if !full {
		w.fileBytes += int64(len(data))
	}
	w.mu.Unlock()
	if full {
		return chats.File{}, errTooManyFiles
	}
	return w.market.AddFile(name, data), nil
}
