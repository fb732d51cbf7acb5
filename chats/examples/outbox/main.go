// Command outbox is a small HTTP service that posts each of an operator's replies once, even
// if it is killed and restarted.
//
//	curl -X POST localhost:8080/reply -H 'Idempotency-Key: order 17, 1' -d '{"chat": 70000003, "text": "On its way!"}'
//	curl 'localhost:8080/reply/order%2017,%201'
//
// If YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID are set, it posts to the real Market
// (or the one at YANDEX_MARKET_BASE_URL) until it is interrupted, and keeps the replies in
// the SQLite file -db, or in the PostgreSQL database at DATABASE_URL. With PostgreSQL, several
// processes may run: all accept replies, one posts, and the others stand by. Without the
// variables it runs a demo on an in-memory Market, in which it is killed several times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

func main() {
	file := flag.String("db", "outbox.db", "SQLite file, if DATABASE_URL is not set")
	listen := flag.String("listen", "127.0.0.1:8080", "address of the service")
	lease := flag.Duration("lease", 5*time.Second, "how long other processes wait before they take over from a process that was killed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *file, *listen, *lease)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file, listen string, lease time.Duration) error {
	if os.Getenv("YANDEX_MARKET_API_KEY") == "" && os.Getenv("YANDEX_MARKET_BUSINESS_ID") == "" {
		return demo(ctx, os.Stdout)
	}
	client, err := newClient(os.Getenv)
	if err != nil {
		return err
	}
	db, dialect, err := openDatabase(file, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	s, err := newService(ctx, client, db, dialect, sqlstore.WithLeaseDuration(lease))
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	defer func() { _ = server.Close() }()
	fmt.Println("listening on", listener.Addr())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	posted := make(chan error, 1)
	go func() { posted <- s.box.Run(ctx) }()
	select {
	case err := <-served:
		return err
	case err := <-posted:
		return err
	}
}

func newClient(env func(string) string) (*chats.Client, error) {
	business, err := strconv.ParseInt(env("YANDEX_MARKET_BUSINESS_ID"), 10, 64)
	if err != nil {
		return nil, errors.New("YANDEX_MARKET_BUSINESS_ID is not a number")
	}
	options := []chats.Option{chats.WithIntegration("outbox-example", chats.Version)}
	if base := env("YANDEX_MARKET_BASE_URL"); base != "" {
		options = append(options, chats.WithBaseURL(base))
	}
	return chats.New(chats.BusinessID(business), chats.APIKey(env("YANDEX_MARKET_API_KEY")), options...)
}
