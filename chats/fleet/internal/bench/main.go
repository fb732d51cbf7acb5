// Command bench measures the figures of chats/BENCHMARKS.md on the fleet. It needs the
// PostgreSQL server of DATABASE_URL; make bench-fleet starts one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/fleet/internal/rig"
	"github.com/ymchats/ymchats-go/chats/notify"
)

var (
	shops    = flag.Int("shops", 5000, "shops of the idle and push measurements")
	chatsOf  = flag.Int("chats", 50, "chats of a shop")
	idleTime = flag.Duration("idle", 2*time.Minute, "how long the idle fleet is measured")
	pushTime = flag.Duration("push", time.Minute, "how long pushes are sent")
	rate     = flag.Int("rate", 200, "pushes a second")
	poll     = flag.Duration("poll", time.Minute, "poll interval")
	phases   = flag.String("phases", "idle,push,isolation", "what is measured")
)

func main() {
	rig.Play()
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		return errors.New("DATABASE_URL is not set: run make bench-fleet")
	}
	for phase := range strings.SplitSeq(*phases, ",") {
		if err := map[string]func(string) error{"idle": idle, "push": push, "isolation": isolation}[phase](server); err != nil {
			return fmt.Errorf("%s: %w", phase, err)
		}
	}
	return nil
}

func row(name, format string, args ...any) {
	fmt.Printf("| %s | %s |\n", name, fmt.Sprintf(format, args...))
}

// site is a marketplace, a database and workers.
type site struct {
	dsn         string
	drop        func()
	marketplace *rig.Process
	workers     []*rig.Process
	conn        *pgx.Conn

	mu      sync.Mutex
	handled map[string]time.Time // by business, chat and message
	again   int
}

func newSite(server string, shops, chats int) (*site, error) {
	s := &site{handled: map[string]time.Time{}}
	var err error
	ctx := context.Background()
	if s.dsn, s.drop, err = rig.NewDatabase(ctx, server); err != nil {
		return nil, err
	}
	if s.conn, err = pgx.Connect(ctx, s.dsn); err != nil {
		return nil, err
	}
	s.marketplace, err = rig.StartMarketplace(rig.MarketplaceConfig{Shops: shops, Chats: chats})
	return s, err
}

func (s *site) close() {
	for _, w := range s.workers {
		w.Kill()
	}
	if s.marketplace != nil {
		s.marketplace.Kill()
	}
	_ = s.conn.Close(context.Background())
	s.drop()
}

func (s *site) config() rig.WorkerConfig {
	return rig.WorkerConfig{
		DSN: s.dsn, Market: s.marketplace.Address, Key: s.marketplace.Key, Pool: 10, Workers: 50, PollInterval: *poll, Lease: 5 * time.Second,
	}
}

func (s *site) addWorker(c rig.WorkerConfig) error {
	w, err := rig.StartWorker(c, s.line)
	if err == nil {
		s.workers = append(s.workers, w)
	}
	return err
}

