package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

var loggedPause = regexp.MustCompile(`pause=(\S+)`)

// pauses are those that were logged.
func (j *journal) pauses() (all []string) {
	for _, match := range loggedPause.FindAllStringSubmatch(j.text(), -1) {
		all = append(all, match[1])
	}
	return all
}

func (j *journal) logger() inbox.Option {
	return inbox.WithLogger(slog.New(slog.NewTextHandler(j, nil)))
}

func TestPausesGrowWhileTheChatsCannotBeListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Status(400, `{"status":"ERROR"}`) })
		log := &journal{}
		run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore(), log.logger()), 1, (&notebook{}).handle)
		pass(10 * time.Second)
		assert.Equal(t, []string{"1.44s", "2s", "4s", "8s"}, log.pauses(), "1.44 s is what one request may cost of an hour's 5,000")
		require.NoError(t, run.stop())
	})
}

func TestPausesGrowWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		for _, call := range []string{"marks", "commit"} {
			store := &shaky{MemoryStore: inbox.NewMemoryStore(), fail: func(c string) error {
				if c == call {
					return errors.New("no connection")
				}
				return nil
			}}
			log := &journal{}
			run := start(t, newInbox(t, market.Client(), store, log.logger()), 1, (&notebook{}).handle)
			pass(10 * time.Second)
			assert.Equal(t, []string{"1s", "2s", "4s", "8s"}, log.pauses(), call)
			require.NoError(t, run.stop())
		}
	})
}

// A store in which somebody else always was first. A message that is handled in between
// makes the pauses begin anew.
func TestPausesGrowWhileCommitsConflict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		var first atomic.Bool // somebody else is
		store := &shaky{MemoryStore: inbox.NewMemoryStore(), fail: func(call string) error {
			if call == "commit" && first.Load() {
				return inbox.ErrConflict
			}
			return nil
		}}
		log := &journal{}
		in := newInbox(t, market.Client(), store, log.logger())
		run := start(t, in, 1, func(context.Context, inbox.Delivery) error {
			first.Store(true)
			return nil
		})
		pass(2 * time.Minute)
		first.Store(true)
		market.CustomerSays(id, "1")
		_ = in.Wake(context.Background(), id)
		pass(10 * time.Second)
		assert.Equal(t, []string{"1s", "2s", "4s", "8s"}, log.pauses())
		first.Store(false)
		pass(10 * time.Second)
		assert.Equal(t, []string{"1s", "2s", "4s", "8s", "1s", "2s", "4s"}, log.pauses(), "a message was handled, and not committed")
		require.NoError(t, run.stop())
	})
}
