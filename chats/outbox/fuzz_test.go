package outbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// drama is a simulation in which a script decides what happens next.
type drama struct {
	*simulation

	shop    *outbox.Outbox // puts and resolves
	process *process
	cancel  context.CancelFunc
	done    chan error
	key     string
	resends map[string]int // of an item
	marked  map[string]bool
	mixed   bool // items were sent out of order, as resolved
}

var scriptTimes = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second, 9 * time.Second, 17 * time.Second, 2 * time.Minute, 20 * time.Minute,
}

// acts are what a byte of a script stands for; the next byte is n.
var acts = []func(d *drama, n int){
	func(d *drama, n int) { d.put(n, outbox.Item{Text: sameText}) },
	func(d *drama, n int) { d.put(n, outbox.Item{Text: fmt.Sprint("text ", len(d.items))}) },
	func(d *drama, n int) { d.put(n, outbox.Item{Text: fmt.Sprint("odd ", len(d.items))}) },
	func(d *drama, n int) { d.put(n, outbox.Item{FileName: "same.txt", File: []byte(strconv.Itoa(n % 2))}) },
	func(d *drama, n int) {
		d.put(n, outbox.Item{Text: sameText, NotAfter: time.Now().Add(scriptTimes[n/2%8])})
	},
	func(_ *drama, n int) { sleep(scriptTimes[n%8]) },
	func(_ *drama, n int) { sleep(scriptTimes[n%8]) },
	(*drama).restart,
	(*drama).restart,
	(*drama).restart,
	func(d *drama, n int) {
		ctx, cancel := context.WithTimeout(d.t.Context(), scriptTimes[n%8])
		defer cancel()
		_, _ = d.start(forever).outbox().Step(ctx)
	},
	func(d *drama, n int) { d.market.Fail(chats.OpSendMessageToChat, d.faults(n)...) },
	func(d *drama, n int) { d.market.Fail(chats.OpSendFileToChat, d.faults(n)...) },
	func(d *drama, n int) { d.market.Fail(chats.OpGetChatHistory, d.faults(n)...) },
	(*drama).resolve,
	(*drama).resolve,
	func(d *drama, n int) {
		d.market.AddMessage(d.chats[n%2], chats.SenderPartner, "другой оператор")
	},
	func(d *drama, n int) { d.market.CustomerSays(d.chats[n%2], sameText) },
	func(d *drama, n int) {
		if n%8 == 0 {
			d.market.SetKey("ACMA:other")
		} else {
			d.market.SetKey(d.key)
		}
	},
}

func (d *drama) faults(n int) (faults []chatstest.Fault) {
	kinds := []chatstest.Fault{
		chatstest.OK(), chatstest.DropBefore(), chatstest.DropAfter(), chatstest.Refused(), chatstest.ProcessLate(5 * time.Second),
		chatstest.StatusAfter(500, ""), chatstest.Status(503, ""), chatstest.Status(400, badRequest), chatstest.Status(400, ""),
		chatstest.Status(403, forbidden), chatstest.HTML(404), chatstest.RateLimitedParallel(),
		chatstest.RateLimitedHourly(time.Now().Add(scriptTimes[n/16%8])), chatstest.SlowHeaders(4 * time.Second),
		chatstest.Status(200, `{"status":"OK"}`), chatstest.Malformed("{"),
	}
	for range 1 + n/16%4 {
		faults = append(faults, kinds[n%16])
	}
	return append(faults, chatstest.OK())
}

func (d *drama) put(n int, item outbox.Item) {
	item.Key, item.Chat = fmt.Sprint("reply ", len(d.items)), d.chats[n%2]
	d.items = append(d.items, item)
	require.NoError(d.t, d.shop.Put(d.t.Context(), item, item))
}

// restart kills the process that runs and starts another one, which dies after n calls.
func (d *drama) restart(n int) {
	d.stop(n%4 == 0)
	calls := int64(forever)
	if n >= 64 {
		calls = int64(1 + n%32)
	}
	d.process = d.start(calls)
	ctx, cancel := context.WithCancel(d.t.Context())
	o := d.process.outbox()
	d.cancel = cancel
	go func() { d.done <- o.Run(ctx) }()
}

func (d *drama) stop(gently bool) {
	if d.cancel == nil {
		return
	}
	if !gently {
		d.process.dead.Store(true)
	}
	d.cancel()
	if err := <-d.done; err != nil {
		assert.ErrorIs(d.t, err, chats.ErrUnauthorized)
	}
	d.cancel = nil
}

