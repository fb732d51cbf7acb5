package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/internal/race"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

func TestNew_ChecksArguments(t *testing.T) {
	t.Parallel()
	client, store := chatstest.NewMarket().Client(), outbox.NewMemoryStore()
	for name, create := range map[string]func() (*outbox.Outbox, error){
		"client":    func() (*outbox.Outbox, error) { return outbox.New(nil, store) },
		"store":     func() (*outbox.Outbox, error) { return outbox.New(client, (*outbox.MemoryStore)(nil)) },
		"option":    func() (*outbox.Outbox, error) { return outbox.New(client, store, nil) },
		"workers":   func() (*outbox.Outbox, error) { return outbox.New(client, store, outbox.WithWorkers(0)) },
		"settled":   func() (*outbox.Outbox, error) { return outbox.New(client, store, outbox.WithSettled(nil)) },
		"retention": func() (*outbox.Outbox, error) { return outbox.New(client, store, outbox.WithRetention(0)) },
		"logger":    func() (*outbox.Outbox, error) { return outbox.New(client, store, outbox.WithLogger(nil)) },
	} {
		_, err := create()
		assert.ErrorIs(t, err, chats.ErrInvalidArgument, name)
		assert.ErrorContains(t, err, "outbox: "+name)
	}
	_, err := outbox.New(client, store, outbox.WithLogger(new(slog.Logger)))
	assert.ErrorContains(t, err, "outbox: logger")
}

func TestPut_ChecksItems(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, chatstest.NewMarket().Client(), outbox.NewMemoryStore())
	content := []byte("x")
	for name, item := range map[string]outbox.Item{
		"no key":           {Chat: 1, Text: "x"},
		"long key":         {Key: string(make([]byte, 201)), Chat: 1, Text: "x"},
		"invalid key":      {Key: "\xff", Chat: 1, Text: "x"},
		"zero byte in key": {Key: "a\x00", Chat: 1, Text: "x"},
		"no chat":          {Key: "k", Text: "x"},
		"nothing":          {Key: "k", Chat: 1},
		"blank":            {Key: "k", Chat: 1, Text: " \n"},
		"zero width":       {Key: "k", Chat: 1, Text: "\u200b\ufeff"},
		"escaped blank":    {Key: "k", Chat: 1, Text: "&nbsp;&#32;\n"},
		"control":          {Key: "k", Chat: 1, Text: "\a"},
		"invalid text":     {Key: "k", Chat: 1, Text: "\xff"},
		"zero byte":        {Key: "k", Chat: 1, Text: "a\x00"},
		"long text":        {Key: "k", Chat: 1, Text: fmt.Sprintf("%04097d", 1)},
		"both":             {Key: "k", Chat: 1, Text: "x", FileName: "x", File: content},
		"no file name":     {Key: "k", Chat: 1, File: content},
		"empty file":       {Key: "k", Chat: 1, FileName: "x"},
		"large file":       {Key: "k", Chat: 1, FileName: "x", File: make([]byte, chats.MaxFileSize+1)},
		"path":             {Key: "k", Chat: 1, FileName: "a/b", File: content},
		"control in name":  {Key: "k", Chat: 1, FileName: "a\nb", File: content},
		"long name":        {Key: "k", Chat: 1, FileName: fmt.Sprintf("%0256d", 1), File: content},
	} {
		err := o.Put(t.Context(), outbox.Item{Key: "good", Chat: 1, Text: "x"}, item)
		assert.ErrorIs(t, err, chats.ErrInvalidArgument, name)
	}
	_, err := o.Get(t.Context(), "good")
	require.ErrorIs(t, err, outbox.ErrUnknownKey, "nothing is stored")
	unread := newOutbox(t, chatstest.NewMarket().Client(), &hooked{item: func() error { return errors.New("invalid byte sequence") }})
	for _, key := range []string{"", "\xff", "a\x00", string(make([]byte, 201))} {
		_, err := unread.Get(t.Context(), key)
		require.ErrorIs(t, err, outbox.ErrUnknownKey)
		require.ErrorIs(t, unread.Resolve(t.Context(), key, outbox.Discard()), outbox.ErrUnknownKey)
	}
	require.NoError(t, o.Put(t.Context(),
		outbox.Item{Key: fmt.Sprintf("%0200d", 1), Chat: 1, Text: fmt.Sprintf("%04096d", 1)},
		outbox.Item{Key: "f", Chat: 1, FileName: fmt.Sprintf("%0255d", 1), File: make([]byte, chats.MaxFileSize)}))
	require.NoError(t, o.Put(t.Context()))
	require.ErrorIs(t, o.Put(t.Context(), text("f", 1)), outbox.ErrKeyReused)
}

func TestItem_TakesThePartsOfEveryText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", chats.MaxTextLength)
	for _, text := range []string{
		long + "\u200d", long + "\x00", long[1:] + "\n\n\u200b\n", "x" + strings.Repeat("\ufeff\n", 9000),
		strings.Repeat("\u2060", 10000), long[1:] + " &nbsp;", strings.Repeat("\x01", 5000) + "x",
	} {
		for _, part := range chats.SplitText(text) {
			item := outbox.Item{Key: "k", Chat: 1, Text: strings.ReplaceAll(part, "\x00", "")}
			require.NoError(t, item.Check(), "%.10q", text)
		}
	}
}

func TestResolve_OfAnUncertainItem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hidden := true
		market, seen := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration {
			if hidden {
				return 365 * 24 * time.Hour
			}
			return 0
		})), &settled{}
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), seen.option(), outbox.WithRetention(time.Hour))
		run := start(t, o)
		put(t, o, text("resend", chat), text("discard", chat), file("mark", chat))
		for _, key := range []string{"resend", "discard", "mark"} {
			awaitState(t, o, key, outbox.Uncertain)
		}
		status, err := o.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, status.Uncertain)
		sleep(4 * time.Hour)
		hidden = false
		require.NoError(t, o.Resolve(t.Context(), "discard", outbox.Discard()))
		require.NoError(t, o.Resolve(t.Context(), "mark", outbox.MarkSent(77)))
		require.NoError(t, o.Resolve(t.Context(), "mark", outbox.MarkSent(77)), "again")
		require.NoError(t, o.Resolve(t.Context(), "resend", outbox.Resend()))
		sleep(20 * time.Second)
		assert.Equal(t, outbox.Sent, get(t, o, "resend").State)
		assert.Equal(t, outbox.Discarded, get(t, o, "discard").State)
		assert.Equal(t, chats.MessageID(77), get(t, o, "mark").Message.ID)
		require.ErrorIs(t, o.Resolve(t.Context(), "mark", outbox.Discard()), outbox.ErrState)
		require.ErrorIs(t, o.Resolve(t.Context(), "none", outbox.Discard()), outbox.ErrUnknownKey)
		require.ErrorIs(t, o.Resolve(t.Context(), "mark", outbox.MarkSent(0)), chats.ErrInvalidArgument)
		require.ErrorIs(t, o.Resolve(t.Context(), "mark", outbox.Resolution{}), chats.ErrInvalidArgument)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{
			"resend uncertain", "discard uncertain", "mark uncertain", "resend sent", "discard discarded", "mark sent",
		}, seen.keys())
		assert.Len(t, filter(posted(market, chat), "resend"), 2, "the operator said so")
	})
}

