// Command inbox prints every message of a business's chats. After a restart, even after a
// kill, it continues where it stopped. It combines push notifications and sweeps.
//
// If YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID are set, it uses the real Market
// (or the one at YANDEX_MARKET_BASE_URL) until it is interrupted. It keeps its checkpoints
// in the SQLite file -db, or in the PostgreSQL database at DATABASE_URL, and receives push
// notifications at -listen. It serves its status at -admin, for operators: /healthz as JSON,
// with 503 if the store fails or the inbox is behind by more than -max-lag, and /metrics for
// Prometheus. With PostgreSQL, several processes may run: one works and the others are
// standbys. Without the variables it runs a scripted demo on an in-memory Market and exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/notify"
)

type settings struct {
	file, listen, admin string
	interval, maxLag    time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.file, "db", "inbox.db", "SQLite file for the checkpoints, if DATABASE_URL is not set")
	flag.StringVar(&s.listen, "listen", "", "address to receive push notifications on, such as 127.0.0.1:8080; empty for sweeps only")
	flag.StringVar(&s.admin, "admin", "", "address of /healthz and /metrics, such as 127.0.0.1:8081, not reachable from outside; empty for none")
	flag.DurationVar(&s.interval, "interval", time.Minute, "delay between sweeps")
	flag.DurationVar(&s.maxLag, "max-lag", 15*time.Minute,
		"/healthz fails if a chat has been due, or no sweep has ended, for longer than this; choose more than -interval plus the duration of a sweep")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "inbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	if os.Getenv("YANDEX_MARKET_API_KEY") == "" && os.Getenv("YANDEX_MARKET_BUSINESS_ID") == "" {
		return demo(ctx, os.Stdout)
	}
	client, err := newClient(os.Getenv)
	if err != nil {
		return err
	}
	store, closeStore, err := openStore(ctx, s.file, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer closeStore()
	in, err := inbox.New(client, store, inbox.WithPollInterval(s.interval), inbox.WithLogger(slog.Default()))
	if err != nil {
		return err
	}
	if s.listen != "" {
		handler, err := wake(in)
		if err != nil {
			return err
		}
		defer serve(s.listen, handler, "no push notifications, sweeps only")()
	}
	if s.admin != "" {
		defer serve(s.admin, adminHandler(in, s.maxLag), "no /healthz and /metrics")()
	}
	return in.Run(ctx, printer(os.Stdout))
}

func newClient(env func(string) string) (*chats.Client, error) {
	business, err := strconv.ParseInt(env("YANDEX_MARKET_BUSINESS_ID"), 10, 64)
	if err != nil {
		return nil, errors.New("YANDEX_MARKET_BUSINESS_ID must be a number")
	}
	options := []chats.Option{chats.WithIntegration("inbox-example", chats.Version)}
	if base := env("YANDEX_MARKET_BASE_URL"); base != "" {
		options = append(options, chats.WithBaseURL(base))
	}
	return chats.New(chats.BusinessID(business), chats.APIKey(env("YANDEX_MARKET_API_KEY")), options...)
}

// serve serves HTTP until the returned function is called. If that fails, the program goes on
// without it.
func serve(address string, handler http.Handler, failure string) (stop func()) {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			_, _ = fmt.Fprintf(os.Stderr, "inbox: %s: %v\n", failure, err)
		}
	}()
	return func() { _ = server.Close() }
}

// wake returns the handler of push notifications. A notification only wakes its chat: the inbox
// reads the messages itself, so a forged, repeated or lost notification does no harm. The example
// notify shows how to allow only Market's networks.
func wake(in *inbox.Inbox) (*notify.Handler, error) {
	return notify.NewHandler("inbox-example", chats.Version, func(ctx context.Context, event notify.Event) error {
		if _, chat := notify.ChatOf(event); chat != 0 {
			return in.Wake(ctx, chat)
		}
		return nil
	})
}

// printer returns the handler; your own program would process the message here. Each line
// is a single write, so that lines of different chats do not mix.
func printer(out io.Writer) func(context.Context, inbox.Delivery) error {
	return func(_ context.Context, d inbox.Delivery) error {
		_, err := fmt.Fprintf(out, "chat %d, message %d, %s %s: %s\n",
			d.Chat.ID, d.Message.ID, d.Message.CreatedAt.Format(time.DateTime), d.Message.Sender, summary(d.Message))
		return err
	}
}

func summary(message chats.Message) string {
	switch {
	case message.Text != "":
		return message.Text
	case len(message.Files) > 0:
		return "[" + message.Files[0].Name + "]"
	default:
		return "[sticker]"
	}
}
