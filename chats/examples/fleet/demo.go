package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
)

// town is the Market of all shops.
type town map[chats.BusinessID]*chatstest.Market

// ServeHTTP passes a request to the Market of its business.
func (t town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, _ := strings.CutPrefix(r.URL.Path, "/v2/businesses/")
	id, _, _ := strings.Cut(rest, "/")
	business, _ := strconv.ParseInt(id, 10, 64)
	if market := t[chats.BusinessID(business)]; market != nil {
		market.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// demonstration runs three processes. While customers write, one is killed, one added and one
// replaced.
type demonstration struct {
	out  io.Writer
	town town
	base string // of the town
	conn *pgx.Conn

	mu        sync.Mutex
	processes []*process
	sent      map[string]time.Time // by business, chat and message
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
	d := &demonstration{out: out, town: town{}, sent: map[string]time.Time{}}
	defer d.close() //nolint:contextcheck // it also cleans up after ctx is done
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		text string
		do   func(context.Context) error
	}{
		{"three processes", func(context.Context) error { return nil }},
		{"one is killed", func(context.Context) error { d.remove(0); return nil }},
		{"one is added", d.add},
		{"one is deployed: it finishes its steps, and a new one takes its place", d.deploy},
	} {
		_, _ = fmt.Fprintf(out, "\n%s\n", step.text)
		if err := step.do(ctx); err != nil {
			return err
		}
		began := time.Now()
		d.customers(ctx, demoPhase)
		if err := d.report(ctx, began); err != nil {
			return err
		}
	}
	return nil
}

// prepare opens the shops and starts three processes.
func (d *demonstration) prepare(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.base = "http://" + listener.Addr().String()
	for id := chats.BusinessID(demoFirst); id < demoFirst+demoShops; id++ {
		d.town[id] = chatstest.NewMarket(chatstest.WithBusiness(id))
		for range 3 {
			d.town[id].AddChat(chats.Chat{CreatedAt: time.Now().AddDate(0, -1, 0)})
		}
	}
	go func() { _ = (&http.Server{Handler: d.town, ReadHeaderTimeout: 5 * time.Second}).Serve(listener) }()
	if d.conn, err = pgx.Connect(ctx, os.Getenv("DATABASE_URL")); err != nil {
		return err
	}
	if _, err := d.conn.Exec(ctx, createTables); err != nil {
		return err
	}
	for id, market := range d.town {
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

// remove kills a process with kill -9.
func (d *demonstration) remove(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.processes[n]
	d.processes = slices.Delete(d.processes, n, n+1)
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// deploy starts a process and then stops another one gracefully.
func (d *demonstration) deploy(ctx context.Context) error {
	if err := d.add(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	p := d.processes[0]
	d.processes = d.processes[1:]
	d.mu.Unlock()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := p.cmd.Wait()
	_, _ = fmt.Fprintf(d.out, "  %s stopped after %.2f s\n", p.name, time.Since(began).Seconds())
	return err
}

func (d *demonstration) close() {
	for len(d.processes) > 0 {
		d.remove(0)
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
		all := d.town[id].Chats()
		chat := all[rand.IntN(len(all))].ID
		message := d.town[id].CustomerSays(chat, "Где мой заказ?")
		d.mu.Lock()
		d.sent[fmt.Sprint(int64(id), " ", int64(chat), " ", int64(message))] = time.Now()
		p := d.processes[rand.IntN(len(d.processes))]
		d.mu.Unlock()
		writing.Go(func() { notifyProcess(ctx, p, id, chat, message) })
	}
}

// notifyProcess acts as Market. The real one would retry a notification that fails.
func notifyProcess(ctx context.Context, p *process, id chats.BusinessID, chat chats.ChatID, message chats.MessageID) {
	body, _ := json.Marshal(map[string]any{ //nolint:errchkjson // numbers and texts
		"notificationType": "CHAT_MESSAGE_SENT", "businessId": id, "chatId": chat, "messageId": strconv.FormatInt(int64(message), 10),
		"sentAt": time.Now().UTC().Format(time.RFC3339),
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.public+"/market/notification", bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// report prints how many messages each process has handled since a time, and how fast.
func (d *demonstration) report(ctx context.Context, since time.Time) error {
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	rows, err := d.conn.Query(ctx, `SELECT business, chat, message, worker, at FROM messages WHERE at > $1`, since)
	if err != nil {
		return err
	}
	workers := map[string]int{}
	var latencies []time.Duration
	var business, chat, message int64
	var worker string
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&business, &chat, &message, &worker, &at}, func() error {
		workers[worker]++
		if sent, ok := d.sent[fmt.Sprint(business, " ", chat, " ", message)]; ok {
			latencies = append(latencies, at.Sub(sent))
		}
		return nil
	}); err != nil {
		return err
	}
	slices.Sort(latencies)
	for worker, n := range workers {
		_, _ = fmt.Fprintf(d.out, "  %s handled %d messages\n", worker, n)
	}
	if n := len(latencies); n > 0 {
		_, _ = fmt.Fprintf(d.out, "  push to row: p50 %v, p99 %v\n", latencies[n/2].Round(time.Millisecond), latencies[n*99/100].Round(time.Millisecond))
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
