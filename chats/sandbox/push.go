package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
)

const (
	maxQueue      = 1000 // waiting notifications
	maxDeliveries = 200  // in the log
	maxAttempts   = 20   // in the log, per delivery
	lateBy        = 30 * time.Second
	pushPeriod    = 14 * 24 * time.Hour // after which Market gives up
)

// pushSettings has the settings on the page.
type pushSettings struct {
	URL   string `json:"url"`   // empty: no notifications
	Speed int    `json:"speed"` // of the retry schedule: 1 is Market's
	Own   bool   `json:"own"`   // messages of the shop are announced, too
	Next  string `json:"next"`  // what happens to the next notification: "", lost, doubled, late
	Off   bool   `json:"off"`   // Market has given up
}

// attempt is one request of a delivery.
type attempt struct {
	At     time.Time `json:"at"`
	Millis int64     `json:"ms"`
	Status int       `json:"status"` // 0: no response
	Text   string    `json:"text"`   // the response's body, or the error
	Wrong  string    `json:"wrong,omitempty"`
}

// The states of a delivery.
const (
	stateWaiting   = "waiting" // for earlier notifications, or until it is due
	stateSending   = "sending"
	stateRetrying  = "retrying"
	stateDelivered = "delivered"
	stateMalformed = "malformed" // 400: not sent again
	stateLost      = "lost"
	stateDropped   = "dropped"
)

// delivery is one notification.
type delivery struct {
	N        int        `json:"n"`
	Type     string     `json:"type"`
	Body     string     `json:"body"`
	State    string     `json:"state"`
	Attempts []attempt  `json:"attempts"` // the last ones
	Tries    int        `json:"tries"`
	Next     *time.Time `json:"next,omitempty"` // of the next attempt
	due      time.Time
	began    time.Time
	timeout  time.Duration
}

// pusher delivers notifications as Market does: one at a time, each until it is accepted.
type pusher struct {
	hub    *hub
	client *http.Client
	wake   chan struct{}

	mu       sync.Mutex
	settings pushSettings
	queue    []*delivery
	log      []*delivery // including the queue, oldest first
	last     int
}

func newPusher(hub *hub) *pusher {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DisableKeepAlives = nil, true
	return &pusher{hub: hub, wake: make(chan struct{}, 1), settings: pushSettings{Speed: 1}, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *pusher) configure(s pushSettings) error {
	s.URL = strings.TrimSuffix(strings.TrimSpace(s.URL), "/")
	if s.URL != "" {
		u, err := url.Parse(s.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(s.URL) > 1000 {
			return errors.New("the URL must begin with https:// or http://")
		}
	}
	if s.Speed < 1 || s.Speed > 3600 {
		return errors.New("the speed must be between 1 and 3600")
	}
	if !slices.Contains([]string{"", stateLost, "doubled", "late"}, s.Next) {
		return fmt.Errorf("unknown fate %q", s.Next)
	}
	p.mu.Lock()
	p.settings = s
	p.mu.Unlock()
	p.kick()
	return nil
}

func (p *pusher) current() pushSettings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

func (p *pusher) deliveries() []delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []delivery{}
	for _, d := range slices.Backward(p.log) {
		all = append(all, d.copied())
	}
	return all
}

func (d *delivery) copied() delivery {
	c := *d
	c.Attempts = slices.Clone(d.Attempts)
	return c
}

// clear removes all notifications.
func (p *pusher) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue, p.log = nil, nil
}

func (p *pusher) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// announceMessage queues the notification of a message. Market does not announce stickers.
func (p *pusher) announceMessage(ctx context.Context, market *chatstest.Market, id chats.ChatID, m chats.Message) {
	isSticker := m.Text == "" && len(m.Files) == 0
	if isSticker || m.Sender == chats.SenderPartner && !p.current().Own {
		return
	}
	p.announce(ctx, market, notify.MessageSent{Chat: id, Message: m.ID, At: m.CreatedAt})
}

// announce queues the notification of an event, if the shop has subscribed.
func (p *pusher) announce(ctx context.Context, market *chatstest.Market, event notify.Event) {
	s := p.current()
	if s.URL == "" || s.Off {
		return
	}
	body := notificationBody(context.WithoutCancel(ctx), market, event)
	timeout := 10 * time.Second
	if _, isPing := event.(notify.Ping); isPing {
		timeout = time.Second
	}
	var kind struct {
		Type string `json:"notificationType"`
	}
	_ = json.Unmarshal([]byte(body), &kind)
	n := 1
	if s.Next == "doubled" {
		n = 2
	}
	for range n {
		p.enqueue(&delivery{Type: kind.Type, Body: body, State: stateWaiting, Attempts: []attempt{}, timeout: timeout})
	}
	p.kick()
}

// notificationBody returns the notification as the Market renders it.
func notificationBody(ctx context.Context, market *chatstest.Market, event notify.Event) string {
	var body []byte
	capture := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest) // ends the delivery
	})
	market.Notify(ctx, capture, event) //nolint:bodyclose // in memory
	return string(body)
}

