package chats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	sends "github.com/ymchats/ymchats-go/chats/internal/attempts"
)

// lateSend is a call that sends long after it began, and whose request the server processes
// after the connection broke.
type lateSend struct {
	name     string
	options  []chats.Option
	faults   []chatstest.Fault // of sends
	isFile   bool
	deadline time.Duration // of the call's context; 0: none
	call     func(context.Context, *chats.Client, chats.ChatID, chats.MessageID) error
}

var lateFile = bytes.Repeat([]byte("x"), 320<<10)

// pausing is a reader that takes two seconds for each Read.
type pausing struct{ *bytes.Reader }

func (p pausing) Read(b []byte) (int, error) {
	time.Sleep(2 * time.Second)
	return p.Reader.Read(b)
}

func lateSends() []lateSend {
	sendText := func(ctx context.Context, c *chats.Client, id chats.ChatID, _ chats.MessageID) error {
		return c.SendText(ctx, id, "Завтра")
	}
	waits := 0
	limiter := &countingLimiter{wait: func(context.Context) error {
		if waits++; waits == 1 {
			time.Sleep(20 * time.Second)
		}
		return nil
	}}
	late := chatstest.ProcessLate(8 * time.Second)
	return []lateSend{
		{name: "limiter", options: []chats.Option{chats.WithLimiter(limiter)}, faults: []chatstest.Fault{late}, call: sendText},
		{
			name: "retries", call: sendText,
			faults: []chatstest.Fault{chatstest.Respond(429, http.Header{"Retry-After": {"20"}}, ""), late},
		},
		{
			name: "slow upload", faults: []chatstest.Fault{late}, isFile: true,
			call: func(ctx context.Context, c *chats.Client, id chats.ChatID, _ chats.MessageID) error {
				return c.SendFile(ctx, id, "a.txt", pausing{bytes.NewReader(lateFile)})
			},
		},
		{
			name: "another send to the chat", faults: []chatstest.Fault{chatstest.DropBefore(), chatstest.OK(), late},
			call: func(ctx context.Context, c *chats.Client, id chats.ChatID, last chats.MessageID) error {
				var first sync.WaitGroup
				first.Go(func() { _, _ = c.SendTextConfirmed(ctx, id, "Здравствуйте") })
				synctest.Wait()
				defer first.Wait()
				return sendText(ctx, c, id, last)
			},
		},
		{
			name: "second send of a confirmed one", faults: []chatstest.Fault{chatstest.DropBefore(), late}, deadline: 17 * time.Second,
			call: func(ctx context.Context, c *chats.Client, id chats.ChatID, last chats.MessageID) error {
				_, err := c.SendTextConfirmed(ctx, id, "Завтра", chats.ConfirmAfter(last))
				return err
			},
		},
	}
}

func (l *lateSend) confirm(t *testing.T, c *chats.Client, id chats.ChatID, options ...chats.ConfirmOption) (chats.Message, error) {
	t.Helper()
	if l.isFile {
		return c.SendFileConfirmed(t.Context(), id, "a.txt", bytes.NewReader(lateFile), options...)
	}
	return c.SendTextConfirmed(t.Context(), id, "Завтра", options...)
}

// remedies are the calls that the documentation names for an unknown outcome.
var remedies = []struct {
	name        string
	otherClient bool
	options     func(last chats.MessageID, failed *chats.Error, began, returned time.Time) []chats.ConfirmOption
}{
	{"SentAt", false, func(last chats.MessageID, failed *chats.Error, _, _ time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmAfter(last), chats.ConfirmResume(failed.SentAt)}
	}},
	{"SentAt, another process", true, func(last chats.MessageID, failed *chats.Error, _, _ time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmAfter(last), chats.ConfirmResume(failed.SentAt)}
	}},
	{"the same call", false, func(last chats.MessageID, _ *chats.Error, _, _ time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmAfter(last)}
	}},
	{"both times, without ConfirmAfter", true, func(_ chats.MessageID, _ *chats.Error, began, returned time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmResume(returned), chats.ConfirmResume(began)}
	}},
}

