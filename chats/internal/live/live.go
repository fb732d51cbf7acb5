// Package live asks the real Market what its documents leave open, and holds
// every answer against the contract. The tests run the same code against the
// Market in memory.
//
// It reads unless it is given an order to test on. It prints no name, no text, no
// link and no id of the shop's chats: only how things are made.
package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// Config says what to ask, and as whom.
type Config struct {
	BaseURL  string // empty: Market's own
	Key      string
	Business chats.BusinessID
	Order    chats.OrderID // a test order: with it messages are posted
	FileHost string        // the host of attachments that may see the key; empty: none but Market's own
}

// ErrNotAsked is of an environment without a key.
var ErrNotAsked = errors.New("set YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID to ask the real Market")

// FromEnv reads YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID, and where they
// are set YANDEX_MARKET_TEST_ORDER, YANDEX_MARKET_FILE_HOST and
// YANDEX_MARKET_BASE_URL.
func FromEnv(getenv func(string) string) (Config, error) {
	c := Config{
		BaseURL:  getenv("YANDEX_MARKET_BASE_URL"),
		Key:      getenv("YANDEX_MARKET_API_KEY"),
		FileHost: getenv("YANDEX_MARKET_FILE_HOST"),
	}
	if c.Key == "" {
		return c, ErrNotAsked
	}
	business, err := number(getenv, "YANDEX_MARKET_BUSINESS_ID", true)
	if err != nil {
		return c, err
	}
	order, err := number(getenv, "YANDEX_MARKET_TEST_ORDER", false)
	c.Business, c.Order = chats.BusinessID(business), chats.OrderID(order)
	return c, err
}

func number(getenv func(string) string, name string, needed bool) (int64, error) {
	text := getenv(name)
	if text == "" && !needed {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: a number is needed", name)
	}
	return n, nil
}

// Run asks everything and gives the report. What breaks the contract, and every
// field and word that the contract does not know, fails tb.
func Run(tb testing.TB, config Config) *Report {
	tb.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	tb.Cleanup(transport.CloseIdleConnections)
	seen := newTraffic(transport)
	p := &probe{
		ctx: tb.Context(), tb: tb, config: config, traffic: seen, report: &Report{},
		plain: &http.Client{Transport: transport},
	}
	p.client = p.connect(contract.Transport(quiet(tb), seen))
	p.all()
	for _, stranger := range seen.strangers() {
		tb.Errorf("not in the contract: %s", stranger)
	}
	return p.report
}

// probe is one run.
type probe struct {
	ctx     context.Context //nolint:containedctx // of the test
	tb      testing.TB
	config  Config
	client  *chats.Client
	plain   *http.Client // without the key
	traffic *traffic
	report  *Report

	chats []chats.Chat // a sample
	story story        // the longest history of the sample
	file  chats.File   // any attachment that was met
}

func (p *probe) connect(transport http.RoundTripper) *chats.Client {
	p.tb.Helper()
	options := []chats.Option{
		chats.WithHTTPClient(&http.Client{Transport: transport}),
		chats.WithAttachmentAuth(p.fileAuth),
	}
	if p.config.BaseURL != "" {
		options = append(options, chats.WithBaseURL(p.config.BaseURL))
	}
	client, err := chats.New(p.config.Business, chats.APIKey(p.config.Key), options...)
	if err != nil {
		p.tb.Fatalf("%v", err)
	}
	return client
}

func (p *probe) all() {
	p.listing()
	p.histories()
	p.singles()
	p.pageLimits()
	p.filters()
	if p.config.Order != 0 {
		p.writing()
	}
	p.files()
	p.headers()
	p.strangers()
}

func (p *probe) strangers() {
	found := p.traffic.strangers()
	if len(found) == 0 {
		p.report.add("fields and words outside the contract", "none in %s", p.traffic.answers())
	}
	for _, s := range found {
		p.report.add("fields and words outside the contract", "%s", s)
	}
}

// Report is what was found out: questions and answers.
type Report struct{ lines [][2]string }

func (r *Report) add(question, format string, args ...any) {
	r.lines = append(r.lines, [2]string{question, fmt.Sprintf(format, args...)})
}

// Answer is the answer to a question, or "".
func (r *Report) Answer(question string) string {
	var all []string
	for _, line := range r.lines {
		if line[0] == question {
			all = append(all, line[1])
		}
	}
	return strings.Join(all, "; ")
}

func (r *Report) String() string {
	var b strings.Builder
	for _, line := range r.lines {
		_, _ = fmt.Fprintf(&b, "%-40s %s\n", line[0], line[1])
	}
	return b.String()
}

// outcome is an error without the server's words: they may be anything.
func outcome(err error) string {
	var failed *chats.Error
	switch {
	case err == nil:
		return "accepted"
	case !errors.As(err, &failed):
		return "failed"
	case failed.StatusCode == 0:
		return "no answer"
	}
	codes := make([]string, 0, len(failed.Details))
	for _, d := range failed.Details {
		codes = append(codes, contract.Printable(d.Code))
	}
	return strings.Join(append([]string{strconv.Itoa(failed.StatusCode)}, codes...), ", ")
}