// A resolution is repeated, as after a lost response, when the item was sent again already.
func TestResolve_RepeatedResend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var alters atomic.Bool
		alters.Store(true)
		market := chatstest.NewMarket(chatstest.WithStoredText(func(text string) string {
			if alters.Load() {
				return text + "!"
			}
			return text
		}))
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		put(t, o, text("a", chat), text("b", chat))
		run := start(t, o)
		resend := map[string]outbox.Resolution{}
		for _, key := range []string{"a", "b"} {
			resend[key] = outbox.ResendAfter(awaitState(t, o, key, outbox.Uncertain).Attempts)
			require.ErrorIs(t, o.Resolve(t.Context(), key, outbox.ResendAfter(2)), outbox.ErrState, "an item of the same key, long ago")
			require.NoError(t, o.Resolve(t.Context(), key, outbox.ResendAfter(-1)), "it has been attempted since")
			assert.Equal(t, outbox.Uncertain, get(t, o, key).State)
			require.NoError(t, o.Resolve(t.Context(), key, resend[key]))
			require.NoError(t, o.Resolve(t.Context(), key, resend[key]), "it is queued, or being sent")
			sleep(time.Minute)
			assert.Equal(t, outbox.Uncertain, get(t, o, key).State, "again")
			require.NoError(t, o.Resolve(t.Context(), key, resend[key]))
			sleep(time.Minute)
			assert.Equal(t, outbox.Uncertain, get(t, o, key).State, "it is not sent once more")
		}
		alters.Store(false)
		require.NoError(t, o.Resolve(t.Context(), "a", outbox.ResendAfter(get(t, o, "a").Attempts)))
		require.NoError(t, o.Resolve(t.Context(), "b", outbox.Resend()))
		sleep(time.Minute)
		require.NoError(t, run.stop())
		require.NoError(t, o.Resolve(t.Context(), "a", resend["a"]))
		require.ErrorIs(t, o.Resolve(t.Context(), "b", outbox.Resend()), outbox.ErrState)
		assert.ElementsMatch(t, []string{"a!", "a!", "b!", "b!", "a", "b"}, posted(market, chat))
	})
}

func TestResolve_DiscardsWhatIsQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		put(t, o, text("a", chat), text("b", chat))
		require.NoError(t, o.Resolve(t.Context(), "a", outbox.Discard()))
		require.ErrorIs(t, o.Resolve(t.Context(), "b", outbox.MarkSent(1)), outbox.ErrState)
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"b"}, posted(market, chat))
	})
}

// An operator discards an item in the moment in which it is about to be sent.
func TestResolve_DiscardsBeforeTheSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		store := &hooked{Store: outbox.NewMemoryStore()}
		o := newOutbox(t, connect(t, market), store)
		put(t, o, text("a", chat), text("b", chat))
		store.save = func(r *outbox.Record) error {
			if r.Item.Key == "a" && r.State == outbox.Sending {
				assert.NoError(t, o.Resolve(t.Context(), "a", outbox.Discard()))
			}
			return nil
		}
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Equal(t, outbox.Discarded, get(t, o, "a").State)
		assert.Equal(t, []string{"b"}, posted(market, chat))
	})
}

// The database loses the response to every other save, whether it has saved or not. Neither
// delays an item, nor is what an operator did meanwhile taken for the save.
func TestRun_SavesWithoutAResponse(t *testing.T) {
	t.Parallel()
	for _, resolved := range []bool{false, true} {
		t.Run(fmt.Sprint("resolved meanwhile: ", resolved), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, seen, n := chatstest.NewMarket(), &settled{}, 0
				chat := market.AddChat(chats.Chat{})
				store := &hooked{Store: outbox.NewMemoryStore()}
				o := newOutbox(t, connect(t, market), store, seen.option())
				put(t, o, text("a", chat), text("b", chat))
				lost := errors.New("connection reset")
				if resolved {
					store.save = func(r *outbox.Record) error {
						if n++; n > 1 {
							return nil
						}
						assert.NoError(t, o.Resolve(t.Context(), r.Item.Key, outbox.Discard()))
						return lost
					}
				} else {
					store.afterSave = func(r *outbox.Record) error {
						if n++; n%2 == 0 {
							return nil
						}
						r.Version--
						return lost
					}
				}
				run := start(t, o)
				sleep(3 * time.Second)
				require.NoError(t, run.stop())
				want := map[bool]outbox.State{false: outbox.Sent, true: outbox.Discarded}[resolved]
				assert.Equal(t, want, get(t, o, "a").State)
				assert.ElementsMatch(t, []string{"a " + string(want), "b sent"}, seen.keys())
				assert.Contains(t, posted(market, chat), "b")
			})
		})
	}
}

func TestRun_SettledIsCalledUntilItReturnsNil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		a, b := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		calls := map[string]int{}
		fails := outbox.WithSettled(func(_ context.Context, r outbox.Result) error {
			calls[r.Item.Key]++
			switch n := calls[r.Item.Key]; {
			case r.Item.Key == "b", n > 3:
				return nil
			case n == 1:
				panic("a bug")
			case n == 2:
				runtime.Goexit()
			}
			return errors.New("down")
		})
		store := outbox.NewMemoryStore()
		o := newOutbox(t, connect(t, market), store, fails)
		run := start(t, o)
		put(t, o, text("a", a), text("b", b))
		sleep(2 * time.Second)
		require.NoError(t, run.stop())
		run = start(t, newOutbox(t, connect(t, market), store, fails))
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, map[string]int{"a": 4, "b": 1}, calls)
	})
}

func TestRun_SettledBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		var calls []time.Time
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithSettled(func(context.Context, outbox.Result) error {
			calls = append(calls, time.Now())
			return errors.New("down")
		}))
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		run := start(t, o)
		sleep(20 * time.Minute)
		require.NoError(t, run.stop())
		for n, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			gap := calls[n+1].Sub(calls[n])
			assert.InDelta(t, float64(seconds), gap.Seconds(), 1.1, "after failure %d", n+1)
		}
	})
}

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// logged is a slog.Handler that reads errors, as bridges to other loggers do.
type logged struct {
	slog.Handler

	mu    sync.Mutex
	lines []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			line += ": " + err.Error()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logged) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func TestRun_SettledOwnsItsResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithSettled(func(_ context.Context, r outbox.Result) error {
			var failure *outbox.Failure
			if errors.As(r.Err, &failure) {
				failure.Details[0].Code = "changed"
			} else {
				r.Message.Files[0].Name = "changed"
			}
			return nil
		}))
		put(t, o, file("posted", chat), text("refused", market.AddChat(chats.Chat{Status: chats.StatusFinished})))
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "posted", get(t, o, "posted").Message.Files[0].Name)
		var failure *outbox.Failure
		require.ErrorAs(t, get(t, o, "refused").Err, &failure)
		assert.NotEqual(t, "changed", failure.Details[0].Code)
	})
}

