package notify_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats/notify"
)

func ExampleNewHandler() {
	handler, err := notify.NewHandler("shop", "1.0", func(_ context.Context, event notify.Event) error {
		switch e := event.(type) {
		case notify.ChatCreated:
			fmt.Println("new chat:", e.Chat)
		case notify.MessageSent:
			fmt.Println("message", e.Message, "in chat", e.Chat)
		}
		return nil // all other events need no retry
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(marketPosts(handler, "/", "5.45.207.7:443", `{"notificationType":"CHAT_MESSAGE_SENT",
		"chatId":9021,"messageId":"17","businessId":7431,"sentAt":"2026-04-20T09:30:00.213Z"}`))
	// Output:
	// message 17 in chat 9021
	// 200
}

// The address in the seller's cabinet may be https://shop.example/market, the same
// with a trailing slash, or with /notification appended.
func ExampleHandler_Mount() {
	handler, err := notify.NewHandler("shop", "1.0", func(context.Context, notify.Event) error { return nil })
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	server := &http.Server{Handler: handler.Mount(mux, "/market"), ReadHeaderTimeout: 5 * time.Second}

	for _, path := range []string{"/market/notification", "/market//notification", "/market/notification/notification"} {
		fmt.Println(marketPosts(server.Handler, path, "5.45.207.7:443", `{"notificationType":"PING"}`))
	}
	// Output:
	// 200
	// 200
	// 200
}

func ExampleWithAllowedNetworks() {
	handler, err := notify.NewHandler("shop", "1.0", func(context.Context, notify.Event) error { return nil },
		notify.WithAllowedNetworks(notify.MarketNetworks()...))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(marketPosts(handler, "/", "5.45.207.7:443", `{"notificationType":"PING"}`))
	fmt.Println(marketPosts(handler, "/", "203.0.113.5:443", `{"notificationType":"PING"}`))
	// Output:
	// 200
	// 403
}

// The proxy at 10.0.0.1 appends the address of its client to X-Forwarded-For; the
// client may have written anything before that.
func ExampleWithTrustedProxies() {
	handler, err := notify.NewHandler("shop", "1.0", func(context.Context, notify.Event) error { return nil },
		notify.WithAllowedNetworks(notify.MarketNetworks()...),
		notify.WithTrustedProxies(netip.MustParsePrefix("10.0.0.1/32")))
	if err != nil {
		log.Fatal(err)
	}
	for _, forwarded := range []string{"5.45.207.7", "5.45.207.7, 203.0.113.5"} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"notificationType":"PING"}`))
		r.RemoteAddr = "10.0.0.1:51000"
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 403
}

func ExampleWithDedupe() {
	handler, err := notify.NewHandler("shop", "1.0", func(_ context.Context, event notify.Event) error {
		fmt.Println("new chat:", event.(notify.ChatCreated).Chat)
		return nil
	}, notify.WithDedupe(24*time.Hour, 1_000_000)) // the default is two hours and 10,000 events
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		fmt.Println(marketPosts(handler, "/", "5.45.207.7:443", `{"notificationType":"CHAT_CREATED",
			"chatId":9021,"businessId":7431,"createdAt":"2026-04-20T09:30:00.213Z"}`))
	}
	// Output:
	// new chat: 9021
	// 200
	// 200
}

// marketPosts returns the status that Market gets.
func marketPosts(handler http.Handler, path, remote, body string) int {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}