func TestErrOutcomeUnknown_RemedyAfterALateSendPostsOnce(t *testing.T) {
	t.Parallel()
	for n := range lateSends() {
		for _, remedy := range remedies {
			t.Run(lateSends()[n].name+", "+remedy.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					send := lateSends()[n]
					f := newFixture(t, send.options...)
					f.market.Fail(chats.OpSendMessageToChat, send.faults...)
					f.market.Fail(chats.OpSendFileToChat, send.faults...)
					ctx, began := t.Context(), time.Now()
					if send.deadline > 0 {
						limited, cancel := context.WithTimeout(ctx, send.deadline)
						defer cancel()
						ctx = limited
					}
					err := send.call(ctx, f.client, f.chat, f.first)
					var failed *chats.Error
					require.ErrorAs(t, err, &failed)
					require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
					before := f.posted()
					last := f.market.Messages(f.chat)[before].ID

					client := f.client
					if remedy.otherClient {
						client = newClient(t, f.market)
					}
					message, err := send.confirm(t, client, f.chat, remedy.options(last, failed, began, time.Now())...)
					require.NoError(t, err)
					time.Sleep(time.Minute) // until late requests are processed
					assert.Equal(t, before+1, f.posted())
					assert.Equal(t, f.market.Messages(f.chat)[before+1].ID, message.ID)
				})
			})
		}
	}
}

// Every ErrOutcomeUnknown has a time for ConfirmResume.
func TestError_SentAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		sentAt := func(err error) time.Time {
			var failed *chats.Error
			require.ErrorAs(t, err, &failed)
			return failed.SentAt
		}
		f.market.Fail(chats.OpSendMessageToChat, chatstest.Respond(500, nil, ""), chatstest.Status(400, envelope), chatstest.Status(200, `{"status":"OK"}`))
		began := time.Now()
		assert.Equal(t, began, sentAt(f.client.SendText(t.Context(), f.chat, "Завтра")))
		assert.Zero(t, sentAt(f.client.SendText(t.Context(), f.chat, "Завтра")))
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.ErrorIs(t, err, chats.ErrUnconfirmed)
		assert.Equal(t, began, sentAt(err), "the send, not the end of the search")

		f.market.AddMessage(f.chat, chats.SenderPartner, "Другой оператор")
		_, err = newClient(t, f.market).SendTextConfirmed(t.Context(), f.chat, "Нет", chats.ConfirmAfter(f.first))
		require.ErrorIs(t, err, chats.ErrAmbiguous)
		assert.Equal(t, time.Now(), sentAt(err), "an earlier call may have sent it until now")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = f.client.SendTextConfirmed(ended, f.chat, "Нет", chats.ConfirmResume(began))
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Equal(t, began, sentAt(err))
	})
}

// shownAfter is a Market that shows the shop's messages so long after they were posted.
func shownAfter(d time.Duration) *chatstest.Market {
	return chatstest.NewMarket(chatstest.WithVisibility(func(m chats.Message) time.Duration {
		if m.Sender == chats.SenderPartner {
			return d
		}
		return 0
	}))
}

// tornSeeker cannot be rewound.
type tornSeeker struct {
	*strings.Reader
	seeks int
}

func (s *tornSeeker) Seek(offset int64, whence int) (int64, error) {
	if s.seeks++; s.seeks > 3 {
		return 0, errDisk
	}
	return s.Reader.Seek(offset, whence)
}

