package chats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/gen"
)

// timeouts are HTTP clients that give up by themselves, each in another way.
func timeouts(market *chatstest.Market) map[string]*http.Client {
	fail := func(err error) *http.Client {
		return &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, err })}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	}
	silent := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		return near, nil
	}
	body := roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := market.Transport().RoundTrip(req)
		if err == nil {
			resp.Body = struct {
				io.Reader
				io.Closer
			}{readerFunc(func([]byte) (int, error) { return 0, context.DeadlineExceeded }), resp.Body}
		}
		return resp, err
	})
	return map[string]*http.Client{
		"client's timeout":        {Transport: market.Transport(), Timeout: time.Second},
		"header timeout":          {Transport: &http.Transport{DialContext: silent, ResponseHeaderTimeout: time.Second}},
		"dial timeout":            {Transport: &http.Transport{DialContext: dial}},
		"TLS handshake timeout":   {Transport: &http.Transport{DialContext: silent, TLSHandshakeTimeout: time.Second}},
		"transport's deadline":    fail(fmt.Errorf("pool: %w", context.DeadlineExceeded)),
		"transport's own context": fail(fmt.Errorf("pool: %w", context.Canceled)),
		"both":                    fail(errors.Join(context.Canceled, context.DeadlineExceeded, errDisk)),
		"while reading the body":  {Transport: body},
	}
}

func TestContext_OnlyTheCallersOwnMatches(t *testing.T) {
	t.Parallel()
	for name := range timeouts(chatstest.NewMarket()) {
		for _, op := range []chats.Operation{chats.OpGetChat, chats.OpSendMessageToChat} {
			t.Run(name+", "+string(op), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					market := chatstest.NewMarket()
					market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.SlowHeaders(time.Minute) })
					if name == "while reading the body" {
						market.FailFunc(nil)
					}
					client := timeouts(market)[name]
					var attemptErr error
					f := newFixtureOn(t, market, noRetry, chats.WithHTTPClient(client), chats.WithBaseURL("https://127.0.0.1"),
						chats.WithHook(func(_ context.Context, attempt chats.Attempt) { attemptErr = attempt.Err }))
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					err := f.call(ctx, op)
					client.CloseIdleConnections()
					for _, err := range []error{err, attemptErr} {
						require.Error(t, err)
						require.NotErrorIs(t, err, context.DeadlineExceeded)
						require.NotErrorIs(t, err, context.Canceled)
					}
					if name == "both" {
						require.ErrorIs(t, err, errDisk, "other causes still match")
					}
				})
			})
		}
	}
}

// A limiter or a credential source has timeouts of its own, too.
func TestContext_TimeoutsOfLimiterAndSourceAreNotTheCallers(t *testing.T) {
	t.Parallel()
	own := fmt.Errorf("redis: %w", fmt.Errorf("%w, %w", context.DeadlineExceeded, errLimiter))
	limiter := &countingLimiter{wait: func(context.Context) error { return own }}
	source := chats.APIKeySource(func(context.Context) (string, error) { return "", own })
	for _, option := range []chats.Option{chats.WithLimiter(limiter), chats.WithMaxParallel(1)} {
		client, err := chats.New(1, source, option, chats.WithHTTPClient(forbidRequests(t)))
		require.NoError(t, err)
		_, err = client.Chat(t.Context(), 1)
		require.ErrorIs(t, err, errLimiter)
		require.ErrorContains(t, err, "redis: context deadline exceeded")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		_, err = collect(t, client.History(t.Context(), 1, 0))
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
}

// A source may use a client of its own, whose error is about the deadline of another context.
func TestContext_DeadlineOfAnotherClientsCallIsNotTheCallers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.Fail(chats.OpGetChat, retryLater(503, "20"))
	short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	own := f.call(short, chats.OpGetChat)
	require.ErrorIs(t, own, context.DeadlineExceeded)
	client, err := chats.New(1, chats.APIKeySource(func(context.Context) (string, error) { return "", own }), chats.WithHTTPClient(forbidRequests(t)))
	require.NoError(t, err)
	_, err = client.Chat(t.Context(), 1)
	require.ErrorIs(t, err, chats.ErrServer)
	require.ErrorContains(t, err, own.Error())
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

// Whatever the transport returns, the end of the caller's context matches, and with the
// caller's own reason only.
func TestContext_EndOfTheCallersMatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, transportErr := range []error{os.ErrDeadlineExceeded, io.EOF, context.Canceled, context.DeadlineExceeded} {
			client, err := chats.New(1, chats.APIKey("key"), chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, transportErr
			})}))
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = client.Chat(ctx, 1)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, context.Canceled)

			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			err = client.SendText(ctx, 1, "Да")
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		}
	})
}