func (s *site) line(_ int, line string) {
	fields := strings.Fields(line)
	if len(fields) != 5 || fields[0] != "handled" {
		return
	}
	nanos, _ := strconv.ParseInt(fields[4], 10, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(fields[1:4], " ")
	if !s.handled[key].IsZero() {
		s.again++
	}
	s.handled[key] = time.Unix(0, nanos)
}

func (s *site) count(query string) (n int, err error) {
	err = s.conn.QueryRow(context.Background(), query).Scan(&n)
	return n, err
}

func businesses(n int) []chats.BusinessID {
	ids := make([]chats.BusinessID, n)
	for i := range ids {
		ids[i] = rig.FirstBusiness + chats.BusinessID(i)
	}
	return ids
}

// follow starts all shops and waits until each has been listed once.
func (s *site) follow(n int) (took time.Duration, err error) {
	began := time.Now()
	if err := s.workers[0].Post("/start", businesses(n), nil); err != nil {
		return 0, err
	}
	if err := s.analyze(); err != nil {
		return 0, err
	}
	for {
		done, err := s.count(`SELECT count(*) FROM ymchats_inbox_businesses WHERE start_time IS NOT NULL`)
		if err != nil {
			return 0, err
		}
		if done == n {
			return time.Since(began), nil
		}
		if time.Since(began) > 10*time.Minute {
			return 0, fmt.Errorf("only %d of %d shops are served", done, n)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// analyze runs ANALYZE on River's table, as the fleet's documentation recommends after the
// first start of thousands of shops: autovacuum takes a minute.
func (s *site) analyze() error {
	_, err := s.conn.Exec(context.Background(), "ANALYZE river_job")
	return err
}

// settling is how long the fleet is busier than later, because the first sweeps are spread
// over two intervals.
func settling() time.Duration { return 2**poll + 10*time.Second }

type usage struct {
	at                              time.Time
	workers, marketplace, database  time.Duration
	statements, marketplaceRequests int64
	stats                           []rig.WorkerStats
	seconds                         map[int64]int
}

func (s *site) usage() (u usage, err error) {
	u.stats = make([]rig.WorkerStats, len(s.workers))
	for n, w := range s.workers {
		if err := w.Post("/stats", nil, &u.stats[n]); err != nil {
			return u, err
		}
		u.workers += rig.CPU(w.PID())
		u.statements += u.stats[n].Statements
	}
	var marketplace rig.MarketplaceStats
	if err := s.marketplace.Post("/marketplace/stats", nil, &marketplace); err != nil {
		return u, err
	}
	u.marketplaceRequests, u.seconds = marketplace.Requests, marketplace.Seconds
	u.marketplace, u.database, u.at = rig.CPU(s.marketplace.PID()), rig.ServerCPU(context.Background(), s.dsn), time.Now()
	return u, nil
}

// peak returns the highest and the average number of requests per second between two times.
func peak(seconds map[int64]int, from, to time.Time) (highest int, average float64) {
	total := 0
	for at := from.Unix() + 1; at < to.Unix(); at++ {
		highest = max(highest, seconds[at])
		total += seconds[at]
	}
	return highest, float64(total) / float64(max(1, to.Unix()-from.Unix()-1))
}

func idle(server string) error {
	s, err := newSite(server, *shops, *chatsOf)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.addWorker(s.config()); err != nil {
		return err
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	took, err := s.follow(*shops)
	if err != nil {
		return err
	}
	row("all served after a first start", "%.1f s", took.Seconds())
	time.Sleep(settling())
	from, err := s.usage()
	if err != nil {
		return err
	}
	highest, average := peak(from.seconds, before.at, before.at.Add(took))
	row("start: requests a second", "%.0f, at most %d", average, highest)
	time.Sleep(*idleTime)
	to, err := s.usage()
	if err != nil {
		return err
	}
	report(from, to)
	last, first := to.stats[0], before.stats[0]
	row("memory per idle shop", "%.0f B of heap, %.0f B of stacks", float64(int64(last.Heap)-int64(first.Heap))/float64(*shops),
		float64(int64(last.Stacks)-int64(first.Stacks))/float64(*shops))
	row("goroutines", "%d, without shops %d", last.Goroutines, first.Goroutines)
	row("connections", "%d", last.Conns)
	return nil
}

func report(from, to usage) {
	seconds := to.at.Sub(from.at).Seconds()
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / seconds }
	workers, database := to.workers-from.workers, to.database-from.database
	row("processor", "workers %.1f %%, PostgreSQL %.1f %%, Market %.1f %% of a core",
		percent(workers), percent(database), percent(to.marketplace-from.marketplace))
	row("statements a second", "%.0f", float64(to.statements-from.statements)/seconds)
	highest, average := peak(to.seconds, from.at, to.at)
	row("requests a second", "%.0f, at most %d", average, highest)
}

// pusher sends pushes to workers in turn.
type pusher struct {
	*site

	mu     sync.Mutex
	sent   map[string]time.Time
	errors int
}

func (p *pusher) push(n int, business chats.BusinessID) {
	var said rig.SayResult
	if p.marketplace.Post(fmt.Sprintf("/marketplace/say?business=%d&chat=%d", business, rand.IntN(1000)), nil, &said) != nil {
		return
	}
	began := time.Now()
	p.mu.Lock()
	p.sent[fmt.Sprint(int64(business), " ", int64(said.Chat), " ", int64(said.Message))] = began
	p.mu.Unlock()
	event := notify.MessageSent{Business: business, Chat: said.Chat, Message: said.Message}
	if err := p.workers[n%len(p.workers)].Post("/push", event, nil); err != nil {
		p.mu.Lock()
		p.errors++
		p.mu.Unlock()
	}
}

// run sends pushes at the given rate to the shops that choose returns.
func (p *pusher) run(d time.Duration, rate int, choose func() chats.BusinessID) {
	var sending sync.WaitGroup
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		<-ticker.C
		business := choose()
		sending.Go(func() { p.push(n, business) })
	}
	sending.Wait()
}

// latencies waits until everything is handled, for at most a minute.
func (p *pusher) latencies() (sorted []time.Duration, lost int) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		sorted, lost = nil, 0
		p.site.mu.Lock()
		for key, at := range p.sent {
			if done := p.handled[key]; done.IsZero() {
				lost++
			} else {
				sorted = append(sorted, done.Sub(at))
			}
		}
		p.site.mu.Unlock()
		if lost == 0 || time.Now().After(end) {
			slices.Sort(sorted)
			return sorted, lost
		}
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(100 * time.Microsecond)
}

func push(server string) error {
	s, err := newSite(server, *shops, *chatsOf)
	if err != nil {
		return err
	}
	defer s.close()
	for range 3 {
		if err := s.addWorker(s.config()); err != nil {
			return err
		}
	}
	if _, err := s.follow(*shops); err != nil {
		return err
	}
	time.Sleep(settling())
	from, err := s.usage()
	if err != nil {
		return err
	}
	p := &pusher{site: s, sent: map[string]time.Time{}}
	p.run(*pushTime, *rate, func() chats.BusinessID { return rig.FirstBusiness + chats.BusinessID(rand.IntN(*shops)) })
	to, err := s.usage()
	if err != nil {
		return err
	}
	sorted, lost := p.latencies()
	time.Sleep(againTime)
	s.mu.Lock()
	again := s.again
	s.mu.Unlock()
	row("pushes", "%d in %v, %d lost, %d handled twice, %d refused", len(p.sent), *pushTime, lost, again, p.errors)
	row("push to handler", "p50 %v, p90 %v, p99 %v, max %v", quantile(sorted, 0.5), quantile(sorted, 0.9), quantile(sorted, 0.99), quantile(sorted, 1))
	report(from, to)
	for n, stats := range to.stats {
		row(fmt.Sprint("steps of worker ", n+1), "%d", stats.InboxSteps-from.stats[n].InboxSteps)
	}
	return nil
}

// againTime is how long the handler may still be called again after everything has been handled.
const againTime = 10 * time.Second

// isolation compares the latency of 997 shops without and with three failing ones.
func isolation(server string) error {
	const n = 1000
	for _, faulty := range []bool{false, true} {
		s, err := newSite(server, n, *chatsOf)
		if err != nil {
			return err
		}
		p := &pusher{site: s, sent: map[string]time.Time{}}
		if err := p.isolated(n, faulty); err != nil {
			s.close()
			return err
		}
		s.close()
	}
	return nil
}

const backlog = rig.FirstBusiness + 2

func (p *pusher) isolated(n int, faulty bool) error {
	c := p.config()
	if faulty {
		c.WrongKey, c.Hang = rig.FirstBusiness, rig.FirstBusiness+1
	}
	for range 3 {
		if err := p.addWorker(c); err != nil {
			return err
		}
	}
	if err := p.workers[0].Post("/start", businesses(n), nil); err != nil {
		return err
	}
	if err := p.analyze(); err != nil {
		return err
	}
	time.Sleep(30 * time.Second)
	name := "without faulty shops"
	if faulty {
		name = "with three"
		p.push(0, c.Hang)
		delete(p.sent, "")
		p.sent = map[string]time.Time{}
		var said rig.SayResult
		for chat := range *chatsOf {
			if err := p.marketplace.Post(fmt.Sprintf("/marketplace/say?business=%d&chat=%d&times=20000", backlog, chat), nil, &said); err != nil {
				return err
			}
			event := notify.MessageSent{Business: backlog, Chat: said.Chat, Message: said.Message}
			if err := p.workers[0].Post("/push", event, nil); err != nil {
				return err
			}
		}
	}
	p.run(*pushTime, 50, func() chats.BusinessID { return rig.FirstBusiness + 3 + chats.BusinessID(rand.IntN(n-3)) })
	sorted, lost := p.latencies()
	row("push to handler "+name, "p50 %v, p99 %v, max %v, %d lost", quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1), lost)
	return nil
}
