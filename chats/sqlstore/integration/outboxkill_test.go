package integration

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

var manyKills = flag.Bool("kills", false, "kill the processes of the outbox 200 times, with 2,400 replies")

var outboxOptions = []sqlstore.Option{sqlstore.WithLeaseDuration(time.Second)}

// playOutbox posts what is put until it is killed, and prints what WithSettled is called
// with.
func playOutbox(d database) error {
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return err
	}
	address, key, _ := strings.Cut(strings.TrimSpace(line), " ")
	db, err := d.pool()
	if err != nil {
		return err
	}
	store, err := sqlstore.New(context.Background(), db, d.dialect, outboxOptions...)
	if err != nil {
		return err
	}
	client, err := chats.New(business, chats.APIKey(key), chats.WithBaseURL(address))
	if err != nil {
		return err
	}
	box, err := outbox.New(client, store, outbox.WithSettled(func(_ context.Context, r outbox.Result) error {
		fmt.Println("settled", r.State, r.Item.Key)
		return nil
	}))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return box.Run(context.Background())
}

// fixture is a Market, a database, and processes that post and are killed.
type fixture struct {
	*testing.T

	d       database
	market  *chatstest.Server
	store   *sqlstore.Store
	random  *rand.Rand
	chats   []chats.ChatID
	items   []outbox.Item
	workers []*child
	killed  []*child
}

func newFixture(t *testing.T, d database, workers int) *fixture {
	t.Helper()
	s := &fixture{T: t, d: d, store: d.store(t, outboxOptions...), random: rand.New(rand.NewPCG(1, 2))}
	s.market = chatstest.NewServer(t, chatstest.WithBusiness(business), chatstest.WithLatency(10*time.Millisecond),
		chatstest.WithHourlyLimit(chats.OpSendMessageToChat, 1_000_000), chatstest.WithHourlyLimit(chats.OpSendFileToChat, 1_000_000),
		chatstest.WithHourlyLimit(chats.OpGetChatHistory, 1_000_000)) // so that it does not wait for the next quota window
	for range 40 {
		s.chats = append(s.chats, s.market.AddChat(chats.Chat{}))
	}
	for range workers {
		s.workers = append(s.workers, s.startWorker())
	}
	return s
}

func (s *fixture) startWorker() *child {
	c := start(s.T, "outbox", s.d)
	c.write(s.T, s.market.URL+" "+s.market.Key())
	return c
}

// put puts n items: texts, files, and texts that are the same.
func (s *fixture) put(n int) {
	batch := make([]outbox.Item, n)
	for i := range batch {
		number := len(s.items) + i
		item := outbox.Item{Key: fmt.Sprint("reply ", number), Chat: s.chats[s.random.IntN(len(s.chats))]}
		switch number % 5 {
		case 0:
			item.FileName, item.File = fmt.Sprint(number, ".txt"), []byte(item.Key)
		case 1:
			item.Text = "the same text"
		default:
			item.Text = item.Key
		}
		batch[i] = item
	}
	require.NoError(s.T, s.store.Put(s.Context(), business, batch...))
	s.items = append(s.items, batch...)
}

// leader waits until a process has the lease and returns its index.
func (s *fixture) leader() (leader int) {
	require.Eventually(s.T, func() bool {
		sum, err := s.store.Counts(s.Context(), business)
		leader = slices.IndexFunc(s.workers, func(c *child) bool {
			return strings.Contains(sum.Holder, "/"+strconv.Itoa(c.cmd.Process.Pid)+"/")
		})
		return err == nil && leader >= 0
	}, patience, 5*time.Millisecond, "no process has the lease")
	return leader
}

// kill kills the leader at a random moment, with kill -9.
func (s *fixture) kill() {
	n := s.leader()
	timer := time.NewTimer(time.Duration(s.random.IntN(300)) * time.Millisecond)
	<-timer.C
	s.workers[n].kill()
	s.killed = append(s.killed, s.workers[n])
	s.workers[n] = s.startWorker()
}

// freeze stops the leader for a while.
func (s *fixture) freeze(d time.Duration) {
	c := s.workers[s.leader()]
	c.stop(s.T)
	timer := time.NewTimer(d)
	<-timer.C
	c.signal(s.T, syscall.SIGCONT)
}

// awaitAll waits until everything is settled and reported. It fails if there is no progress
// for as long as patience.
func (s *fixture) awaitAll(patience time.Duration) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for left, since := -1, time.Now(); left != 0; <-ticker.C {
		sum, err := s.store.Counts(s.Context(), business)
		if n := sum.Queued + sum.Sending + sum.Unreported; err == nil && n != left {
			left, since = n, time.Now()
		}
		require.Less(s.T, time.Since(since), patience, "%d items are not settled", left)
	}
}

// check compares the items with what stands in the chats.
func (s *fixture) check() {
	posts, sent, uncertain := map[string]int{}, map[string]int{}, map[string]int{}
	for _, id := range s.chats {
		for _, m := range s.market.Messages(id) {
			content := m.Text
			if len(m.Files) > 0 {
				content = m.Files[0].Name
			}
			posts[fmt.Sprint(id, " ", content)]++
		}
	}
	heard := map[string]bool{}
	for _, c := range append(s.killed, s.workers...) {
		for _, line := range c.lines() {
			heard[line] = true
		}
	}
	last, counts := map[chats.ChatID]chats.MessageID{}, map[outbox.State]int{}
	for _, item := range s.items {
		r, err := s.store.Item(s.Context(), business, item.Key)
		require.NoError(s.T, err)
		counts[r.State]++
		assert.True(s.T, heard[fmt.Sprint("settled ", r.State, " ", item.Key)], "%s is %s and was not reported", item.Key, r.State)
		content := fmt.Sprint(item.Chat, " ", item.Text+item.FileName)
		switch r.State {
		case outbox.Sent:
			sent[content]++
			assert.Greater(s.T, r.Message.ID, last[item.Chat], "%s is out of order", item.Key)
			last[item.Chat] = r.Message.ID
		case outbox.Uncertain:
			uncertain[content]++
		default:
			assert.Fail(s.T, "unexpected", "%s is %s: %v", item.Key, r.State, r.Failure)
		}
	}
	for _, item := range s.items {
		content := fmt.Sprint(item.Chat, " ", item.Text+item.FileName)
		assert.GreaterOrEqual(s.T, posts[content], sent[content], "%q is lost", content)
		assert.LessOrEqual(s.T, posts[content], sent[content]+uncertain[content], "%q is doubled", content)
	}
	s.Log(len(s.killed), "kills,", counts)
}

func TestOutbox_PostsOnceThoughProcessesAreKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		open    func(*testing.T) database
		workers int
		freezes bool
	}{
		{"SQLite", sqliteLog, 1, false},
		{"PostgreSQL", postgres, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kills, replies, freezes, frozen := 5, 120, 1, 4*time.Second
			if *manyKills {
				kills, replies, freezes, frozen = 200, 2400, 10, 14*time.Second
			}
			s := newFixture(t, c.open(t), c.workers)
			for n := range kills {
				s.put(replies / kills)
				s.kill()
				if c.freezes && n%(kills/freezes) == 1 {
					s.put(8)
					s.freeze(frozen)
				}
			}
			s.awaitAll(2 * time.Minute)
			s.check()
		})
	}
}