func TestRun_SettledReturnsATypedNil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, calls, log := chatstest.NewMarket(), 0, &logged{}
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithSettled(func(context.Context, outbox.Result) error {
			if calls++; calls == 1 {
				return (*nilError)(nil)
			}
			return nil
		}), outbox.WithLogger(slog.New(log)))
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		run := start(t, o)
		sleep(time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, 2, calls)
		assert.Equal(t, []string{"outbox: reporting failed: an error of type *outbox_test.nilError whose Error method panics"}, log.all())
	})
}

func TestStep_LogsAPostThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, log := chatstest.NewMarket(), &logged{}
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithLogger(slog.New(log)))
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		market.Fail(chats.OpSendMessageToChat, slices.Repeat([]chatstest.Fault{chatstest.Refused()}, 6)...)
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		require.Len(t, log.all(), 1)
		assert.Contains(t, log.all()[0], "outbox: posting failed: chats: sendMessageToChat: ")
	})
}

func TestRun_SettledThatHangsIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, log := chatstest.NewMarket(), &logged{}
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithSettled(func(ctx context.Context, _ outbox.Result) error {
			<-ctx.Done()
			return ctx.Err()
		}), outbox.WithLogger(slog.New(log)))
		put(t, o, text("a", chat))
		run := start(t, o)
		sleep(59 * time.Second)
		assert.Empty(t, log.all())
		put(t, o, text("b", chat))
		sleep(5 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, log.all(), 3+1, "after 1, 2 and 4 minutes, and that it failed at last: %q", log.all())
		assert.Equal(t, []string{"a", "b"}, posted(market, chat))
	})
}

// A function that ignores its context keeps neither Run nor Step, nor what is posted after
// the lease was lost. It is still called for one item at a time.
func TestRun_SettledThatNeverReturns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, o *outbox.Outbox, away *atomic.Bool, chat chats.ChatID){
		"the run ends": func(t *testing.T, o *outbox.Outbox, _ *atomic.Bool, _ chats.ChatID) {
			t.Helper()
			run := start(t, o)
			sleep(time.Minute)
			began := time.Now()
			require.NoError(t, run.stop())
			assert.LessOrEqual(t, time.Since(began), 6*time.Second)
		},
		"steps": func(t *testing.T, o *outbox.Outbox, _ *atomic.Bool, chat chats.ChatID) {
			t.Helper()
			for _, key := range []string{"b", "c"} {
				began := time.Now()
				_, err := o.Step(t.Context())
				require.NoError(t, err)
				assert.LessOrEqual(t, time.Since(began), 67*time.Second)
				put(t, o, text(key, chat))
			}
			assert.Equal(t, outbox.Sent, get(t, o, "b").State)
		},
		"the lease is lost": func(t *testing.T, o *outbox.Outbox, away *atomic.Bool, chat chats.ChatID) {
			t.Helper()
			run := start(t, o)
			sleep(time.Minute)
			away.Store(true)
			sleep(10 * time.Second)
			away.Store(false)
			put(t, o, text("b", chat))
			sleep(time.Minute)
			assert.Equal(t, outbox.Sent, get(t, o, "b").State)
			require.NoError(t, run.stop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				chat, store := market.AddChat(chats.Chat{}), &hooked{Store: outbox.NewMemoryStore()}
				var away atomic.Bool
				store.renew = func() error {
					if away.Load() {
						return errors.New("away")
					}
					return nil
				}
				var running, calls atomic.Int32
				hang := make(chan struct{})
				o := newOutbox(t, connect(t, market), store, outbox.WithSettled(func(context.Context, outbox.Result) error {
					calls.Add(1)
					assert.Equal(t, int32(1), running.Add(1))
					<-hang
					running.Add(-1)
					return nil
				}))
				put(t, o, text("a", chat))
				test(t, o, &away, chat)
				assert.Equal(t, int32(1), calls.Load())
				close(hang)
				run := start(t, o)
				sleep(time.Minute)
				require.NoError(t, run.stop())
				assert.GreaterOrEqual(t, calls.Load(), int32(2), "it is called again")
				status, err := o.Status(t.Context())
				require.NoError(t, err)
				assert.Zero(t, status.Unreported)
			})
		})
	}
}

func TestRun_RefusedCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		client, key := connect(t, market), market.Key()
		o := newOutbox(t, client, outbox.NewMemoryStore())
		put(t, o, text("a", chat), text("b", market.AddChat(chats.Chat{})))
		market.SetKey("ACMA:other")
		next, err := o.Step(t.Context())
		require.ErrorIs(t, err, chats.ErrUnauthorized)
		assert.True(t, next.After(time.Now()))
		began := time.Now()
		require.ErrorIs(t, o.Run(t.Context()), chats.ErrUnauthorized)
		assert.InDelta(t, time.Minute, time.Since(began), float64(20*time.Second))
		assert.Less(t, market.Calls(chats.OpGetChatHistory), 40)
		assert.Equal(t, outbox.Queued, get(t, o, "a").State, "the queue is kept")
		run := start(t, o)
		sleep(40 * time.Second)
		market.SetKey(key)
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"a"}, posted(market, chat))
		assert.Equal(t, 1, get(t, o, "a").Attempts)
	})
}

// A refusal that passes has nothing to do with one of hours later, even if the refused item
// was never posted again.
func TestRun_RefusalsHoursApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat, client, key := market.AddChat(chats.Chat{}), connect(t, market), market.Key()
		o := newOutbox(t, client, outbox.NewMemoryStore())
		run := start(t, o)
		for _, name := range []string{"a", "b"} {
			market.SetKey("ACMA:other")
			item := text(name, chat)
			item.NotAfter = time.Now().Add(time.Second / 2)
			put(t, o, item)
			sleep(10 * time.Second)
			assert.Equal(t, outbox.Expired, get(t, o, name).State)
			market.SetKey(key)
			sleep(5 * time.Hour)
		}
		require.Empty(t, run.done, "Run goes on")
		require.NoError(t, run.stop())
	})
}

// Refusals are only then in a row if the server does nothing but refuse.
func TestRun_RefusalsBetweenOtherResponses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		other chatstest.Fault
		ends  bool
	}{
		"another response": {chatstest.Status(400, ""), false},
		"success":          {chatstest.Fault{}, false},
		"no response":      {chatstest.Refused(), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, began := chatstest.NewMarket(), time.Now()
				market.FailFunc(func(chats.Operation, int) chatstest.Fault {
					if int(time.Since(began)/(30*time.Second))%2 == 1 {
						return c.other
					}
					return chatstest.Status(401, "")
				})
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithWorkers(1))
				for k := range 3 {
					put(t, o, text(strconv.Itoa(k), market.AddChat(chats.Chat{})))
				}
				run := start(t, o)
				sleep(time.Minute)
				put(t, o, text("later", market.AddChat(chats.Chat{})))
				sleep(50 * time.Second)
				assert.Equal(t, c.ends, len(run.done) == 1)
				err := run.stop()
				assert.Equal(t, c.ends, errors.Is(err, chats.ErrUnauthorized), "%v", err)
			})
		})
	}
}

