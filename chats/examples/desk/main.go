// Desk is a support desk in a terminal. It lists the chats that are waiting for the shop,
// shows their messages, replies to one, sends a file, opens a chat about an order and shows
// the messages that have arrived since.
//
//	go run ./chats/examples/desk        # a scripted in-memory Market, you are the operator
//	go run ./chats/examples/desk -demo  # the same with a scripted operator
//
// If YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID are set, it works on the real
// Market, or on the one at YANDEX_MARKET_BASE_URL, such as the sandbox. It asks for
// confirmation before it sends anything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ymchats/ymchats-go/chats"
)

const (
	envKey      = "YANDEX_MARKET_API_KEY"
	envBusiness = "YANDEX_MARKET_BUSINESS_ID"
	envBaseURL  = "YANDEX_MARKET_BASE_URL" // optional
)

func main() {
	demo := flag.Bool("demo", false, "run a scripted demo on an in-memory Market, even if the variables are set")
	flag.Parse()
	p := program{
		demo: *demo, getenv: os.Getenv, in: os.Stdin, out: os.Stdout, errOut: os.Stderr, dim: isColorTerminal(os.Stdout),
	}
	work, err := p.prepare()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process immediately
		err = work(ctx)
	}
	os.Exit(p.finish(err))
}

// program is the desk with its environment.
type program struct {
	demo        bool
	getenv      func(string) string
	in          io.Reader
	out, errOut io.Writer
	dim         bool                                      // out can dim text
	wrap        func(http.RoundTripper) http.RoundTripper // for tests; may be nil
}

// prepare chooses the Market and the operator. It sends nothing.
func (p program) prepare() (work func(context.Context) error, err error) {
	key, business := p.getenv(envKey), p.getenv(envBusiness)
	switch {
	case p.demo:
		s := newShowcase(scriptTime())
		p.say("A scripted demo on an in-memory Market. Nothing is sent to Yandex Market.\n")
		return p.onShowcase(s, s.openFile, s.operator()), nil
	case key == "" && business == "":
		p.say("An in-memory Market with scripted customers. Nothing is sent to Yandex Market.\n")
		p.say("For the real Market set %s and %s.\n", envKey, envBusiness)
		return p.onShowcase(newShowcase(realTime()), openFile, p.in), nil
	}
	client, err := p.realClient(key, business)
	if err != nil {
		return nil, err
	}
	where := "The real Market"
	if base := p.getenv(envBaseURL); base != "" {
		where = "The Market at " + base
	}
	p.say("%s, business %d.\n", where, client.Business())
	return p.run(&desk{client: client, openFile: openFile}, p.in), nil
}

func (p program) onShowcase(s *showcase, openFile opener, in io.Reader) func(context.Context) error {
	p.say("The English text in brackets is a translation. A line that begins with > shows the call that was made.\n\n")
	return p.run(&desk{
		client: s.client(p.wrap), openFile: openFile, comment: commentary{on: true, dim: p.dim, english: english()},
	}, in)
}

func (p program) run(d *desk, in io.Reader) func(context.Context) error {
	d.out = p.out
	return func(ctx context.Context) error { return d.run(ctx, in, p.demo) }
}

func (p program) say(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }

// finish reports how the work ended and returns the exit code.
func (p program) finish(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && !mayBePosted(err):
		p.say("\nStopped.\n")
		return 0
	default:
		_, _ = fmt.Fprintln(p.errOut, "\ndesk: "+explain(err))
		return 1
	}
}

func (p program) realClient(key, business string) (*chats.Client, error) {
	if key == "" || business == "" {
		return nil, fmt.Errorf("set both %s and %s, or neither for an in-memory Market", envKey, envBusiness)
	}
	id, err := strconv.ParseInt(business, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is %q, want a number", envBusiness, business)
	}
	options := []chats.Option{chats.WithIntegration("ymchats-desk", chats.Version)}
	if base := p.getenv(envBaseURL); base != "" {
		options = append(options, chats.WithBaseURL(base))
	}
	if p.wrap != nil {
		options = append(options, chats.WithHTTPClient(&http.Client{Transport: p.wrap(http.DefaultTransport)}))
	}
	return chats.New(chats.BusinessID(id), chats.APIKey(key), options...)
}

// opener opens a file to send.
type opener func(path string) (fs.File, error)

func openFile(path string) (fs.File, error) { return os.Open(path) } //nolint:gosec // the operator names the file

// isColorTerminal reports whether escape sequences make sense on f.
func isColorTerminal(f *os.File) bool {
	info, err := f.Stat()
	term := os.Getenv("TERM")
	return err == nil && info.Mode()&fs.ModeCharDevice != 0 && term != "" && term != "dumb" && os.Getenv("NO_COLOR") == ""
}