// pipedBody returns a body that a goroutine writes, as users write forms, and a channel
// that is closed when the goroutine has ended.
func pipedBody() (body io.Reader, ended <-chan struct{}) {
	reader, writer := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(writer, strings.NewReader(strings.Repeat("--x\r\n", 1<<16)))
		_ = writer.Close()
	}()
	return reader, done
}

func TestAPI_ClosesTheBodyWhateverHappens(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	failing := chats.APIKeySource(func(context.Context) (string, error) { return "", errDisk })
	tests := []struct {
		name    string
		ctx     context.Context //nolint:containedctx // the input of a case
		source  chats.Credential
		options []chats.Option
		faults  []chatstest.Fault
	}{
		{"context done", ended, chats.APIKey("key"), nil, nil},
		{"quota exhausted", t.Context(), chats.APIKey("key"), nil, []chatstest.Fault{chatstest.RateLimitedHourly(time.Now().Add(time.Hour))}},
		{"no key", t.Context(), failing, nil, nil},
		{"limiter", t.Context(), chats.APIKey("key"), []chats.Option{chats.WithLimiter(&countingLimiter{wait: func(context.Context) error { return errLimiter }})}, nil},
		{"transport that never reads", t.Context(), chats.APIKey("key"), []chats.Option{chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, errDisk
		})})}, nil},
		{"panic", t.Context(), chats.APIKey("key"), []chats.Option{chats.WithLimiter(&countingLimiter{wait: func(context.Context) error { panic("in the limiter") }})}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			client, err := chats.New(1, tt.source, append([]chats.Option{chats.WithHTTPClient(&http.Client{Transport: market.Transport()})}, tt.options...)...)
			require.NoError(t, err)
			market.Fail(chats.OpSendFileToChat, tt.faults...)
			for range tt.faults {
				_ = client.SendFile(t.Context(), 1, "a.txt", strings.NewReader("content"))
			}
			body, done := pipedBody()
			func() {
				defer func() { _ = recover() }()
				_, err = client.API().SendFileToChatWithBodyWithResponse(tt.ctx, 1, sendFileParams(1), "multipart/form-data; boundary=x", body)
				require.Error(t, err)
			}()
			<-done // the test binary's timeout otherwise
		})
	}
}

func TestAPI_ClosesTheBodyIfAnEditorFails(t *testing.T) {
	t.Parallel()
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(forbidRequests(t)))
	ctx, api, form := t.Context(), client.API(), "multipart/form-data; boundary=x"
	for _, fail := range []func() error{func() error { return errDisk }, func() error { panic(errDisk) }} {
		editor := func(context.Context, *http.Request) error { return fail() }
		for op, call := range map[chats.Operation]func(io.Reader) error{
			chats.OpGetChats: func(body io.Reader) error {
				_, err := api.GetChatsWithBodyWithResponse(ctx, 1, nil, "application/json", body, editor)
				return err
			},
			chats.OpGetChatHistory: func(body io.Reader) error {
				_, err := api.GetChatHistoryWithBodyWithResponse(ctx, 1, &gen.GetChatHistoryParams{ChatID: 1}, "application/json", body, editor)
				return err
			},
			chats.OpCreateChat: func(body io.Reader) error {
				_, err := api.CreateChatWithBodyWithResponse(ctx, 1, "application/json", body, editor)
				return err
			},
			chats.OpSendMessageToChat: func(body io.Reader) error {
				_, err := api.SendMessageToChatWithBodyWithResponse(ctx, 1, &gen.SendMessageToChatParams{ChatID: 1}, "application/json", body, editor)
				return err
			},
			chats.OpSendFileToChat: func(body io.Reader) error {
				_, err := api.SendFileToChatWithBodyWithResponse(ctx, 1, sendFileParams(1), form, body, editor)
				return err
			},
		} {
			body, done := pipedBody()
			var err error
			if value := recovered(func() { err = call(body) }); value != nil {
				err, _ = value.(error)
			}
			require.ErrorIs(t, err, errDisk, op)
			<-done // the test binary's timeout otherwise
		}
	}
}