func (d *drama) resolve(n int) {
	if len(d.items) == 0 {
		return
	}
	item := d.items[n/4%len(d.items)]
	before := get(d.t, d.shop, item.Key)
	as := []outbox.Resolution{
		outbox.Resend(), outbox.ResendAfter(before.Attempts), outbox.Discard(), outbox.MarkSent(chats.MessageID(1000 + len(d.resends) + len(d.marked))),
	}[n%4]
	switch err := d.shop.Resolve(d.t.Context(), item.Key, as); {
	case err != nil:
		assert.ErrorIs(d.t, err, outbox.ErrState)
	case n%4 < 2 && before.State != outbox.Queued:
		d.resends[item.Key]++
		d.mixed = true
	case n%4 == 3:
		d.marked[item.Key], d.mixed = true, true
	}
}

func play(t *testing.T, script []byte) {
	t.Helper()
	d := &drama{
		simulation: &simulation{
			t: t, plan: plan{retention: 30 * 24 * time.Hour}, random: rand.New(rand.NewPCG(1, uint64(len(script)))), store: outbox.NewMemoryStore(),
			states: map[string][]outbox.State{}, reported: map[string]outbox.Result{},
			market: chatstest.NewMarket(
				chatstest.WithLatency(20*time.Millisecond),
				chatstest.WithStoredText(func(text string) string {
					if strings.HasPrefix(text, "odd") {
						return strings.ToUpper(text)
					}
					return text
				}),
				chatstest.WithVisibility(func(m chats.Message) time.Duration { return time.Duration(m.ID%4) * 3 * time.Second })),
		},
		done: make(chan error, 1), resends: map[string]int{}, marked: map[string]bool{},
	}
	d.key = d.market.Key()
	d.chats = []chats.ChatID{d.market.AddChat(chats.Chat{}), d.market.AddChat(chats.Chat{})}
	d.market.AddMessage(d.chats[1], chats.SenderPartner, sameText)
	steady := d.start(forever)
	steady.isSteady = true
	d.shop = steady.outbox()
	for n := 0; n+1 < len(script); n += 2 {
		acts[int(script[n])%len(acts)](d, int(script[n+1]))
	}
	d.market.SetKey(d.key)
	d.stop(false)
	sleep(time.Minute) // until the lease of a killed process has ended
	last := d.start(forever).outbox()
	stepUntilIdle(t, 24*time.Hour, func() *outbox.Outbox { return last })
	d.verdict()
}

// verdict compares the items with what stands in the chats.
func (d *drama) verdict() {
	least, most, order := map[string]int{}, map[string]int{}, map[chats.ChatID]chats.MessageID{}
	for _, item := range d.items {
		r, content := get(d.t, d.shop, item.Key), fmt.Sprint(item.Chat, " ", item.Text, item.FileName)
		assert.True(d.t, r.State.IsSettled(), "%s is %s", item.Key, r.State)
		assert.Equal(d.t, r.State, d.reported[item.Key].State, "%s: as it was reported", item.Key)
		most[content] += d.resends[item.Key]
		switch {
		case d.marked[item.Key], r.State == outbox.Uncertain, r.State == outbox.Discarded && r.Attempts > 0:
			most[content]++
		case r.State == outbox.Sent:
			most[content]++
			least[content]++
			assert.True(d.t, d.mixed || order[item.Chat] < r.Message.ID, "%s: order", item.Key)
			order[item.Chat] = r.Message.ID
		}
	}
	assert.Empty(d.t, d.illegal, "transitions")
	posts := map[string]int{fmt.Sprint(d.chats[1], " ", sameText): -1}
	for _, chat := range d.chats {
		for _, content := range posted(d.market, chat) {
			posts[fmt.Sprint(chat, " ", strings.ToLower(content))]++
		}
	}
	for _, item := range d.items {
		content := fmt.Sprint(item.Chat, " ", item.Text, item.FileName)
		assert.GreaterOrEqual(d.t, posts[content], least[content], "%s: lost", content)
		assert.LessOrEqual(d.t, posts[content], most[content], "%s: posted twice", content)
	}
}

// Whatever happens in whatever order, an item is posted once, or at most once where it is
// not Sent, and is reported as it is.
func FuzzOutbox(f *testing.F) {
	for seed := range uint64(15) {
		random := rand.New(rand.NewPCG(seed, 2))
		script := make([]byte, 80)
		for n := range script {
			script[n] = byte(random.UintN(256))
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			t.Skip("long scripts show nothing more")
		}
		synctest.Test(t, func(t *testing.T) { play(t, script) })
	})
}