// The first send was posted, but becomes visible only after the search for it. Whatever
// keeps the second send from being made, the error does not say that nothing was posted.
func TestSendTextConfirmed_RefusalAfterAnUnknownOutcomeIsDoubt(t *testing.T) {
	t.Parallel()
	hourly := func() chatstest.Fault { return chatstest.RateLimitedHourly(time.Now().Add(50 * time.Minute)) }
	refuse := func(code int) func() chatstest.Fault {
		return func() chatstest.Fault { return chatstest.Status(code, envelope) }
	}
	for name, tt := range map[string]struct {
		second func() chatstest.Fault // of the second send
		stop   string                 // what keeps it from being made
		want   error
		status int
	}{
		"400":        {second: refuse(400), status: 400},
		"401":        {second: refuse(401), want: chats.ErrUnauthorized, status: 401},
		"403":        {second: refuse(403), want: chats.ErrForbidden, status: 403},
		"hour ends":  {second: hourly, want: chats.ErrRateLimited, status: 420},
		"context":    {stop: "context", want: context.Canceled},
		"limiter":    {stop: "limiter", want: errLimiter},
		"credential": {stop: "credential", want: errDisk},
		"before":     {stop: "before", want: errDisk},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				stops := func(what string) bool { return tt.stop == what && time.Since(began) >= chats.SearchTime }
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				market := shownAfter(time.Minute)
				reads := 0 // the last one of the search is paced, too
				limiter := &countingLimiter{wait: func(context.Context) error {
					if stops("limiter") || stops("context") {
						if reads++; reads == 2 && tt.stop == "context" {
							cancel()
						} else if reads == 2 {
							return errLimiter
						}
					}
					return nil
				}}
				keys := 0
				credential := chats.APIKeySource(func(context.Context) (string, error) {
					if stops("credential") {
						if keys++; keys == 2 {
							return "", errDisk
						}
					}
					return market.Key(), nil
				})
				client, err := chats.New(market.Business(), credential, withContract(t, market.Transport()), chats.WithLimiter(limiter))
				require.NoError(t, err)
				chat := market.AddChat(chats.Chat{})
				last := market.CustomerSays(chat, "?")
				faults := []chatstest.Fault{chatstest.DropAfter()}
				if tt.second != nil {
					faults = append(faults, tt.second())
				}
				market.Fail(chats.OpSendMessageToChat, faults...)
				options := []chats.ConfirmOption{chats.ConfirmAfter(last)}
				if tt.stop == "before" {
					options = append(options, chats.ConfirmBefore(func(context.Context, []chats.MessageID) error {
						if stops("before") {
							return errDisk
						}
						return nil
					}))
				}
				_, err = client.SendTextConfirmed(ctx, chat, "Завтра", options...)
				assert.Equal(t, "ErrOutcomeUnknown", outcomeOf(t, err), err)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
				}
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, tt.status, e.StatusCode)
				assert.Equal(t, tt.want == chats.ErrRateLimited, e.Limit != nil)
				assert.Equal(t, market.Calls(chats.OpSendMessageToChat), e.Attempts)
				assert.Equal(t, began, e.SentAt)
			})
		})
	}
}

func TestSendFileConfirmed_RewindFailsAfterAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := shownAfter(time.Minute)
		f := newFixtureOn(t, market)
		f.market.Fail(chats.OpSendFileToChat, chatstest.DropAfter())
		_, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", &tornSeeker{Reader: strings.NewReader("content")})
		require.ErrorIs(t, err, errDisk)
		assert.Equal(t, "ErrOutcomeUnknown", outcomeOf(t, err), err)
	})
}

