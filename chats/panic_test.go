package chats_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// callbacks are the options through which code of the caller runs within a call.
// fail is called by the n-th call of each.
func callbacks(market *chatstest.Market, n int, fail func()) map[string][]chats.Option {
	count := 0
	act := func() {
		if count++; count == n {
			fail()
		}
	}
	return map[string][]chats.Option{
		"hook":    {chats.WithHook(func(context.Context, chats.Attempt) { act() })},
		"limiter": {chats.WithLimiter(&countingLimiter{wait: func(context.Context) error { act(); return nil }})},
		"transport": {chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			act()
			return market.Transport().RoundTrip(req)
		})})},
		"body": {chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := market.Transport().RoundTrip(req)
			if err == nil {
				body := resp.Body
				resp.Body = struct {
					readerFunc
					closer
				}{func(p []byte) (int, error) { act(); return body.Read(p) }, body.Close}
			}
			return resp, err
		})})},
		"source": nil, // see clientWith
	}
}

type closer func() error

func (c closer) Close() error { return c() }

// clientWith returns a client with one slot whose named callback fails at its n-th call.
func clientWith(t *testing.T, market *chatstest.Market, name string, n int, fail func()) *chats.Client {
	t.Helper()
	key, count := chats.APIKey(market.Key()), 0
	if name == "source" {
		key = chats.APIKeySource(func(context.Context) (string, error) {
			if count++; count == n {
				fail()
			}
			return market.Key(), nil
		})
	}
	options := []chats.Option{chats.WithMaxParallel(1), chats.WithHTTPClient(&http.Client{Transport: market.Transport()})}
	client, err := chats.New(market.Business(), key, append(options, callbacks(market, n, fail)[name]...)...)
	require.NoError(t, err)
	return client
}

func callbackNames() []string { return []string{"hook", "limiter", "transport", "body", "source"} }

// recovered returns what f panicked with.
func recovered(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func drain[T any](sequence iter.Seq2[T, error]) func() {
	return func() {
		for range sequence { //nolint:errcheck // the panic is what is tested
			continue
		}
	}
}

func TestPanic_OfCallbackReachesTheCallerOfASequence(t *testing.T) {
	t.Parallel()
	for _, name := range callbackNames() {
		for _, n := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s, call %d", name, n), func(t *testing.T) {
				t.Parallel()
				market := chatstest.NewMarket()
				chat := addChatWithMessages(market, 350)
				for range 70 {
					market.AddChat(chats.Chat{})
				}
				for listing, read := range map[string]func(*chats.Client) func(){
					"History": func(c *chats.Client) func() { return drain(c.History(t.Context(), chat, 0)) },
					"Chats":   func(c *chats.Client) func() { return drain(c.Chats(t.Context(), chats.Filter{})) },
				} {
					client := clientWith(t, market, name, n, func() { panic(errDisk) })
					value := recovered(read(client))
					err, isError := value.(error)
					require.True(t, isError, "%s: %v", listing, value)
					require.ErrorIs(t, err, errDisk)
					assert.Contains(t, err.Error(), "panic_test.go", "the stack of the origin")
					assert.Nil(t, recovered(read(client)), "no slot or lock is lost")
				}
			})
		}
	}
}

// The caller has stopped, but the panic is not swallowed.
func TestPanic_InALookAheadThatIsNotNeededReachesTheCaller(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	chat := addChatWithMessages(market, 350)
	inFlight := make(chan struct{})
	client := clientWith(t, market, "limiter", 2, func() {
		close(inFlight)
		panic("a metric is registered twice")
	})
	value := recovered(func() {
		for range client.History(t.Context(), chat, 0) { //nolint:errcheck // the panic is what is tested
			<-inFlight
			break
		}
	})
	assert.Contains(t, fmt.Sprint(value), "a metric is registered twice")
}

func TestPanic_OfCallbackReachesTheCallerAndReleasesEverything(t *testing.T) {
	t.Parallel()
	for _, name := range callbackNames() {
		for _, op := range chats.Operations() {
			market := chatstest.NewMarket()
			f := newFixtureOn(t, market)
			f.client = clientWith(t, market, name, 1, func() { panic("boom") })
			assert.Equal(t, "boom", recovered(func() { _ = f.call(t.Context(), op) }), "%s: %s", name, op)
			require.NoError(t, f.call(t.Context(), op), "%s: %s", name, op)
		}
	}
}

// runtime.Goexit, for example of a t.FailNow, cannot reach another goroutine.
func TestGoexit_OfCallbackInASequenceIsError(t *testing.T) {
	t.Parallel()
	for _, name := range callbackNames() {
		market := chatstest.NewMarket()
		chat := addChatWithMessages(market, 250)
		client := clientWith(t, market, name, 2, runtime.Goexit)
		_, err := collect(t, client.History(t.Context(), chat, 0))
		require.ErrorContains(t, err, "ended the goroutine", name)
		require.NoError(t, client.SendText(t.Context(), chat, "Да"))
	}
}

// The caller's reader is not read after a panic of the transport.
// Otherwise the context, and its goroutine if it has one, would last as long as the caller's.
func TestDownload_PanicOfCallbackEndsItsContext(t *testing.T) {
	t.Parallel()
	var done <-chan struct{}
	market := chatstest.NewMarket()
	client := market.Client(chats.WithAttachmentAuth(func(ctx context.Context, _ *http.Request) error {
		done = ctx.Done()
		panic("boom")
	}))
	assert.PanicsWithValue(t, "boom", func() {
		_, _ = client.Download(t.Context(), chats.File{URL: "https://files.example/photo.jpg"})
	})
	select {
	case <-done:
	default:
		t.Error("the context of the download has not ended")
	}
}

func TestSendFile_PanicOfTransportEndsTheUpload(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	var late *http.Request
	client := market.Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		late = req
		panic("boom")
	})}))
	content := strings.NewReader("content")
	assert.Equal(t, "boom", recovered(func() { _ = client.SendFile(t.Context(), 1, "a.txt", content) }))
	_, err := late.Body.Read(make([]byte, 1<<10))
	require.Error(t, err)
	assert.Equal(t, 7, content.Len())
}

// A send whose callback has panicked may have been posted, and may become visible late.
func TestPanic_OfCallbackInASendIsNoReasonToPostTwice(t *testing.T) {
	t.Parallel()
	for _, name := range callbackNames() {
		for n := range 5 { // in SendText, or before, in and after the send of SendTextConfirmed
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return 5 * time.Second }))
				chat := addChatWithMessages(market, 1)
				last, again := market.Messages(chat)[0].ID, false
				client := clientWith(t, market, name, max(n, 1), func() {
					if !again {
						panic("boom")
					}
				})
				_ = recovered(func() {
					if n == 0 {
						_ = client.SendText(t.Context(), chat, "Завтра")
					} else {
						_, _ = client.SendTextConfirmed(t.Context(), chat, "Завтра", chats.ConfirmAfter(last))
					}
				})
				again = true
				message, err := client.SendTextConfirmed(t.Context(), chat, "Завтра", chats.ConfirmAfter(last))
				require.NoError(t, err, "%s: %d", name, n)
				messages := market.Messages(chat)
				require.Len(t, messages, 2, "%s: %d", name, n)
				assert.Equal(t, messages[1].ID, message.ID)
			})
		}
	}
}
