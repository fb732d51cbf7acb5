// Command notify shows how to process push notifications as the vendor recommends:
// Market announces a new message, and the shop responds immediately and then reads the
// history of the chat.
//
// If YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID are set, it listens on -listen
// for the real Market, or the one at YANDEX_MARKET_BASE_URL, behind a proxy that
// terminates HTTPS: enter https://your.domain/market in the seller's cabinet. Otherwise
// it runs a scripted demo on an in-memory Market and exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on for the real Market")
	proxy := flag.String("proxy", "127.0.0.1", "address of the proxy that terminates HTTPS and appends to X-Forwarded-For")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Getenv, *listen, *proxy, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env func(string) string, listen, proxy string, out io.Writer) error {
	key, business := env("YANDEX_MARKET_API_KEY"), env("YANDEX_MARKET_BUSINESS_ID")
	if key == "" || business == "" {
		return demo(ctx, out)
	}
	id, err := strconv.ParseInt(business, 10, 64)
	if err != nil {
		return errors.New("YANDEX_MARKET_BUSINESS_ID is not a number")
	}
	options := []chats.Option{chats.WithIntegration("notify-example", chats.Version)}
	if base := env("YANDEX_MARKET_BASE_URL"); base != "" {
		options = append(options, chats.WithBaseURL(base))
	}
	client, err := chats.New(chats.BusinessID(id), chats.APIKey(key), options...)
	if err != nil {
		return err
	}
	return serve(ctx, newReader(client, out), listen, proxy)
}

// serve listens until ctx is done. Only Market's networks are allowed.
func serve(ctx context.Context, reader *reader, listen, proxy string) error {
	address, err := netip.ParseAddr(proxy)
	if err != nil {
		return errors.New("-proxy is not an IP address")
	}
	handler, err := newHandler(reader, notify.WithAllowedNetworks(notify.MarketNetworks()...),
		notify.WithTrustedProxies(netip.PrefixFrom(address, address.BitLen())))
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: handler.Mount(http.NewServeMux(), "/market"), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	_, _ = fmt.Fprintln(reader.out, "listening on", listen)
	go reader.run(ctx)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