// The first send is shown while the second one waits for the quota, after the search.
func TestSendTextConfirmed_ReadsAgainBeforeASendThatWaited(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stored string
		reads  []chatstest.Fault // after the wait
		want   string
	}{
		"the same":                {"Завтра", nil, "Message"},
		"another":                 {"***", nil, "ErrOutcomeUnknown"},
		"the same, after a retry": {"Завтра", []chatstest.Fault{chatstest.Status(500, "")}, "Message"},
		"not readable":            {"Завтра", times(99, chatstest.Status(403, "")), "ErrOutcomeUnknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
					switch {
					case op == chats.OpSendMessageToChat && n == 1:
						time.AfterFunc(20*time.Second, func() { f.market.AddMessage(f.chat, chats.SenderPartner, tt.stored) })
						return chatstest.DropBefore()
					case op == chats.OpSendMessageToChat:
						f.market.Fail(chats.OpGetChatHistory, tt.reads...)
						return chatstest.RateLimitedHourly(time.Now().Add(15 * time.Second))
					}
					return chatstest.OK()
				})
				_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
				assert.Equal(t, tt.want, outcomeOf(t, err), err)
				assert.Equal(t, 1, f.posted())
				assert.Equal(t, 2, f.market.Calls(chats.OpSendMessageToChat))
			})
		})
	}
}

// A long history of which every tenth page fails is read with retries once; before the send
// only what is new is read.
func TestSendTextConfirmed_FlakyLongHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithLatency(120*time.Millisecond)))
		for n := range 1500 {
			time.Sleep(10 * time.Minute)
			f.market.AddMessage(f.chat, []chats.Sender{chats.SenderCustomer, chats.SenderPartner}[n%2], "Завтра")
		}
		f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
			if op == chats.OpGetChatHistory && n%10 == 0 {
				return chatstest.Status(500, "")
			}
			return chatstest.OK()
		})
		before := f.posted()
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.NoError(t, err)
		all := f.market.Messages(f.chat)
		assert.Equal(t, all[len(all)-1].ID, message.ID)
		assert.Equal(t, before+1, f.posted())
		assert.Less(t, f.market.Calls(chats.OpGetChatHistory), 50)
	})
}

// A long history that cannot be read without retries is not read for ever.
func TestSendTextConfirmed_GivesUpOnAFlakyHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithLatency(120*time.Millisecond)))
		for range 1500 {
			f.market.CustomerSays(f.chat, "?") // all of today
		}
		f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
			if op == chats.OpGetChatHistory && n%7 == 0 {
				return chatstest.Status(500, "")
			}
			return chatstest.OK()
		})
		began := time.Now()
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.ErrorIs(t, err, chats.ErrServer)
		assert.Equal(t, "error", outcomeOf(t, err))
		assert.Zero(t, f.posted())
		assert.Less(t, f.market.Calls(chats.OpGetChatHistory), 200)
		assert.Greater(t, time.Since(began), 15*time.Second, "with a backoff")
	})
}

// A proxy sends a page once more, which has a message without a readable ID: there are as many
// of those as later, when the one that was sent has become another.
func TestSendTextConfirmed_UnreadableMessageThatCameTwiceHidesNoOther(t *testing.T) {
	t.Parallel()
	for replayed := 2; replayed <= 6; replayed++ {
		synctest.Test(t, func(t *testing.T) {
			f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
				if item["sender"] == "PARTNER" {
					delete(item, "messageId")
				}
			})))
			f.market.AddMessage(f.chat, chats.SenderPartner, "Здравствуйте")
			for range 250 {
				f.market.CustomerSays(f.chat, "Вопрос")
			}
			f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
				switch {
				case op == chats.OpSendMessageToChat:
					return chatstest.DropAfter()
				case n == replayed:
					return chatstest.Replay()
				}
				return chatstest.OK()
			})
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			require.ErrorIs(t, err, chats.ErrAmbiguous)
			assert.Equal(t, 2, f.posted(), "replayed: %d", replayed)
		})
	}
}

