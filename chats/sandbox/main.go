// Command sandbox serves an in-memory Market, with a web page where you play the customer. It
// works with programs in any language and sends nothing to Yandex Market.
//
//	go run -C chats/sandbox .                           # with example conversations
//	go run -C chats/sandbox . -empty -state sandbox.db  # empty, and kept across restarts
//
// It prints the base URL, the business and the Api-Key for the program, and the address of
// the page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// config has the values of the command line.
type config struct {
	addr     string
	baseURL  string
	hosts    []string
	business int64
	state    string
	empty    bool
	push     string
}

func parse(args []string, out io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8070", "address to listen on; anyone who reaches it may use it")
	flags.StringVar(&c.baseURL, "base-url", "", "base URL as programs see it, if it is not http:// and the address")
	flags.Func("host", "host name, other than localhost, under which the sandbox may be reached; repeatable", func(name string) error {
		c.hosts = append(c.hosts, name)
		return nil
	})
	flags.Int64Var(&c.business, "business", 1234567, "ID of the business")
	flags.StringVar(&c.state, "state", "", "file that keeps the conversations across restarts")
	flags.BoolVar(&c.empty, "empty", false, "start without conversations")
	flags.StringVar(&c.push, "push", "", "URL for push notifications, as entered in the seller's cabinet")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if c.business < 1 {
		return c, errors.New("-business must be above 0")
	}
	return c, nil
}

// run serves until the context is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	c, err := parse(args, out)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	if c.baseURL == "" {
		c.baseURL = "http://" + reachable(listener.Addr())
	}
	c.baseURL = strings.TrimSuffix(c.baseURL, "/")
	s, err := newSandbox(ctx, c)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.introduce(out)
	if !isLoopback(listener.Addr()) {
		_, _ = fmt.Fprintf(out, "\nWARNING: %s is not a loopback address. Anyone who reaches it can read and change everything here.\n", listener.Addr())
	}
	return errors.Join(s.serve(ctx, listener), s.close())
}

// serve closes every connection when the context is done, because event streams never end.
func (s *sandbox) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: nil, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// introduce prints what a program needs to connect.
func (s *sandbox) introduce(out io.Writer) {
	_, _ = fmt.Fprintf(out, `The sandbox is running. For your program:

  export YANDEX_MARKET_BASE_URL=%s
  export YANDEX_MARKET_BUSINESS_ID=%d
  export YANDEX_MARKET_API_KEY=%s

Play the customer at %s/
`, s.config.baseURL, s.business(), s.key(), s.config.baseURL)
}

func (s *sandbox) business() chats.BusinessID { return chats.BusinessID(s.config.business) }

// reachable returns an address that a browser can open.
func reachable(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if at.Addr().IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", at.Port())
	}
	return at.String()
}

func isLoopback(addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().IsLoopback()
}
