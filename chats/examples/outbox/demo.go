package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

const demoReplies = 24

// demo runs the service in a separate process on an in-memory Market, and kills it several
// times. At the end it counts the messages in the chats.
func demo(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d := &demonstration{out: out, file: filepath.Join(dir, "outbox.db"), market: chatstest.NewMarket(chatstest.WithLatency(50 * time.Millisecond))}
	if err := d.serveMarket(ctx); err != nil {
		return err
	}
	defer func() { _ = d.server.Close() }()
	for range 4 {
		d.chats = append(d.chats, d.market.AddChat(chats.Chat{}))
	}
	defer func() { d.kill() }()
	for n := range demoReplies {
		if n%6 == 0 {
			if err := d.restart(ctx); err != nil {
				return err
			}
		}
		if err := d.reply(ctx, n); err != nil {
			return err
		}
	}
	return d.await(ctx)
}

type demonstration struct {
	out    io.Writer
	file   string
	market *chatstest.Market
	server *http.Server
	base   string // of the Market
	chats  []chats.ChatID

	process *exec.Cmd
	address string // of the service
}

func (d *demonstration) serveMarket(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.base = "http://" + listener.Addr().String()
	d.server = &http.Server{Handler: d.market, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = d.server.Serve(listener) }()
	return nil
}

// restart kills the service with kill -9 and starts it again.
func (d *demonstration) restart(ctx context.Context) error {
	if d.process != nil {
		_, _ = fmt.Fprintln(d.out, "kill -9")
	}
	d.kill()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	d.process = exec.CommandContext(ctx, self, "-db", d.file, "-listen", "127.0.0.1:0", "-lease", "1s") //nolint:gosec // itself
	d.process.Stderr = os.Stderr
	d.process.Env = append(os.Environ(), "DATABASE_URL=", "YANDEX_MARKET_API_KEY="+d.market.Key(),
		fmt.Sprint("YANDEX_MARKET_BUSINESS_ID=", d.market.Business()), "YANDEX_MARKET_BASE_URL="+d.base)
	stdout, err := d.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.process.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return errors.New("the service did not start")
	}
	d.address = "http://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	_, _ = fmt.Fprintln(d.out, "the service is started")
	return nil
}

func (d *demonstration) kill() {
	if d.process != nil {
		_ = d.process.Process.Kill()
		_ = d.process.Wait()
	}
}

func text(n int) string { return fmt.Sprintf("Reply %d: your order is on its way.", n) }

func key(n int) string { return fmt.Sprint("reply-", n) }

// reply acts as an operator who presses "send" twice.
func (d *demonstration) reply(ctx context.Context, n int) error {
	body, err := json.Marshal(reply{d.chats[n%len(d.chats)], text(n)})
	if err != nil {
		return err
	}
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.address+"/reply", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Idempotency-Key", key(n))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			return fmt.Errorf("reply %d: %s", n, resp.Status)
		}
	}
	return nil
}

// await waits until every reply has been sent, and counts the messages.
func (d *demonstration) await(ctx context.Context) error {
	for n := range demoReplies {
		state := status{}
		for state.State != outbox.Sent {
			if err := d.get(ctx, n, &state); err != nil {
				return err
			}
			timer := time.NewTimer(50 * time.Millisecond)
			<-timer.C
		}
	}
	posted := map[string]int{}
	for _, chat := range d.chats {
		for _, message := range d.market.Messages(chat) {
			posted[message.Text]++
		}
	}
	once := 0
	for n := range demoReplies {
		if posted[text(n)] == 1 {
			once++
		}
	}
	_, _ = fmt.Fprintf(d.out, "%d replies, %d posted once\n", demoReplies, once)
	if once != demoReplies {
		return errors.New("not every reply was posted once")
	}
	return nil
}

func (d *demonstration) get(ctx context.Context, n int, state *status) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address+"/reply/"+url.PathEscape(key(n)), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return json.NewDecoder(resp.Body).Decode(state)
}