// The history does not show the message of the SendText before the confirmed send is made.
func TestSendTextConfirmed_AfterASendTextOfTheSameText(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{"accepted": chatstest.OK(), "lost": chatstest.DropBefore(), "response lost": chatstest.DropAfter()} {
		for _, lag := range []time.Duration{0, 3 * time.Second, 15 * time.Second} {
			for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
				synctest.Test(t, func(t *testing.T) {
					market := chatstest.NewMarket(chatstest.WithHistoryLag(lag))
					f := newFixtureOn(t, market, chats.WithHTTPClient(&http.Client{Transport: headerRewriter{market.Transport(), func(h http.Header) {
						h.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
					}}}))
					f.market.AddMessage(f.chat, chats.SenderPartner, "ok")
					time.Sleep(time.Minute)
					require.NoError(t, f.client.SendText(t.Context(), f.chat, "ok"))
					f.market.Fail(chats.OpSendMessageToChat, fault)
					began := time.Now()
					message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "ok")
					require.NoError(t, err, name)
					assert.Equal(t, 3, f.posted(), "%s, %s, %s", name, lag, skew)
					assert.Equal(t, f.market.Messages(f.chat)[3].ID, message.ID)
					if name == "accepted" && lag == 0 && skew == 0 {
						assert.Zero(t, time.Since(began), "nothing to wait for")
					}
				})
			}
		}
	}
}

// Under WithOneSend, a call whose send is in doubt reads the history once and returns.
func TestSendTextConfirmed_WithOneSendLeavesTheSearchToTheCaller(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   chatstest.Fault
		lag     time.Duration
		history chatstest.Fault
		found   bool
		sends   int
		err     error
		text    string
	}{
		"shown at once":      {fault: chatstest.DropAfter(), found: true},
		"shown later":        {fault: chatstest.DropAfter(), lag: time.Second, err: chats.ErrOutcomeUnknown, text: "not found"},
		"not processed":      {fault: chatstest.Status(500, ""), err: chats.ErrServer, text: "500"},
		"history refused":    {fault: chatstest.DropAfter(), history: chatstest.Status(403, ""), err: chats.ErrOutcomeUnknown, text: "403"},
		"no connection":      {fault: chatstest.Refused(), found: true, sends: 2},
		"accepted, but late": {lag: time.Second, found: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return tt.lag })))
				f.market.Fail(chats.OpSendMessageToChat, tt.fault)
				f.market.Fail(chats.OpGetChatHistory, chatstest.OK(), tt.history)
				began := time.Now()
				message, err := f.client.SendTextConfirmed(sends.WithOneSend[chats.MessageID](t.Context(), nil), f.chat, "Завтра")
				assert.Equal(t, max(tt.sends, 1), f.market.Calls(chats.OpSendMessageToChat))
				if name == "shown at once" {
					assert.Equal(t, 2, f.market.Calls(chats.OpGetChatHistory), "before and after the send")
				}
				if tt.found {
					require.NoError(t, err)
					assert.Equal(t, "Завтра", message.Text)
					return
				}
				require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
				require.ErrorIs(t, err, tt.err)
				require.ErrorContains(t, err, tt.text)
				assert.Zero(t, time.Since(began))
			})
		})
	}
}

// A server may add what is sent to the shop's previous message instead of showing a new one. That
// message does not count as known any more, even if this client has confirmed it.
func TestConfirmed_AddedToAnEarlierMessageIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for fate, isLost := range lostResponses {
		synctest.Test(t, func(t *testing.T) {
			merged := false
			f := newFixtureOn(t, chatstest.NewMarket(
				chatstest.WithVisibility(func(m chats.Message) time.Duration {
					if m.Text == "Завтра" {
						return 24 * time.Hour
					}
					return 0
				}),
				chatstest.WithOddItems(func(item map[string]any) {
					if merged && item["message"] == "Минуту" {
						item["message"] = "Минуту\nЗавтра"
					}
				}),
			))
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Минуту")
			require.NoError(t, err)
			f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
				if op != chats.OpSendMessageToChat {
					return chatstest.OK()
				}
				if merged = true; isLost(n - 1) { // the first send was of another text
					return chatstest.DropAfter()
				}
				return chatstest.OK()
			})
			_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			want := map[bool]error{false: chats.ErrUnconfirmed, true: chats.ErrOutcomeUnknown}[fate != "kept"]
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, err, chats.ErrAmbiguous)
			assert.Equal(t, 2, f.posted(), fate)
		})
	}
}