const forbidden = `{"status":"ERROR","errors":[{"code":"FORBIDDEN","message":"no access"}]}`

// A 403 of one chat says nothing about the credential, however long nothing else is sent.
func TestRun_ForbiddenChat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		op       chats.Operation
		body     string
		attempts int
	}{
		"send":               {chats.OpSendMessageToChat, forbidden, 1},
		"history":            {chats.OpGetChatHistory, forbidden, 1},
		"send, by a gateway": {chats.OpSendMessageToChat, "<html>", 2}, // the first may have been posted
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				chat, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				forbid := func(requested chats.Operation, _ int) chatstest.Fault {
					if requested == c.op {
						return chatstest.Status(403, c.body)
					}
					return chatstest.OK()
				}
				market.FailFunc(forbid)
				put(t, o, text("a", chat))
				next, err := o.Step(t.Context())
				require.NoError(t, err)
				assert.False(t, next.IsZero())
				run := start(t, o)
				sleep(6 * time.Hour)
				market.FailFunc(nil)
				put(t, o, text("b", other))
				sleep(time.Second)
				assert.Equal(t, outbox.Sent, get(t, o, "b").State, "the others are not delayed")
				assert.Less(t, market.Calls(c.op), 2*(6*4+15), "an attempt reads the history twice at most")
				assert.Less(t, market.Calls(chats.OpGetChats), 6*4+10)
				result := get(t, o, "a")
				assert.Equal(t, outbox.Queued, result.State)
				require.ErrorContains(t, result.Err, "403")
				sleep(15 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"a"}, posted(market, chat))
				assert.Equal(t, c.attempts, get(t, o, "a").Attempts)
			})
		})
	}
}

// The list of chats, which shows that the credential is accepted, is requested once a minute
// however many chats are forbidden.
func TestRun_ForbiddenChats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithWorkers(1))
		market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			if op == chats.OpGetChats {
				return chatstest.OK()
			}
			return chatstest.Status(403, forbidden)
		})
		for n := range 10 {
			put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
		}
		run := start(t, o)
		sleep(59 * time.Second)
		assert.Equal(t, 1, market.Calls(chats.OpGetChats))
		sleep(4 * time.Minute)
		require.NoError(t, run.stop())
		assert.LessOrEqual(t, market.Calls(chats.OpGetChats), 5)
	})
}

// If the list of chats is forbidden, too, the credential is refused.
func TestRun_ForbiddenCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Status(403, forbidden) })
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		_, err := o.Step(t.Context())
		require.ErrorIs(t, err, chats.ErrForbidden)
		began := time.Now()
		require.ErrorIs(t, o.Run(t.Context()), chats.ErrForbidden)
		assert.InDelta(t, time.Minute, time.Since(began), float64(20*time.Second))
		assert.Equal(t, outbox.Queued, get(t, o, "a").State, "the queue is kept")
	})
}

func TestStep_ReturnsWhenSomethingIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		chat := market.AddChat(chats.Chat{})
		store := outbox.NewMemoryStore()
		o, other := newOutbox(t, connect(t, market), store), newOutbox(t, connect(t, market), store)
		next, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		for n := range 30 {
			put(t, o, text(strconv.Itoa(n), chat))
		}
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := o.Step(t.Context())
			done <- err
		}()
		sleep(time.Second)
		_, err = other.Step(t.Context())
		require.ErrorIs(t, err, inbox.ErrLeaseHeld)
		_, err = o.Step(t.Context())
		require.ErrorIs(t, err, outbox.ErrRunning)
		require.ErrorIs(t, o.Run(t.Context()), outbox.ErrRunning)
		require.NoError(t, <-done)
		assert.InDelta(t, time.Minute, time.Since(began), float64(10*time.Second))
		next, err = o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		assert.Len(t, posted(market, chat), 30)

		until := time.Now().Truncate(time.Hour).Add(time.Hour)
		market.Fail(chats.OpSendMessageToChat, chatstest.RateLimitedHourly(until))
		put(t, o, text("quota", chat))
		next, err = o.Step(t.Context())
		require.NoError(t, err)
		assert.WithinDuration(t, until, next, 3*time.Second)
	})
}

func TestRun_StandbyTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
		chat := market.AddChat(chats.Chat{})
		first, second := newOutbox(t, connect(t, market), store), newOutbox(t, connect(t, market), store)
		a := start(t, first)
		sleep(time.Second)
		b := start(t, second)
		put(t, second, text("a", chat))
		sleep(2 * time.Second)
		assert.Equal(t, outbox.Sent, get(t, second, "a").State, "put in the process that stands by")
		status, err := second.Status(t.Context())
		require.NoError(t, err)
		holder := status.Holder
		require.NoError(t, a.stop())
		sleep(2 * time.Second)
		status, err = second.Status(t.Context())
		require.NoError(t, err)
		assert.NotEqual(t, holder, status.Holder)
		assert.NotEmpty(t, status.Holder)
		put(t, first, text("b", chat))
		sleep(2 * time.Second)
		require.NoError(t, b.stop())
		assert.Equal(t, []string{"a", "b"}, posted(market, chat))
	})
}

// One chat with a long queue does not use up the quota of the others.
func TestRun_SharesTheQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(100*time.Millisecond), chatstest.WithHourlyLimit(chats.OpSendMessageToChat, 20))
		long := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		for n := range 100 {
			put(t, o, text(fmt.Sprint("long ", n), long))
		}
		others := make([]chats.ChatID, 5)
		for n := range others {
			others[n] = market.AddChat(chats.Chat{})
			put(t, o, text(fmt.Sprint("first ", n), others[n]), text(fmt.Sprint("second ", n), others[n]), file(fmt.Sprint("f", n), others[n]))
		}
		run := start(t, o)
		sleep(time.Minute)
		for _, chat := range others {
			assert.Len(t, posted(market, chat), 3)
		}
		assert.Len(t, posted(market, long), 10)
		status, err := o.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 90, status.Queued)
		assert.NotEmpty(t, status.LastError)
		assert.Zero(t, status.Quota[chats.OpSendMessageToChat].Remaining)
		sleep(5 * time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, posted(market, long), 100)
	})
}

func TestRun_ChatsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(chatstest.WithLatency(100*time.Millisecond)), &settled{}
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), seen.option(), outbox.WithWorkers(1))
		var want []string
		a, b := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		for n := range 5 {
			put(t, o, text(fmt.Sprint("a", n), a), text(fmt.Sprint("b", n), b))
			want = append(want, fmt.Sprint("a", n, " sent"), fmt.Sprint("b", n, " sent"))
		}
		run := start(t, o)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, want, seen.keys())
	})
}

