package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

const (
	demoShops = 200
	demoFirst = 1000
	demoPhase = 15 * time.Second
	// noticeTime is how long the proxy sends notifications to a process that has ended.
	noticeTime = 2 * time.Second
	// rescueTime is longer than the 75 s after which what a killed process worked on is taken up.
	rescueTime = 90 * time.Second
)

// marketplace is the Market of all shops.
type marketplace map[chats.BusinessID]*chatstest.Market

// ServeHTTP passes a request to the Market of its business.
func (m marketplace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, _ := strings.CutPrefix(r.URL.Path, "/v2/businesses/")
	id, _, _ := strings.Cut(rest, "/")
	business, _ := strconv.ParseInt(id, 10, 64)
	if market := m[chats.BusinessID(business)]; market != nil {
		market.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// demonstration runs three processes. While customers write, one is killed, one added and one
// replaced.
type demonstration struct {
	out         io.Writer
	marketplace marketplace
	base        string // of the marketplace
	conn        *pgx.Conn

	mu        sync.Mutex
	processes []*process
	sent      map[string]time.Time // by business, chat and message
	refused   int                  // notifications that a process did not accept, and another one did
}

type process struct {
	name          string
	cmd           *exec.Cmd
	public, admin string
}

func demo(ctx context.Context, out io.Writer) error {
	if os.Getenv("DATABASE_URL") == "" {
		return errors.New("DATABASE_URL is not set: run make demo-fleet")
	}
	d := &demonstration{out: out, marketplace: marketplace{}, sent: map[string]time.Time{}}
	defer d.close() //nolint:contextcheck // it also cleans up after ctx is done
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		text string
		do   func(context.Context) error
	}{
		{"three processes", func(context.Context) error { return nil }},
		{"one is killed", d.kill},
		{"one is added", d.add},
		{"one is replaced: a new process starts, and the old one finishes its steps", d.deploy},
	} {
		_, _ = fmt.Fprintf(out, "\n%s, while customers write\n", step.text)
		began, done := time.Now(), make(chan error, 1)
		go func() { done <- errors.Join(sleep(ctx, demoPhase/3), step.do(ctx)) }()
		d.customers(ctx, demoPhase)
		if err := errors.Join(<-done, d.report(ctx, began)); err != nil {
			return err
		}
	}
	return d.countLost(ctx)
}

// prepare opens the shops and starts three processes.
func (d *demonstration) prepare(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.base = "http://" + listener.Addr().String()
	for id := chats.BusinessID(demoFirst); id < demoFirst+demoShops; id++ {
		d.marketplace[id] = chatstest.NewMarket(chatstest.WithBusiness(id))
		for range 3 {
			d.marketplace[id].AddChat(chats.Chat{CreatedAt: time.Now().AddDate(0, -1, 0)})
		}
	}
	go func() { _ = (&http.Server{Handler: d.marketplace, ReadHeaderTimeout: 5 * time.Second}).Serve(listener) }()
	if d.conn, err = pgx.Connect(ctx, os.Getenv("DATABASE_URL")); err != nil {
		return err
	}
	if _, err := d.conn.Exec(ctx, createTables); err != nil {
		return err
	}
	for id, market := range d.marketplace {
		if _, err := d.conn.Exec(ctx, `INSERT INTO shops VALUES ($1, $2)`, int64(id), market.Key()); err != nil {
			return err
		}
	}
	for range 3 {
		if err := d.add(ctx); err != nil {
			return err
		}
	}
	return d.awaitFollowed(ctx)
}

func (d *demonstration) awaitFollowed(ctx context.Context) error {
	began := time.Now()
	for n := 0; n < demoShops; {
		if err := d.conn.QueryRow(ctx, `SELECT count(*) FROM ymchats_inbox_businesses WHERE start_time IS NOT NULL`).Scan(&n); err != nil {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(d.out, "%d shops are served after %.1f s\n", demoShops, time.Since(began).Seconds())
	return nil
}

// add starts a process.
func (d *demonstration) add(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &process{name: fmt.Sprint("fleet-", rand.IntN(9000)+1000)}
	p.cmd = exec.CommandContext(ctx, self, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-poll", "5s") //nolint:gosec // itself
	p.cmd.Env = append(os.Environ(), "YANDEX_MARKET_BASE_URL="+d.base, "PGAPPNAME="+p.name)
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(stdout)
	for _, address := range []*string{&p.public, &p.admin} {
		line, err := lines.ReadString('\n')
		if err != nil {
			return errors.New("a process did not start")
		}
		*address = "http://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.processes = append(d.processes, p)
	_, _ = fmt.Fprintf(d.out, "  %s, River's interface at %s/river/\n", p.name, p.admin)
	return nil
}

// kill kills a process with kill -9.
func (d *demonstration) kill(ctx context.Context) error {
	p := d.oldest()
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait()
	_, _ = fmt.Fprintf(d.out, "  %s was killed\n", p.name)
	return d.remove(ctx)
}

// deploy starts a process and then stops another one gracefully.
func (d *demonstration) deploy(ctx context.Context) error {
	if err := d.add(ctx); err != nil {
		return err
	}
	p, began := d.oldest(), time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := p.cmd.Wait()
	_, _ = fmt.Fprintf(d.out, "  %s stopped after %.2f s\n", p.name, time.Since(began).Seconds())
	return errors.Join(err, d.remove(ctx))
}

func (d *demonstration) oldest() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.processes[0]
}

// remove removes the oldest process, which has ended, from those that get notifications.
func (d *demonstration) remove(ctx context.Context) error {
	err := sleep(ctx, noticeTime)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.processes = d.processes[1:]
	return err
}

func (d *demonstration) close() {
	for _, p := range d.processes {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	if d.conn != nil {
		_ = d.conn.Close(context.Background())
	}
}

// customers write to random shops, ten messages a second.
func (d *demonstration) customers(ctx context.Context, duration time.Duration) {
	var writing sync.WaitGroup
	defer writing.Wait()
	for end := time.Now().Add(duration); time.Now().Before(end) && sleep(ctx, 100*time.Millisecond) == nil; {
		id := chats.BusinessID(demoFirst + rand.IntN(demoShops))
		all := d.marketplace[id].Chats()
		chat := all[rand.IntN(len(all))].ID
		d.mu.Lock()
		message := d.marketplace[id].CustomerSays(chat, "Где мой заказ?")
		d.sent[fmt.Sprint(int64(id), " ", int64(chat), " ", int64(message))] = time.Now()
		d.mu.Unlock()
		writing.Go(func() { d.notify(ctx, id, chat, message) })
	}
}

// notify acts as Market and the proxy: if a process does not accept the notification, the next one
// gets it.
func (d *demonstration) notify(ctx context.Context, id chats.BusinessID, chat chats.ChatID, message chats.MessageID) {
	body, _ := json.Marshal(map[string]any{ //nolint:errchkjson // numbers and texts
		"notificationType": "CHAT_MESSAGE_SENT", "businessId": id, "chatId": chat, "messageId": strconv.FormatInt(int64(message), 10),
		"sentAt": time.Now().UTC().Format(time.RFC3339),
	})
	for n := rand.IntN(100); ctx.Err() == nil; n++ {
		d.mu.Lock()
		p := d.processes[n%len(d.processes)]
		d.mu.Unlock()
		if p.notify(ctx, body) {
			return
		}
		d.mu.Lock()
		d.refused++
		d.mu.Unlock()
	}
}

// notify reports whether the process has accepted a notification.
func (p *process) notify(ctx context.Context, body []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.public+"/market/notification", bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// report prints how many of the messages since a time each process has handled, and how fast.
func (d *demonstration) report(ctx context.Context, since time.Time) error {
	if err := sleep(ctx, noticeTime); err != nil {
		return err
	}
	workers := map[string]int{}
	var latencies []time.Duration
	waiting, err := d.messages(ctx, since, func(worker string, latency time.Duration) {
		workers[worker]++
		latencies = append(latencies, latency)
	})
	if err != nil {
		return err
	}
	slices.Sort(latencies)
	for _, worker := range slices.Sorted(maps.Keys(workers)) {
		_, _ = fmt.Fprintf(d.out, "  %s handled %d messages\n", worker, workers[worker])
	}
	if n := len(latencies); n > 0 {
		_, _ = fmt.Fprintf(d.out, "  push to row: p50 %v, p99 %v, longest %v; %d not handled yet; %d notifications passed on to another process\n",
			latencies[n/2].Round(time.Millisecond), latencies[n*99/100].Round(time.Millisecond), latencies[n-1].Round(time.Millisecond), waiting, d.refused)
	}
	d.refused = 0
	return nil
}

// messages calls do for each message since a time that has been handled. It returns how many have
// not been.
func (d *demonstration) messages(ctx context.Context, since time.Time, do func(worker string, latency time.Duration)) (waiting int, err error) {
	rows, err := d.conn.Query(ctx, `SELECT business, chat, message, worker, at FROM messages`)
	if err != nil {
		return 0, err
	}
	for _, sent := range d.sent {
		if !sent.Before(since) {
			waiting++
		}
	}
	var business, chat, message int64
	var worker string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&business, &chat, &message, &worker, &at}, func() error {
		if sent, ok := d.sent[fmt.Sprint(business, " ", chat, " ", message)]; ok && !sent.Before(since) {
			waiting--
			do(worker, at.Sub(sent))
		}
		return nil
	})
	return waiting, err
}

// countLost waits until every message has been handled, if need be for as long as a killed process
// may delay it.
func (d *demonstration) countLost(ctx context.Context) error {
	lost := -1
	for end := time.Now().Add(rescueTime); lost != 0 && time.Now().Before(end); {
		var err error
		if lost, err = d.messages(ctx, time.Time{}, func(string, time.Duration) {}); err != nil {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(d.out, "\n%d messages, lost messages: %d\n", len(d.sent), lost)
	if lost != 0 {
		return errors.New("messages were lost")
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
