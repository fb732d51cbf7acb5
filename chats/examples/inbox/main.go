// Command inbox prints every message of a business's chats, each once: killed and
// started again it goes on where it was. Pushes and sweeps work together.
//
// With YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID set it follows the real
// Market (or the one at YANDEX_MARKET_BASE_URL) until it is interrupted, keeps its
// marks in the SQLite file -db, or in the PostgreSQL database at DATABASE_URL, and
// takes pushes at -listen. On PostgreSQL start several: one works, the others stand
// by. Without them it runs to its end on a Market in memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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

func main() {
	file := flag.String("db", "inbox.db", "SQLite file of the marks, without DATABASE_URL")
	listen := flag.String("listen", "", "address for Market's pushes, such as 127.0.0.1:8080; empty for sweeps alone")
	every := flag.Duration("every", time.Minute, "rest between two sweeps")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *file, *listen, *every); err != nil {
		fmt.Fprintln(os.Stderr, "inbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file, listen string, every time.Duration) error {
	if os.Getenv("YANDEX_MARKET_API_KEY") == "" || os.Getenv("YANDEX_MARKET_BUSINESS_ID") == "" {
		return demo(ctx, os.Stdout)
	}
	client, err := newClient(os.Getenv)
	if err != nil {
		return err
	}
	store, closeStore, err := openStore(ctx, file, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer closeStore()
	in, err := inbox.New(client, store, inbox.WithPollInterval(every))
	if err != nil {
		return err
	}
	if listen != "" {
		server, err := receive(in, listen)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
	}
	return in.Run(ctx, printer(os.Stdout))
}

func newClient(env func(string) string) (*chats.Client, error) {
	business, err := strconv.ParseInt(env("YANDEX_MARKET_BUSINESS_ID"), 10, 64)
	if err != nil {
		return nil, errors.New("YANDEX_MARKET_BUSINESS_ID is not a number")
	}
	options := []chats.Option{chats.WithIntegration("inbox-example", chats.Version)}
	if base := env("YANDEX_MARKET_BASE_URL"); base != "" {
		options = append(options, chats.WithBaseURL(base))
	}
	return chats.New(chats.BusinessID(business), chats.APIKey(env("YANDEX_MARKET_API_KEY")), options...)
}

// receive takes pushes: each wakes its chat, and that is all. What is new is read by
// the inbox, so a push that lies, comes twice or gets lost does no harm. How to let in
// nobody but Market shows the example notify.
func receive(in *inbox.Inbox, listen string) (*http.Server, error) {
	handler, err := wake(in)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "inbox: no pushes, sweeps alone:", err)
		}
	}()
	return server, nil
}

func wake(in *inbox.Inbox) (*notify.Handler, error) {
	return notify.NewHandler("inbox-example", chats.Version, func(ctx context.Context, event notify.Event) error {
		switch e := event.(type) {
		case notify.ChatCreated:
			return in.Wake(ctx, e.Chat)
		case notify.MessageSent:
			return in.Wake(ctx, e.Chat)
		}
		return nil
	})
}

// printer is the handler: what a program of yours does with a message stands here.
// One line is one write, so that lines of several chats do not mix.
func printer(out io.Writer) func(context.Context, inbox.Delivery) error {
	return func(_ context.Context, d inbox.Delivery) error {
		_, err := fmt.Fprintf(out, "chat %d, message %d, %s %s: %s\n",
			d.Chat.ID, d.Message.ID, d.Message.CreatedAt.Format(time.DateTime), d.Message.Sender, said(d.Message))
		return err
	}
}

func said(message chats.Message) string {
	switch {
	case message.Text != "":
		return message.Text
	case len(message.Files) > 0:
		return "[" + message.Files[0].Name + "]"
	default:
		return "[sticker]"
	}
}
