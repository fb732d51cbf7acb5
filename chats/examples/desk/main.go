// Desk is a support desk in a terminal: it lists the chats that wait for the shop,
// shows what was said in them, answers one, sends a file, opens a chat about an
// order and prints what has arrived since.
//
//	go run ./chats/examples/desk        # on a Market in memory
//	go run ./chats/examples/desk -demo  # the same, unattended to the end
//
// With YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID set it works on the real
// Market. It asks before it sends anything.
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
)

func main() {
	demo := flag.Bool("demo", false, "unattended to the end, on a Market in memory whatever the environment has")
	flag.Parse()
	w := world{demo: *demo, getenv: os.Getenv, in: os.Stdin, out: os.Stdout, err: os.Stderr}
	work, err := w.prepare()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for anything
		err = work(ctx)
	}
	os.Exit(w.close(err))
}

// world is what the program has around it.
type world struct {
	demo     bool
	getenv   func(string) string
	in       io.Reader
	out, err io.Writer
	wrap     func(http.RoundTripper) http.RoundTripper // tests look at every exchange
}

// prepare sends nothing yet.
func (w world) prepare() (work func(context.Context) error, err error) {
	key, business := w.getenv(envKey), w.getenv(envBusiness)
	switch {
	case w.demo:
		m := newShowcase()
		return w.desk(m.client(w.wrap), m.open, m.operator()), nil
	case key == "" && business == "":
		_, _ = fmt.Fprintf(w.out, "A Market in memory: set %s and %s for the real one.\n", envKey, envBusiness)
		return w.desk(newShowcase().client(w.wrap), open, w.in), nil
	}
	client, err := w.realClient(key, business)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(w.out, "The real Market, business %d.\n", client.Business())
	return w.desk(client, open, w.in), nil
}

func (w world) desk(client *chats.Client, open opener, in io.Reader) func(context.Context) error {
	d := &desk{client: client, out: w.out, open: open}
	return func(ctx context.Context) error { return d.run(ctx, in, w.demo) }
}

// close says how it ended and gives the exit code.
func (w world) close(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && !errors.Is(err, chats.ErrOutcomeUnknown):
		_, _ = fmt.Fprintln(w.out, "\nStopped.")
		return 0
	default:
		_, _ = fmt.Fprintln(w.err, "\ndesk: "+explain(err))
		return 1
	}
}

func (w world) realClient(key, business string) (*chats.Client, error) {
	if key == "" || business == "" {
		return nil, fmt.Errorf("%s and %s belong together: set both, or neither for a Market in memory", envKey, envBusiness)
	}
	id, err := strconv.ParseInt(business, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s must be a number, and is %q", envBusiness, business)
	}
	options := []chats.Option{chats.WithIntegration("ymchats-desk", chats.Version)}
	if w.wrap != nil {
		options = append(options, chats.WithHTTPClient(&http.Client{Transport: w.wrap(http.DefaultTransport)}))
	}
	return chats.New(chats.BusinessID(id), chats.APIKey(key), options...)
}

// opener opens a file that is to be sent.
type opener func(path string) (fs.File, error)

func open(path string) (fs.File, error) { return os.Open(path) } //nolint:gosec // the operator names the file
