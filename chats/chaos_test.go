package chats_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

var (
	chaosCalls = flag.Int("chaos.calls", 2500, "calls per seed")
	chaosSeeds = flag.Int("chaos.seeds", 4, "seeds")
	chaosSeed  = flag.Uint64("chaos.seed", 0, "run this seed only, as printed by an earlier run")
)

const chaosPerChat = 20 // keeps the histories short

func chaosChats() int {
	if race.Enabled || testing.Short() {
		return *chaosCalls / chaosPerChat / 10
	}
	return *chaosCalls / chaosPerChat
}

// randomFaults returns a function that draws a fault for one call in three.
func randomFaults(r *rand.Rand) func(chats.Operation, int) chatstest.Fault {
	within := rand.N[time.Duration]
	faults := []func() chatstest.Fault{
		chatstest.Refused,
		chatstest.DropBefore,
		chatstest.DropAfter,
		func() chatstest.Fault { return chatstest.ProcessLate(within(10 * time.Second)) },
		func() chatstest.Fault { return chatstest.Status(500, envelope) },
		func() chatstest.Fault { return chatstest.StatusAfter(500, envelope) },
		func() chatstest.Fault { return chatstest.StatusAfter(499, "") },
		func() chatstest.Fault { return chatstest.HTML(502) },
		func() chatstest.Fault { return chatstest.Truncate(r.IntN(40)) },
		func() chatstest.Fault { return chatstest.Malformed("<html>") },
		func() chatstest.Fault { return chatstest.Malformed("") },
		func() chatstest.Fault { return chatstest.Delay(within(time.Minute)) },
		func() chatstest.Fault { return chatstest.SlowHeaders(within(time.Minute)) },
		func() chatstest.Fault { return chatstest.SlowBody(within(time.Minute)) },
		chatstest.RateLimitedParallel,
		func() chatstest.Fault { return chatstest.RateLimitedHourly(time.Now().Add(within(25 * time.Second))) },
	}
	return func(chats.Operation, int) chatstest.Fault {
		rare, n := r.IntN(2000), r.IntN(3*len(faults))
		switch {
		case rare == 0:
			return chatstest.EndlessBody() // rare because it is expensive: eight megabytes each
		case rare == 1: // rare because it stops every caller
			return chatstest.RateLimitedHourly(time.Now().Add(30*time.Second + within(time.Hour)))
		case n < len(faults):
			return faults[n]()
		default:
			return chatstest.OK()
		}
	}
}

// runChaos calls send for every text of every chat, all chats concurrently, under
// random faults, and passes the results of each chat to check.
func runChaos(
	t *testing.T,
	send sendFunc,
	check func(t *testing.T, f *fixture, chat chats.ChatID, results []sendResult),
) {
	t.Helper()
	for i := range *chaosSeeds {
		seed := uint64(time.Now().UnixNano()) + uint64(i)
		if *chaosSeed != 0 {
			seed = *chaosSeed
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			test, _, _ := strings.Cut(t.Name(), "/")
			t.Logf("repeat with: go test ./chats -run '^%s$' -chaos.seeds 1 -chaos.seed %d", test, seed)
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 20}))
				var all sync.WaitGroup
				results := make(map[chats.ChatID][]sendResult)
				var mu sync.Mutex
				f.market.FailFunc(randomFaults(rand.New(rand.NewPCG(seed, 0))))
				for range chaosChats() {
					chat := f.market.AddChat(chats.Chat{})
					all.Go(func() {
						result := sendAll(f, chat, send)
						mu.Lock()
						defer mu.Unlock()
						results[chat] = result
					})
				}
				all.Wait()
				f.market.FailFunc(nil)
				time.Sleep(time.Hour) // until late requests are processed
				for chat, result := range results {
					check(t, f, chat, result)
				}
			})
		})
	}
}

// sendFunc sends one text. last is the newest message that the caller knows, or 0.
type sendFunc func(f *fixture, chat chats.ChatID, text string, last chats.MessageID) (chats.Message, error)

type sendResult struct {
	text    string
	message chats.Message
	err     error
}