// The quota is exhausted while more chats wait than it has sends. Those whose send was refused
// because of that do not lose their turn, and a chat with a second item is not overtaken by
// chats that came later.
func TestRun_TheLongestWaitIsNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpSendMessageToChat, 10))
		sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithWorkers(1))
		run := start(t, o)
		const n = 12 * 12
		first := market.AddChat(chats.Chat{})
		put(t, o, text("first", first), text("second", first))
		for k := range n {
			put(t, o, text(strconv.Itoa(k), market.AddChat(chats.Chat{})))
			sleep(5 * time.Minute)
		}
		assert.Equal(t, []string{"first", "second"}, posted(market, first))
		overtaken, waiting := 0, n
		for k := range n {
			if isSent := get(t, o, strconv.Itoa(k)).State == outbox.Sent; isSent && k > waiting {
				overtaken++
			} else if !isSent {
				waiting = min(waiting, k)
			}
		}
		require.NoError(t, run.stop())
		assert.Zero(t, overtaken, "items posted before item %d, which was put %v ago", waiting, time.Duration(n-waiting)*5*time.Minute)
		assert.Greater(t, waiting, n*2/3)
	})
}

// Chats that have waited equally long are served in the order of Put.
func TestRun_ServesChatsInTheOrderOfPut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(), &settled{}
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), seen.option(), outbox.WithWorkers(1))
		var want []string
		for n := range 20 {
			put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
			want = append(want, strconv.Itoa(n)+" sent")
		}
		run := start(t, o)
		sleep(time.Second)
		require.NoError(t, run.stop())
		assert.Equal(t, want, seen.keys())
	})
}

// requestsPerCall is at most how many requests a client makes while none succeeds.
const requestsPerCall = 8

func TestRun_ResetThatIsOver(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, ahead := range []time.Duration{-10 * time.Minute, 0, time.Second} {
		for _, op := range []chats.Operation{chats.OpSendMessageToChat, chats.OpGetChatHistory} {
			t.Run(fmt.Sprint(ahead, " ", op), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					market := chatstest.NewMarket()
					market.FailFunc(func(requested chats.Operation, _ int) chatstest.Fault {
						if requested == op {
							return chatstest.RateLimitedHourly(time.Now().Add(ahead))
						}
						return chatstest.OK()
					})
					o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
					for n := range 3 {
						put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
					}
					run := start(t, o)
					sleep(time.Hour)
					assert.LessOrEqual(t, market.Calls(op), 3*61*requestsPerCall)
					market.FailFunc(nil)
					sleep(2 * time.Minute)
					require.NoError(t, run.stop())
					for n := range 3 {
						assert.Equal(t, outbox.Sent, get(t, o, strconv.Itoa(n)).State)
					}
				})
			})
		}
	}
}

func TestRun_IdleCostsOneReadingPerSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		var polls atomic.Int64
		store := &hooked{Store: outbox.NewMemoryStore(), backlog: func() error { polls.Add(1); return nil }}
		o := newOutbox(t, connect(t, market), store)
		run := start(t, o)
		sleep(100 * time.Second)
		assert.InDelta(t, 100, polls.Load(), 2)
		for n := range 50 {
			began := time.Now()
			put(t, o, text(strconv.Itoa(n), chat))
			synctest.Wait()
			assert.Equal(t, outbox.Sent, get(t, o, strconv.Itoa(n)).State)
			assert.Zero(t, time.Since(began), "Put in the same process works at once")
		}
		assert.InDelta(t, 100, polls.Load(), 2)
		require.NoError(t, run.stop())
	})
}

func TestRun_DeletesAfterTheRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithRetention(24*time.Hour))
		run := start(t, o)
		put(t, o, text("a", chat))
		sleep(23 * time.Hour)
		put(t, o, text("a", chat))
		assert.Equal(t, outbox.Sent, get(t, o, "a").State)
		sleep(3 * time.Hour)
		_, err := o.Get(t.Context(), "a")
		require.ErrorIs(t, err, outbox.ErrUnknownKey)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"a"}, posted(market, chat))
	})
}

// Resolve settles items without reporting them, which an outbox without WithSettled never does.
func TestRun_DeletesWhatNobodyReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithStoredText(strings.ToUpper))
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithRetention(4*time.Hour))
		run := start(t, o)
		put(t, o, text("discarded", chat), text("uncertain", chat))
		awaitState(t, o, "discarded", outbox.Uncertain)
		awaitState(t, o, "uncertain", outbox.Uncertain)
		sleep(8 * time.Hour)
		require.NoError(t, o.Resolve(t.Context(), "discarded", outbox.Discard()))
		sleep(3 * time.Hour)
		assert.Equal(t, outbox.Discarded, get(t, o, "discarded").State)
		sleep(3 * time.Hour)
		_, err := o.Get(t.Context(), "discarded")
		require.ErrorIs(t, err, outbox.ErrUnknownKey)
		assert.Equal(t, outbox.Uncertain, get(t, o, "uncertain").State)
		require.NoError(t, run.stop())
	})
}

// pruned is a store that deletes so many records per call.
type pruned struct {
	outbox.Store

	deletes func() (int, error)
}

func (s pruned) DeleteSettled(context.Context, chats.BusinessID, time.Time, int) (int, error) {
	return s.deletes()
}

func TestRun_DeletesOnceAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var calls []time.Duration
		store := pruned{outbox.NewMemoryStore(), func() (int, error) {
			switch calls = append(calls, time.Since(began).Round(time.Minute)); len(calls) {
			case 1:
				return 0, errors.New("no connection")
			case 2, 3:
				return 1000, nil // as many as were asked for
			}
			return 999, nil
		}}
		run := start(t, newOutbox(t, connect(t, chatstest.NewMarket()), store))
		sleep(150 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []time.Duration{0, time.Minute, time.Minute, time.Minute, 61 * time.Minute, 121 * time.Minute}, calls)
	})
}

// Slow reads of the backlog make reads rarer, but one slow read does not hide the items that other
// processes put.
func TestRun_ReadsTheBacklogRarelyIfThatIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, shared := chatstest.NewMarket(), outbox.NewMemoryStore()
		var calls, slow atomic.Int32
		store := &hooked{Store: shared, backlog: func() error {
			if calls.Add(1); slow.Add(-1) >= 0 {
				sleep(3 * time.Second)
			}
			return nil
		}}
		run := start(t, newOutbox(t, connect(t, market), store))
		other := newOutbox(t, connect(t, market), shared)
		sleep(10 * time.Second)
		slow.Store(1)
		sleep(5 * time.Second)
		chat := market.AddChat(chats.Chat{})
		put(t, other, text("a", chat))
		sleep(2 * time.Second)
		assert.Len(t, posted(market, chat), 1)
		slow.Store(1000)
		calls.Store(0)
		sleep(10 * time.Minute)
		assert.InDelta(t, 10, calls.Load(), 2, "3 s a minute")
		require.NoError(t, run.stop())
	})
}