func TestAPI_ClosesTheBodyOfARefusedRequest(t *testing.T) {
	t.Parallel()
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(forbidRequests(t)))
	body, done := pipedBody()
	_, err := client.API().SendFileToChatWithBodyWithResponse(t.Context(), 1, sendFileParams(1), "multipart/form-data; boundary=x", body,
		func(_ context.Context, req *http.Request) error { req.URL.Host = "evil.example"; return nil })
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	<-done
}

func TestDownload_OnlyTheCallersContextErrorsMatch(t *testing.T) {
	t.Parallel()
	for name := range timeouts(chatstest.NewMarket()) {
		synctest.Test(t, func(t *testing.T) {
			market := chatstest.NewMarket()
			market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.SlowHeaders(time.Minute) })
			client := timeouts(market)[name]
			own := market.Client(chats.WithHTTPClient(client))
			if name == "while reading the body" {
				market.FailFunc(nil)
			}
			attachment, err := own.Download(t.Context(), market.AddFile("a.txt", []byte("content")))
			if err == nil {
				_, err = io.Copy(io.Discard, attachment)
				require.NoError(t, attachment.Close())
			}
			client.CloseIdleConnections()
			var e *chats.Error
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, own.Business(), e.Business)
			require.NotErrorIs(t, err, context.DeadlineExceeded, name)
			require.NotErrorIs(t, err, context.Canceled, name)
		})
	}
}

// net/http returns the cause of a context that has ended.
func TestDownload_EndOfTheCallersContextMatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		client, file := market.Client(), market.AddFile("a.txt", []byte("content"))
		var e *chats.Error
		for name, fault := range map[string]chatstest.Fault{"before": chatstest.OK(), "headers": chatstest.SlowHeaders(time.Minute), "body": chatstest.SlowBody(time.Minute)} {
			ctx, cancel := context.WithCancelCause(t.Context())
			if name == "before" {
				cancel(errDisk)
			} else {
				market.Fail(chats.OpDownload, fault)
				time.AfterFunc(time.Second, func() { cancel(errDisk) })
			}
			before := market.Calls(chats.OpDownload)
			attachment, err := client.Download(ctx, file)
			if err == nil {
				_, err = io.Copy(io.Discard, attachment)
				require.NoError(t, attachment.Close())
			}
			require.ErrorIs(t, err, context.Canceled, name)
			require.ErrorAs(t, err, &e, name)
			assert.Equal(t, market.Calls(chats.OpDownload)-before, e.Attempts, name)
			assert.Equal(t, name != "before", errors.Is(err, errDisk))
		}
	})
}

// The context may end while the body of a request is opened.
func TestAPI_ClosesABodyThatWasOpenedForNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	closed := false
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(forbidRequests(t)))
	_, err := client.API().GetChatsWithBodyWithResponse(ctx, 1234567, nil, "application/json", strings.NewReader("{}"),
		func(_ context.Context, req *http.Request) error {
			req.GetBody = func() (io.ReadCloser, error) {
				cancel()
				return struct {
					io.Reader
					closer
				}{strings.NewReader("{}"), func() error { closed = true; return nil }}, nil
			}
			return nil
		})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, closed)
}