func sendAll(f *fixture, chat chats.ChatID, send sendFunc) []sendResult {
	results := make([]sendResult, 0, chaosPerChat)
	var last chats.MessageID
	for i := range chaosPerChat {
		text := fmt.Sprintf("Ответ %d", i)
		if i%2 == 0 {
			text = "Спасибо!" // repeated texts must not be mistaken for each other
		}
		message, err := send(f, chat, text, last)
		if last = message.ID; i%4 == 0 {
			last = 0 // from the beginning, now and then
		}
		results = append(results, sendResult{text, message, err})
	}
	return results
}

func partnerMessages(f *fixture, chat chats.ChatID) (own []chats.Message) {
	for _, m := range f.market.Messages(chat) {
		if m.Sender == chats.SenderPartner {
			own = append(own, m)
		}
	}
	return own
}

// sendConfirmed does what a program does: while it is in doubt, it resumes the attempt;
// after any other error it makes the same call again.
func sendConfirmed(f *fixture, chat chats.ChatID, text string, last chats.MessageID) (chats.Message, error) {
	before := newestID(f, chat)
	var options []chats.ConfirmOption
	if last != 0 {
		options = append(options, chats.ConfirmAfter(last))
	}
	for {
		message, err := f.client.SendTextConfirmed(context.Background(), chat, text, options...)
		if err == nil {
			return message, nil
		}
		var failed *chats.Error
		if errors.As(err, &failed) && !failed.SentAt.IsZero() {
			options = []chats.ConfirmOption{chats.ConfirmAfter(before), chats.ConfirmResume(failed.SentAt)}
		}
		time.Sleep(max(10*time.Second, untilReset(err))) // an exhausted quota is refused immediately: do not spin
	}
}

// untilReset returns the time until the quota that err reports is available again.
func untilReset(err error) time.Duration {
	var e *chats.Error
	if !errors.As(err, &e) || e.Limit == nil {
		return 0
	}
	return time.Until(e.Limit.Until)
}

func newestID(f *fixture, chat chats.ChatID) (id chats.MessageID) {
	for _, m := range f.market.Messages(chat) {
		id = m.ID
	}
	return id
}

func TestChaos_SendTextConfirmedPostsExactlyOnce(t *testing.T) {
	t.Parallel()
	runChaos(t, sendConfirmed,
		func(t *testing.T, f *fixture, chat chats.ChatID, results []sendResult) {
			t.Helper()
			own := partnerMessages(f, chat)
			for i, result := range results {
				require.NoError(t, result.err, "chat %d, message %d", chat, i)
			}
			require.Len(t, own, len(results), "chat %d", chat)
			for i, result := range results {
				require.Equal(t, result.text, own[i].Text)
				require.Equal(t, own[i].ID, result.message.ID, "chat %d, message %d", chat, i)
			}
		})
}

func TestChaos_SendTextPostsAtMostOnce(t *testing.T) {
	t.Parallel()
	runChaos(t,
		func(f *fixture, chat chats.ChatID, text string, _ chats.MessageID) (chats.Message, error) {
			err := f.client.SendText(context.Background(), chat, text)
			for errors.Is(err, chats.ErrRateLimited) { // refused immediately: do not spin
				time.Sleep(10 * time.Second)
				err = f.client.SendText(context.Background(), chat, text)
			}
			return chats.Message{}, err
		},
		func(t *testing.T, f *fixture, chat chats.ChatID, results []sendResult) {
			t.Helper()
			minPosts, maxPosts := map[string]int{}, map[string]int{}
			for _, result := range results {
				switch {
				case result.err == nil:
					minPosts[result.text]++
					maxPosts[result.text]++
				case errors.Is(result.err, chats.ErrOutcomeUnknown):
					maxPosts[result.text]++
				}
			}
			posts := map[string]int{}
			for _, m := range partnerMessages(f, chat) {
				posts[m.Text]++
			}
			for _, result := range results {
				n := posts[result.text]
				assert.GreaterOrEqual(t, n, minPosts[result.text], "chat %d: %q", chat, result.text)
				assert.LessOrEqual(t, n, maxPosts[result.text], "chat %d: %q", chat, result.text)
			}
		})
}