func TestRun_BacksOffWhileTheBacklogIsUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls, end := 0, time.Now().Add(10*time.Minute)
		store := &hooked{Store: outbox.NewMemoryStore(), backlog: func() error {
			if time.Now().After(end) {
				return nil
			}
			calls++
			return errors.New("no connection")
		}}
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		run := start(t, newOutbox(t, connect(t, chatstest.NewMarket()), store, outbox.WithLogger(logger)))
		sleep(11 * time.Minute)
		require.NoError(t, run.stop())
		assert.InDelta(t, 10*4, calls, 5, "every 15 s")
		assert.Equal(t, 1, strings.Count(log.String(), "outbox: backlog can be read again"))
	})
}

func TestRun_OutlivesAFailingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		var down, unsaved atomic.Bool
		fail := func() error {
			if down.Load() {
				return errors.New("no connection")
			}
			return nil
		}
		store := &hooked{Store: outbox.NewMemoryStore(), backlog: fail, renew: fail, acquire: fail}
		store.save = func(*outbox.Record) error {
			if unsaved.Load() {
				return errors.New("read-only")
			}
			return fail()
		}
		o := newOutbox(t, connect(t, market), store)
		run := start(t, o)
		sleep(time.Second)
		put(t, o, text("a", chat))
		sleep(time.Second)
		down.Store(true)
		put(t, o, text("b", chat))
		sleep(10 * time.Minute)
		assert.Equal(t, []string{"a"}, posted(market, chat), "nothing is sent that could not be stored")
		down.Store(false)
		sleep(2 * time.Minute)
		unsaved.Store(true)
		put(t, o, text("c", chat))
		sleep(10 * time.Minute)
		assert.Equal(t, []string{"a", "b"}, posted(market, chat))
		unsaved.Store(false)
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"a", "b", "c"}, posted(market, chat))
		down.Store(true)
		began := time.Now()
		require.ErrorContains(t, o.Run(t.Context()), "no connection", "it was never there")
		assert.Less(t, time.Since(began), time.Minute)
		_, err := o.Step(t.Context())
		require.ErrorContains(t, err, "no connection")
	})
}

func TestRun_EndsPostsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		run := start(t, o)
		put(t, o, text("a", chat), text("b", chat))
		sleep(1500 * time.Millisecond) // the request is under way
		began := time.Now()
		require.NoError(t, run.stop())
		assert.Equal(t, outbox.Sent, get(t, o, "a").State)
		assert.Equal(t, outbox.Queued, get(t, o, "b").State)
		assert.Less(t, time.Since(began), 3*time.Second)

		market.Fail(chats.OpSendMessageToChat, chatstest.SlowHeaders(20*time.Second))
		run = start(t, o)
		sleep(2500 * time.Millisecond)
		began = time.Now()
		require.NoError(t, run.stop())
		assert.LessOrEqual(t, time.Since(began), 6*time.Second)
		assert.Equal(t, outbox.Sending, get(t, o, "b").State)
		run = start(t, o)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"a", "b"}, posted(market, chat))
	})
}

// An item expires on time although nothing can be sent at that time.
func TestRun_ExpiresWhileTheQuotaIsExhausted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpSendMessageToChat, 1)), &settled{}
		sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 2*time.Minute)))
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), seen.option(), outbox.WithWorkers(1))
		chat := market.AddChat(chats.Chat{})
		put(t, o, text("one", market.AddChat(chats.Chat{})))
		next, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		two, behind, late := text("two", chat), text("behind", chat), text("late", market.AddChat(chats.Chat{}))
		two.NotAfter, behind.NotAfter = time.Now().Add(5*time.Minute), time.Now().Add(time.Minute)
		late.NotAfter = time.Now().Add(2 * time.Hour)
		put(t, o, two, behind, late)
		next, err = o.Step(t.Context())
		require.NoError(t, err)
		assert.WithinDuration(t, two.NotAfter, next, time.Second)
		put(t, o, text("last", chat))
		run := start(t, o)
		sleep(4 * time.Minute)
		assert.Equal(t, outbox.Queued, get(t, o, "two").State)
		sleep(time.Minute + time.Second)
		assert.Equal(t, []string{"one sent", "two expired", "behind expired"}, seen.keys())
		sleep(time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, outbox.Sent, get(t, o, "late").State)
	})
}

func TestRun_ExpiresInTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		item := text("a", chat)
		item.NotAfter = time.Now().Add(time.Minute)
		put(t, o, item, text("b", chat))
		sleep(2 * time.Minute)
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Equal(t, outbox.Expired, get(t, o, "a").State)
		assert.Equal(t, []string{"b"}, posted(market, chat))
	})
}

// errorHandler renders errors, as many handlers of package log/slog do.
type errorHandler struct{ slog.Handler }

func (h errorHandler) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(attr slog.Attr) bool {
		if err, ok := attr.Value.Any().(error); ok {
			_ = err.Error()
		}
		return true
	})
	return nil
}

func (h errorHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func TestRun_LogsNoErrorThatIsNil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(),
			outbox.WithLogger(slog.New(errorHandler{slog.NewTextHandler(t.Output(), nil)})))
		item := text("a", market.AddChat(chats.Chat{}))
		item.NotAfter = time.Now()
		put(t, o, item)
		sleep(time.Second)
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Equal(t, outbox.Expired, get(t, o, "a").State)
	})
}

type limiterFunc func()

func (f limiterFunc) Wait(context.Context) error { f(); return nil }

// A function of the program that the client calls fails in the worst way before, during or
// after the send.
func TestRun_ClientFunctionThatPanics(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() { panic("a bug") }, "Goexit": runtime.Goexit} {
		for at := 1; at <= 4; at++ {
			for kind, option := range map[string]func(func()) chats.Option{
				"limiter": func(f func()) chats.Option { return chats.WithLimiter(limiterFunc(f)) },
				"hook":    func(f func()) chats.Option { return chats.WithHook(func(context.Context, chats.Attempt) { f() }) },
			} {
				t.Run(fmt.Sprint(name, " in call ", at, " of the ", kind), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						market, n := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return time.Second })), 0
						chat := market.AddChat(chats.Chat{})
						o := newOutbox(t, market.Client(option(func() {
							if n++; n == at {
								end()
							}
						})), outbox.NewMemoryStore())
						put(t, o, text("a", chat), text("b", chat))
						run := start(t, o)
						sleep(time.Minute)
						require.NoError(t, run.stop())
						assert.Equal(t, []string{"a", "b"}, posted(market, chat))
						assert.Equal(t, outbox.Sent, get(t, o, "a").State)
					})
				})
			}
		}
	}
}

