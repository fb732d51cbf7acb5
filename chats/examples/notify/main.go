// Command notify shows the whole way of a push, as the vendor recommends it: Market
// tells of a new message, the shop answers at once, and then fetches what is new.
//
// With YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID set it listens on
// -listen for the real Market, behind a proxy of yours that speaks https. Without
// them it runs to its end on a Market in memory.
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
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on, with the real Market")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Getenv, *listen, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env func(string) string, listen string, out io.Writer) error {
	key, business := env("YANDEX_MARKET_API_KEY"), env("YANDEX_MARKET_BUSINESS_ID")
	if key == "" || business == "" {
		return demo(ctx, out)
	}
	id, err := strconv.ParseInt(business, 10, 64)
	if err != nil {
		return errors.New("YANDEX_MARKET_BUSINESS_ID is not a number")
	}
	client, err := chats.New(chats.BusinessID(id), chats.APIKey(key), chats.WithIntegration("notify-example", chats.Version))
	if err != nil {
		return err
	}
	return serve(ctx, newReader(client, out), listen)
}

// serve listens until the context ends. Let nobody but Market in: behind a proxy,
// notify.WithClientAddr says where the sender's address is.
func serve(ctx context.Context, reader *reader, listen string) error {
	handler, err := newHandler(reader)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go reader.run(ctx)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func newHandler(reader *reader) (*notify.Handler, error) {
	return notify.NewHandler("notify-example", chats.Version, reader.handle, notify.WithDedupe(time.Hour, 10_000))
}
