// Package live finds out how the real Market behaves where its behaviour is not documented, and
// checks every response against the contract. The tests run the same code against the in-memory
// Market.
//
// It only reads, unless a test order is configured. It prints the structure of the shop's chats,
// but none of their names, texts, links or IDs.
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

// Config configures a run.
type Config struct {
	BaseURL  string // empty means the real Market
	Key      string
	Business chats.BusinessID
	Order    chats.OrderID // a test order; if set, messages are posted to its chat
	FileHost string        // a host of attachments that may receive the key, in addition to the API's host
}

// ErrNotAsked is returned by FromEnv if the environment has no key.
var ErrNotAsked = errors.New("set YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID to test against the real Market")

// FromEnv reads YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID, and the optional
// YANDEX_MARKET_TEST_ORDER, YANDEX_MARKET_FILE_HOST and YANDEX_MARKET_BASE_URL.
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

func number(getenv func(string) string, name string, required bool) (int64, error) {
	text := getenv(name)
	if text == "" && !required {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: must be a positive number", name)
	}
	return n, nil
}

// Run runs every probe and returns the report. It reports every violation of the contract, and
// every field and enum value that is not in the contract, as an error of tb.
func Run(tb testing.TB, config Config) *Report {
	tb.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	tb.Cleanup(transport.CloseIdleConnections)
	seen := newTraffic(transport)
	p := &probe{
		ctx: tb.Context(), tb: tb, config: config, traffic: seen, report: &Report{},
		plain: &http.Client{Transport: transport},
	}
	p.client = p.connect(contract.Transport(redacting(tb), seen))
	p.all()
	for _, u := range seen.unknowns() {
		tb.Errorf("not in the contract: %s", u)
	}
	return p.report
}

// probe is the state of one run.
type probe struct {
	ctx     context.Context //nolint:containedctx // the test's context
	tb      testing.TB
	config  Config
	client  *chats.Client
	plain   *http.Client // without the key
	traffic *traffic
	report  *Report

	chats  []chats.Chat  // the first chats of the list
	sample historySample // the longest history that was read
	file   chats.File    // an attachment, if any was found
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
	p.unknowns()
}

func (p *probe) unknowns() {
	found := p.traffic.unknowns()
	if len(found) == 0 {
		p.report.add("fields and values outside the contract", "none in %s", p.traffic.size())
	}
	for _, u := range found {
		p.report.add("fields and values outside the contract", "%s", u)
	}
}

// Report is the result of a run: questions and findings.
type Report struct{ lines [][2]string }

func (r *Report) add(question, format string, args ...any) {
	r.lines = append(r.lines, [2]string{question, fmt.Sprintf(format, args...)})
}

// Finding returns the findings for a question, or "".
func (r *Report) Finding(question string) string {
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

// outcome describes an error without the server's text, which may contain personal data.
func outcome(err error) string {
	var failed *chats.Error
	switch {
	case err == nil:
		return "accepted"
	case !errors.As(err, &failed):
		return "failed"
	case failed.StatusCode == 0:
		return "no response"
	}
	codes := make([]string, 0, len(failed.Details))
	for _, d := range failed.Details {
		codes = append(codes, contract.Printable(d.Code))
	}
	return strings.Join(append([]string{strconv.Itoa(failed.StatusCode)}, codes...), ", ")
}