// The history's quota runs out between two sends of a call. The error is about the send, whose outcome
// is unknown, and says when the next call can read the history.
func TestConfirmed_QuotaOfTheHistoryEndsBetweenTwoSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxDelay: time.Second}))
		until := time.Now().Add(50 * time.Minute)
		f.market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			switch passed := time.Since(until.Add(-50 * time.Minute)); {
			case op == chats.OpSendMessageToChat:
				return chatstest.DropBefore()
			case op == chats.OpGetChatHistory && passed >= chats.SearchTime:
				return chatstest.Rewrite(func(r *chatstest.Response) {
					r.Header.Set("X-RateLimit-Resource-Remaining", "0")
					r.Header.Set("X-RateLimit-Resource-Until", until.UTC().Format(http.TimeFormat))
				})
			}
			return chatstest.OK()
		})
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		require.ErrorIs(t, err, chats.ErrRateLimited)
		var failed *chats.Error
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, chats.OpSendMessageToChat, failed.Operation)
		assert.Equal(t, 1, failed.Attempts)
		assert.True(t, until.Equal(failed.Limit.Until))
	})
}

// A history that lacks a message which it showed before the send may be that of another chat. It does
// not show that nothing was posted, however often it is read.
func TestSendTextConfirmed_HistoryThatLacksAMessageIsDoubt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lacks func(since time.Duration) bool // a reading of the history this long after the send
		send  chatstest.Fault
		err   error
		posts int
	}{
		"for a while":          {lacks: func(since time.Duration) bool { return since < 5*time.Second }, send: chatstest.DropBefore(), posts: 1},
		"after the send":       {lacks: func(time.Duration) bool { return true }, send: chatstest.DropBefore(), err: chats.ErrOutcomeUnknown},
		"after an accepted":    {lacks: func(time.Duration) bool { return true }, send: chatstest.Malformed(`{"status":"OK"}`), err: chats.ErrUnconfirmed, posts: 1},
		"although it was sent": {lacks: func(time.Duration) bool { return true }, send: chatstest.DropAfter(), err: chats.ErrOutcomeUnknown, posts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.market.AddMessage(f.chat, chats.SenderPartner, "Здравствуйте!")
				missing := f.market.AddMessage(f.chat, chats.SenderPartner, "Сейчас узнаю.")
				time.Sleep(time.Minute)
				sentAt := time.Time{}
				f.market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					switch {
					case op == chats.OpSendMessageToChat && sentAt.IsZero():
						sentAt = time.Now()
						return c.send
					case op == chats.OpGetChatHistory && !sentAt.IsZero() && c.lacks(time.Since(sentAt)):
						return chatstest.Rewrite(func(r *chatstest.Response) { r.Body = historyBelow(t, r.Body, missing) })
					}
					return chatstest.OK()
				})
				_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
				if c.err == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, c.err)
					require.ErrorIs(t, err, chats.ErrAmbiguous)
				}
				assert.Equal(t, c.posts, len(f.market.Messages(f.chat))-3)
			})
		})
	}
}

// historyBelow returns the body of a history without the messages from the given one on.
func historyBelow(t *testing.T, body []byte, id chats.MessageID) []byte {
	t.Helper()
	var page struct {
		Status string         `json:"status"`
		Result map[string]any `json:"result"`
	}
	require.NoError(t, json.Unmarshal(body, &page))
	messages, ok := page.Result["messages"].([]any)
	require.True(t, ok)
	page.Result["messages"] = slices.DeleteFunc(messages, func(m any) bool {
		return m.(map[string]any)["messageId"].(float64) >= float64(id) //nolint:forcetypeassert // the fake's response
	})
	changed, err := json.Marshal(page)
	require.NoError(t, err)
	return changed
}