func (p *pusher) enqueue(d *delivery) {
	p.mu.Lock()
	p.last++
	d.N = p.last
	fate := p.settings.Next
	switch {
	case fate == stateLost:
		d.State = stateLost
	case len(p.queue) >= maxQueue:
		d.State = stateDropped
	case fate == "late":
		d.due = time.Now().Add(lateBy)
		d.Next = &d.due
	}
	p.settings.Next = ""
	if d.State == stateWaiting {
		p.queue = append(p.queue, d)
	}
	p.log = append(p.log, d)
	if len(p.log) > maxDeliveries {
		p.log = slices.Delete(p.log, 0, 1)
	}
	copied, settings := d.copied(), p.settings
	p.mu.Unlock()
	p.hub.publish("delivery", copied)
	if fate != "" {
		p.hub.publish("push", settings)
	}
}

// retry makes a waiting notification due now, and drop removes one. Neither affects a
// notification that is not waiting.
func (p *pusher) retry(n int) { p.change(n, func(d *delivery) { d.due = time.Time{} }) }

func (p *pusher) drop(n int) {
	p.change(n, func(d *delivery) {
		d.State, d.Next = stateDropped, nil
		p.queue = slices.DeleteFunc(p.queue, func(queued *delivery) bool { return queued == d })
	})
}

func (p *pusher) change(n int, do func(*delivery)) {
	p.mu.Lock()
	i := slices.IndexFunc(p.queue, func(d *delivery) bool { return d.N == n && d.State != stateSending })
	if i < 0 {
		p.mu.Unlock()
		return
	}
	d := p.queue[i]
	do(d)
	copied := d.copied()
	p.mu.Unlock()
	p.hub.publish("delivery", copied)
	p.kick()
}

// run delivers until the context is done.
func (p *pusher) run(ctx context.Context) {
	for {
		d, wait := p.next()
		if d != nil {
			p.send(ctx, d)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// next takes the notification that is due, or returns how long to wait. Others may overtake
// one that is made late, but not one that has failed.
func (p *pusher) next() (*delivery, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := time.Hour
	if p.settings.URL == "" || p.settings.Off {
		return nil, wait
	}
	for _, d := range p.queue {
		until := time.Until(d.due)
		if until <= 0 {
			d.State, d.Next = stateSending, nil
			return d, 0
		}
		wait = min(wait, until)
		if d.Tries > 0 {
			break
		}
	}
	return nil, wait
}

// send makes one attempt.
func (p *pusher) send(ctx context.Context, d *delivery) {
	p.mu.Lock()
	target, body, timeout, sending := p.settings.URL+"/notification", d.Body, d.timeout, d.copied()
	if d.began.IsZero() {
		d.began = time.Now()
	}
	p.mu.Unlock()
	p.hub.publish("delivery", sending)
	a, state := p.post(ctx, target, body, timeout)
	p.mu.Lock()
	d.Tries++
	d.Attempts = append(d.Attempts, a)
	d.Attempts = d.Attempts[max(len(d.Attempts)-maxAttempts, 0):]
	d.State = state
	if state == stateRetrying {
		p.reschedule(d)
	} else {
		p.queue = slices.DeleteFunc(p.queue, func(queued *delivery) bool { return queued == d })
	}
	copied, settings := d.copied(), p.settings
	p.mu.Unlock()
	p.hub.publish("delivery", copied)
	p.hub.publish("push", settings)
}

// reschedule applies Market's schedule: every minute for an hour, every 15 minutes for a day,
// then hourly, until 14 days have passed.
func (p *pusher) reschedule(d *delivery) {
	speed := p.settings.Speed
	elapsed := time.Duration(float64(time.Since(d.began)) * float64(speed))
	delay := time.Hour
	switch {
	case elapsed > pushPeriod:
		p.settings.Off = true
	case elapsed < time.Hour:
		delay = time.Minute
	case elapsed < 24*time.Hour:
		delay = 15 * time.Minute
	}
	d.due = time.Now().Add(delay / time.Duration(speed))
	next := d.due
	d.Next = &next
}

// post sends a notification and returns the state that results from the response.
func (p *pusher) post(ctx context.Context, target, body string, timeout time.Duration) (attempt, string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := attempt{At: time.Now()}
	status, header, text, err := p.exchange(ctx, target, body)
	a.Millis = time.Since(a.At).Milliseconds()
	if err != nil {
		a.Text, a.Wrong = cut(err.Error(), 500), "no response"
		return a, stateRetrying
	}
	a.Status, a.Text = status, printable(header.Get("Content-Type"), text[:min(len(text), 2000)])
	wrong := contract.NotificationResponse(status, header, text) //nolint:contextcheck // it makes no request
	if wrong != nil {
		a.Wrong = cut(firstLine(wrong.Error()), 500)
	}
	switch {
	case status == http.StatusOK && wrong == nil:
		return a, stateDelivered
	case status == http.StatusBadRequest:
		return a, stateMalformed
	default:
		return a, stateRetrying
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// exchange posts a notification with the header that a proxy in front of the shop would add
// for one of Market's addresses.
func (p *pusher) exchange(ctx context.Context, target, body string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-For", notify.MarketNetworks()[0].Addr().Next().String())
	req.Header.Set("Traceparent", "00-0000000000000000000000000000002a-000000000000002a-01")
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, resp.Header, text, err
}
