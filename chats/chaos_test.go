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
)

var (
	chaosCalls = flag.Int("chaos.calls", 2500, "calls per seed")
	chaosSeeds = flag.Int("chaos.seeds", 4, "seeds")
	chaosSeed  = flag.Uint64("chaos.seed", 0, "the one seed to run, as an earlier run printed it")
)

const chaosPerChat = 20 // so that the histories stay short

func chaosChats() int {
	if raceEnabled || testing.Short() {
		return *chaosCalls / chaosPerChat / 10
	}
	return *chaosCalls / chaosPerChat
}

// mix draws from all faults, once in three calls.
func mix(r *rand.Rand) func(chats.Operation, int) chatstest.Fault {
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
			return chatstest.EndlessBody() // dear: eight megabytes each
		case rare == 1: // an hour that ends late stops everybody
			return chatstest.RateLimitedHourly(time.Now().Add(30*time.Second + within(time.Hour)))
		case n < len(faults):
			return faults[n]()
		default:
			return chatstest.OK()
		}
	}
}

// chaos runs send once for every text of every chat, chats side by side, under a
// random mix of faults, and hands each chat's story to check.
func chaos(
	t *testing.T,
	send sender,
	check func(t *testing.T, f *fixture, chat chats.ChatID, sent []sending),
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
				stories := make(map[chats.ChatID][]sending)
				var mu sync.Mutex
				f.market.FailFunc(mix(rand.New(rand.NewPCG(seed, 0))))
				for range chaosChats() {
					chat := f.market.AddChat(chats.Chat{})
					all.Go(func() {
						story := write(f, chat, send)
						mu.Lock()
						defer mu.Unlock()
						stories[chat] = story
					})
				}
				all.Wait()
				f.market.FailFunc(nil)
				time.Sleep(time.Hour) // until late requests are processed
				for chat, story := range stories {
					check(t, f, chat, story)
				}
			})
		})
	}
}

// sender makes one call. last is the newest message that it knows of, or 0.
type sender func(f *fixture, chat chats.ChatID, text string, last chats.MessageID) (chats.Message, error)

type sending struct {
	text    string
	message chats.Message
	err     error
}

func write(f *fixture, chat chats.ChatID, send sender) []sending {
	story := make([]sending, 0, chaosPerChat)
	var last chats.MessageID
	for i := range chaosPerChat {
		text := fmt.Sprintf("Ответ %d", i)
		if i%2 == 0 {
			text = "Спасибо!" // the same words again and again must not be mistaken for each other
		}
		message, err := send(f, chat, text, last)
		if last = message.ID; i%4 == 0 {
			last = 0 // now and then from the beginning
		}
		story = append(story, sending{text, message, err})
	}
	return story
}

func partnerMessages(f *fixture, chat chats.ChatID) (own []chats.Message) {
	for _, m := range f.market.Messages(chat) {
		if m.Sender == chats.SenderPartner {
			own = append(own, m)
		}
	}
	return own
}

// confirmed does what a program does. An error that is no ErrOutcomeUnknown says that
// nothing was posted. ErrOutcomeUnknown may be left only where the hour of the
// history was used up while the call looked: then the history is read later.
func confirmed(f *fixture, chat chats.ChatID, text string, last chats.MessageID) (chats.Message, error) {
	stands := newest(f, chat)
	for {
		message, err := f.client.SendTextConfirmed(context.Background(), chat, text, chats.ConfirmAfter(last))
		if err == nil {
			return message, nil
		}
		if errors.Is(err, chats.ErrOutcomeUnknown) {
			if !errors.Is(err, chats.ErrRateLimited) {
				return message, err
			}
			if message, found := readLater(f, chat, text, stands); found {
				return message, nil
			}
		}
		// An hour that is used up is refused at once: do not spin.
		time.Sleep(10 * time.Second)
	}
}

func newest(f *fixture, chat chats.ChatID) (id chats.MessageID) {
	for _, m := range f.market.Messages(chat) {
		id = m.ID
	}
	return id
}

func readLater(f *fixture, chat chats.ChatID, text string, since chats.MessageID) (chats.Message, bool) {
	for {
		time.Sleep(time.Minute)
		whole := true
		for message, err := range f.client.History(context.Background(), chat, since) {
			if whole = err == nil; whole && message.Sender == chats.SenderPartner && message.Text == text {
				return message, true
			}
		}
		if whole {
			return chats.Message{}, false
		}
	}
}

func TestChaos_SendTextConfirmedPostsExactlyOnce(t *testing.T) {
	t.Parallel()
	chaos(t, confirmed,
		func(t *testing.T, f *fixture, chat chats.ChatID, sent []sending) {
			t.Helper()
			own := partnerMessages(f, chat)
			for i, sending := range sent {
				require.NoError(t, sending.err, "chat %d, message %d", chat, i)
			}
			require.Len(t, own, len(sent), "chat %d", chat)
			for i, sending := range sent {
				require.Equal(t, sending.text, own[i].Text)
				require.Equal(t, own[i].ID, sending.message.ID, "chat %d, message %d", chat, i)
			}
		})
}

func TestChaos_SendTextPostsAtMostOnce(t *testing.T) {
	t.Parallel()
	chaos(t,
		func(f *fixture, chat chats.ChatID, text string, _ chats.MessageID) (chats.Message, error) {
			err := f.client.SendText(context.Background(), chat, text)
			for errors.Is(err, chats.ErrRateLimited) { // refused at once: do not spin
				time.Sleep(10 * time.Second)
				err = f.client.SendText(context.Background(), chat, text)
			}
			return chats.Message{}, err
		},
		func(t *testing.T, f *fixture, chat chats.ChatID, sent []sending) {
			t.Helper()
			sure, possible := map[string]int{}, map[string]int{}
			for _, sending := range sent {
				switch {
				case sending.err == nil:
					sure[sending.text]++
					possible[sending.text]++
				case errors.Is(sending.err, chats.ErrOutcomeUnknown):
					possible[sending.text]++
				}
			}
			stands := map[string]int{}
			for _, m := range partnerMessages(f, chat) {
				stands[m.Text]++
			}
			for _, sending := range sent {
				n := stands[sending.text]
				assert.GreaterOrEqual(t, n, sure[sending.text], "chat %d: %q", chat, sending.text)
				assert.LessOrEqual(t, n, possible[sending.text], "chat %d: %q", chat, sending.text)
			}
		})
}