// Times are stored by the clock of another machine, or of this one before it was set back.
// No item and no report waits for a clock that was ahead.
func TestRun_TimesOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T, o *outbox.Outbox){
		"Run": func(t *testing.T, o *outbox.Outbox) {
			t.Helper()
			run := start(t, o)
			sleep(time.Minute)
			require.NoError(t, run.stop())
		},
		"Step": func(t *testing.T, o *outbox.Outbox) {
			t.Helper()
			next, err := o.Step(t.Context())
			require.NoError(t, err)
			assert.Zero(t, next)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, store, seen := chatstest.NewMarket(), outbox.NewMemoryStore(), &settled{}
				o := newOutbox(t, connect(t, market), store, seen.option())
				put(t, o, text("queued", market.AddChat(chats.Chat{})), text("failed", market.AddChat(chats.Chat{})))
				lease, err := store.Acquire(t.Context(), market.Business(), outbox.Purpose, "ahead")
				require.NoError(t, err)
				ahead := time.Now().Add(24 * time.Hour)
				for key, state := range map[string]outbox.State{"queued": outbox.Queued, "failed": outbox.Failed} {
					r, err := store.Item(t.Context(), market.Business(), key)
					require.NoError(t, err)
					r.State, r.DueAt, r.Failures, r.Reports = state, ahead.Add(time.Minute), 3, 3
					if state.IsSettled() {
						r.SettledAt = ahead
					}
					require.NoError(t, store.SaveItem(t.Context(), lease, &r))
				}
				require.NoError(t, store.Release(t.Context(), lease))
				run(t, o)
				assert.Equal(t, outbox.Sent, get(t, o, "queued").State)
				assert.ElementsMatch(t, []string{"queued sent", "failed failed"}, seen.keys())
			})
		})
	}
}

// Attempts counts requests that may have posted the item: none that the server or a limit
// refused or that had no connection, whether the client or the outbox made the next one.
func TestRun_AttemptsThatCertainlyPostedNothing(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]chatstest.Fault{
		"the hour ends soon": {chatstest.RateLimitedHourly(time.Date(2000, 1, 1, 0, 0, 2, 0, time.UTC))},
		"parallel":           slices.Repeat([]chatstest.Fault{chatstest.RateLimitedParallel()}, 3),
		"429":                {chatstest.Respond(429, nil, ""), chatstest.Respond(429, nil, "")},
		"no connection":      slices.Repeat([]chatstest.Fault{chatstest.Refused()}, 30),
		"one call failed":    slices.Repeat([]chatstest.Fault{chatstest.Refused()}, 6),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				chat := market.AddChat(chats.Chat{})
				market.Fail(chats.OpSendMessageToChat, faults...)
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				put(t, o, text("a", chat))
				run := start(t, o)
				awaitState(t, o, "a", outbox.Sent)
				market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
				put(t, o, text("b", chat))
				awaitState(t, o, "b", outbox.Sent)
				market.Fail(chats.OpSendMessageToChat, chatstest.Status(400, badRequest))
				put(t, o, text("c", chat))
				awaitState(t, o, "c", outbox.Failed)
				require.NoError(t, run.stop())
				assert.Equal(t, 1, get(t, o, "a").Attempts)
				assert.Equal(t, 2, get(t, o, "b").Attempts)
				assert.Equal(t, 0, get(t, o, "c").Attempts)
				assert.Equal(t, []string{"a", "b"}, posted(market, chat))
			})
		})
	}
}

// A limit that lasts uses up neither the quota of sends nor that of histories, which others need.
func TestRun_ALimitThatLastsCostsLittle(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, limited := range map[string]chatstest.Fault{"parallel": chatstest.RateLimitedParallel(), "a gateway's": chatstest.HTML(429)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				for n := range 20 {
					put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
				}
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					if op == chats.OpSendMessageToChat {
						return limited
					}
					return chatstest.OK()
				})
				run := start(t, o)
				sleep(time.Hour)
				assert.Less(t, market.Calls(chats.OpSendMessageToChat), 2000)
				assert.Less(t, market.Calls(chats.OpGetChatHistory), 2000)
				market.FailFunc(nil)
				sleep(time.Minute + 10*time.Second)
				for n := range 20 {
					assert.Equal(t, outbox.Sent, get(t, o, strconv.Itoa(n)).State)
				}
				put(t, o, text("x", market.AddChat(chats.Chat{})))
				market.Fail(chats.OpSendMessageToChat, slices.Repeat([]chatstest.Fault{limited}, 6)...)
				sleep(20 * time.Second)
				assert.Equal(t, outbox.Sent, get(t, o, "x").State, "the delay is short again")
				require.NoError(t, run.stop())
			})
		})
	}
}

// An outage with many waiting chats leaves enough of the quota of histories for the time after it.
func TestRun_AnOutageLeavesTheQuota(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, down := range []chats.Operation{chats.OpSendMessageToChat, chats.OpGetChatHistory} {
		t.Run(string(down), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const size = 200
				market := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpGetChatHistory, 10_000))
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				for n := range size {
					put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
				}
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					if op == down {
						return chatstest.Status(500, "")
					}
					return chatstest.OK()
				})
				run := start(t, o)
				sleep(40 * time.Minute)
				assert.Less(t, market.Calls(chats.OpGetChatHistory), 5000)
				put(t, o, text("new", market.AddChat(chats.Chat{})))
				market.FailFunc(nil)
				sleep(time.Second)
				assert.Equal(t, outbox.Sent, get(t, o, "new").State, "it does not wait for those that have failed")
				sleep(2 * time.Minute)
				for n := range size {
					assert.Equal(t, outbox.Sent, get(t, o, strconv.Itoa(n)).State)
				}
				require.NoError(t, run.stop())
			})
		})
	}
}

// failing is a transport on which the sends to some chats fail with a 500.
type failing struct {
	http.RoundTripper

	chats map[string]bool
}

func (f failing) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/chats/message") && f.chats[req.URL.Query().Get("chatId")] {
		return &http.Response{StatusCode: http.StatusInternalServerError, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
	return f.RoundTripper.RoundTrip(req)
}

// Chats whose sends keep failing, with unknown outcome, do not occupy the workers.
func TestRun_FailingChatsDelayNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(300 * time.Millisecond))
		transport := failing{market.Transport(), map[string]bool{}}
		o := newOutbox(t, market.Client(chats.WithHTTPClient(&http.Client{Transport: transport})), outbox.NewMemoryStore())
		for n := range 20 {
			id := market.AddChat(chats.Chat{})
			transport.chats[strconv.Itoa(int(id))] = true
			put(t, o, text(fmt.Sprint("failing ", n), id))
		}
		run := start(t, o)
		for n := range 50 {
			id := market.AddChat(chats.Chat{})
			put(t, o, text(strconv.Itoa(n), id))
			sleep(8 * time.Second)
			assert.Len(t, posted(market, id), 1)
		}
		requests := market.Calls(chats.OpGetChatHistory)
		sleep(time.Hour)
		assert.Less(t, market.Calls(chats.OpGetChatHistory)-requests, 20*60*3)
		require.NoError(t, run.stop())
		result := get(t, o, "failing 0")
		assert.Equal(t, outbox.Sending, result.State)
		require.ErrorContains(t, result.Err, "500")
	})
}

// Attempts in chats that fail while others succeed do not delay those in a later outage.
func TestRun_RetriesSoonAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 40
		market := chatstest.NewMarket()
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		for n := range size {
			put(t, o, file(fmt.Sprint("file ", n), market.AddChat(chats.Chat{})))
		}
		market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			if op == chats.OpSendFileToChat {
				return chatstest.Status(500, "")
			}
			return chatstest.OK()
		})
		run := start(t, o)
		for n := range 180 {
			put(t, o, text(fmt.Sprint("text ", n), market.AddChat(chats.Chat{})))
			sleep(10 * time.Second)
		}
		sleep(2 * time.Minute) // without a success
		market.FailFunc(nil)
		sleep(2 * time.Minute)
		for n := range size {
			assert.Equal(t, outbox.Sent, get(t, o, fmt.Sprint("file ", n)).State)
		}
		require.NoError(t, run.stop())
	})
}

// forbidding forbids the histories of some chats, and counts these requests.
type forbidding struct {
	http.RoundTripper

	chats sync.Map // their IDs as text
	calls atomic.Int64
}

// newForbidding returns a transport that forbids new chats, and an outbox's items for them.
func newForbidding(t *testing.T, market *chatstest.Market, size int) (f *forbidding, items []outbox.Item) {
	t.Helper()
	f = &forbidding{RoundTripper: contract.Transport(t, market.Transport())}
	for n := range size {
		id := market.AddChat(chats.Chat{})
		f.chats.Store(strconv.Itoa(int(id)), true)
		items = append(items, text(fmt.Sprint("forbidden ", n), id))
	}
	return f, items
}

func (f *forbidding) client(market *chatstest.Market) *chats.Client {
	return market.Client(chats.WithHTTPClient(&http.Client{Transport: f}))
}

func (f *forbidding) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, ok := f.chats.Load(req.URL.Query().Get("chatId")); !ok || !isHistory(req) {
		return f.RoundTripper.RoundTrip(req)
	}
	f.calls.Add(1)
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// Many chats that the server forbids leave the quota to others, although items of others are posted
// meanwhile, so that it is no outage. They do not delay a chat that has failed a few times.
func TestRun_ManyForbiddenChatsLeaveTheQuota(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, minutes = 300, 60
		market := chatstest.NewMarket()
		transport, items := newForbidding(t, market, size)
		o := newOutbox(t, transport.client(market), outbox.NewMemoryStore())
		put(t, o, items...)
		run := start(t, o)
		chat, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		for n := range minutes {
			put(t, o, text(strconv.Itoa(n), chat))
			if n == minutes/2 {
				market.Fail(chats.OpSendFileToChat, slices.Repeat([]chatstest.Fault{chatstest.Status(500, "")}, 3)...)
				put(t, o, file("file", other))
			}
			sleep(time.Minute)
		}
		require.NoError(t, run.stop())
		assert.Len(t, posted(market, chat), minutes)
		assert.Less(t, transport.calls.Load(), int64(2*(2*size+12*minutes+50)), "an attempt makes two requests")
		result := get(t, o, "file")
		assert.Equal(t, outbox.Sent, result.State)
		assert.Less(t, result.SettledAt.Sub(result.QueuedAt), 3*time.Minute)
	})
}

// The backlog is read while the response of the store to the save of a settled item is still on its way.
func TestRun_ReportsOnceIfASaveIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(), &settled{}
		store := &hooked{Store: outbox.NewMemoryStore(), saved: func(r *outbox.Record) {
			if r.State == outbox.Sent && !r.Reported {
				sleep(3 * time.Second)
			}
		}}
		o := newOutbox(t, connect(t, market), store, seen.option())
		put(t, o, text("reply", market.AddChat(chats.Chat{})))
		run := start(t, o)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"reply sent"}, seen.keys())
	})
}

// Posts to chats that have not failed do not count as retries of one that has.
func TestRun_OtherChatsDoNotDelayARetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		run := start(t, o)
		market.Fail(chats.OpSendFileToChat, slices.Repeat([]chatstest.Fault{chatstest.Status(500, "")}, 2)...)
		put(t, o, file("file", market.AddChat(chats.Chat{})))
		for n := range 60 {
			put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
			sleep(2 * time.Second)
		}
		result := get(t, o, "file")
		require.Equal(t, outbox.Sent, result.State)
		assert.Less(t, result.SettledAt.Sub(result.QueuedAt), time.Minute)
		require.NoError(t, run.stop())
	})
}

// Of many chats that fail, each has its turn, also one that has failed for long.
func TestRun_AChatThatIsAllowedAgainHasItsTurn(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		transport, items := newForbidding(t, market, 400) // more than get a turn in 15 min, the longest delay
		o := newOutbox(t, transport.client(market), outbox.NewMemoryStore())
		put(t, o, items...)
		run := start(t, o)
		sleep(time.Hour)
		for _, item := range items[:5] {
			transport.chats.Delete(strconv.Itoa(int(item.Chat)))
		}
		sleep(2 * time.Hour)
		for _, item := range items[:5] {
			assert.Equal(t, outbox.Sent, get(t, o, item.Key).State, item.Key)
		}
		require.NoError(t, run.stop())
	})
}

// A new outbox, such as a process or a fleet's step begins with, does not try at once all chats that have
// failed before.
func TestRun_ANewOutboxKnowsTheChatsThatHaveFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, processes = 300, 10
		market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
		transport, items := newForbidding(t, market, size)
		put(t, newOutbox(t, transport.client(market), store), items...)
		chat := market.AddChat(chats.Chat{})
		for n := range processes {
			o := newOutbox(t, transport.client(market), store)
			put(t, o, text(fmt.Sprint("healthy ", n), chat)) // it is no outage
			run := start(t, o)
			sleep(4 * time.Minute)
			require.NoError(t, run.stop())
		}
		assert.Len(t, posted(market, chat), processes)
		assert.Less(t, transport.calls.Load(), int64(2*(2*size+processes*(13+4*12))), "an attempt makes two requests")
	})
}

// A save of a settled item that is not known to have succeeded leaves the report to the backlog.
func TestRun_ReportsAfterASaveInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(), &settled{}
		var isSaved, isRead bool
		store := &hooked{Store: outbox.NewMemoryStore()}
		store.afterSave = func(r *outbox.Record) error {
			if r.State != outbox.Sent || isSaved {
				return nil
			}
			isSaved = true
			r.Version--
			return errors.New("the connection broke")
		}
		store.item = func() error {
			if !isSaved || isRead {
				return nil
			}
			isRead = true
			return errors.New("the connection broke")
		}
		o := newOutbox(t, connect(t, market), store, seen.option())
		put(t, o, text("reply", market.AddChat(chats.Chat{})))
		run := start(t, o)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"reply sent"}, seen.keys())
	})
}
