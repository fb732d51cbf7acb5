package chats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// logRecords returns the records that a JSON handler wrote.
func logRecords(t *testing.T, log *bytes.Buffer) (records []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(log.Bytes()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal(line, &record))
		records = append(records, record)
	}
	return records
}

func withLogBuffer(log *bytes.Buffer, level slog.Level) chats.Option {
	return chats.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level})))
}

func TestLogger_LogsOnlyAllowedAttributes(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				f := newFixture(t, withLogBuffer(&log, slog.LevelDebug))
				f.market.Fail(op, chatstest.Refused(), chatstest.RateLimitedParallel(), chatstest.SlowHeaders(3*time.Second))
				require.NoError(t, f.call(t.Context(), op))
				records := logRecords(t, &log)
				require.Len(t, records, 3, "one record for each attempt")
				withoutResponse := []string{"attempt", "business", "duration", "level", "msg", "operation", "time"}
				withResponse := append(slices.Clone(withoutResponse), "remaining", "status", "traceparent")
				slices.Sort(withResponse)
				parallel := slices.DeleteFunc(slices.Clone(withResponse), func(key string) bool { return key == "remaining" }) // a parallel 420 has no remaining header
				for i, record := range records {
					assert.Equal(t, [][]string{withoutResponse, parallel, withResponse}[i], slices.Sorted(maps.Keys(record)))
					assert.Equal(t, "DEBUG", record["level"])
					assert.Equal(t, "chats: attempt", record["msg"])
					assert.Equal(t, string(op), record["operation"])
					assert.EqualValues(t, f.market.Business(), record["business"])
					assert.EqualValues(t, i+1, record["attempt"])
				}
				assert.EqualValues(t, 420, records[1]["status"])
				last := records[2]
				assert.EqualValues(t, 200, last["status"])
				assert.EqualValues(t, 3*time.Second, last["duration"])
				assert.Regexp(t, "^00-[0-9a-f]{32}", last["traceparent"])
				limit, _ := f.client.Limit(op)
				assert.EqualValues(t, limit.Remaining, last["remaining"])
				assert.NotContains(t, log.String(), "Завтра")
				assert.NotContains(t, log.String(), "Когда")
				assert.NotContains(t, log.String(), "photo.jpg")
			})
		})
	}
}

func TestLogger_LogsNothingAboveDebug(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := newFixture(t, noRetry, withLogBuffer(&log, slog.LevelInfo))
	f.market.Fail(chats.OpGetChat, chatstest.Status(500, envelope))
	require.Error(t, f.call(t.Context(), chats.OpGetChat))
	assert.Empty(t, log.String())
}

func TestHook_IsCalledOncePerAttemptWithCallContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []chats.Attempt
		f := newFixture(t, chats.WithHook(func(ctx context.Context, attempt chats.Attempt) {
			assert.Equal(t, "of the call", ctx.Value(contextKey{}))
			seen = append(seen, attempt)
		}))
		ctx := context.WithValue(t.Context(), contextKey{}, "of the call")
		for _, op := range chats.Operations() {
			seen = nil
			f.market.Fail(op, chatstest.RateLimitedHourly(time.Now().Add(5*time.Second)), chatstest.RateLimitedHourly(time.Now().Add(late)))
			require.ErrorIs(t, f.call(ctx, op), chats.ErrRateLimited)
			require.Len(t, seen, 2)
			assert.Equal(t, []int{1, 2}, []int{seen[0].Number, seen[1].Number})
			assert.Zero(t, seen[0].Wait)
			assert.Greater(t, seen[1].Wait, 4*time.Second, "the call waited for the reset")
			for _, attempt := range seen {
				assert.Equal(t, f.market.Business(), attempt.Business)
				assert.Equal(t, op, attempt.Operation)
				assert.Equal(t, 420, attempt.StatusCode)
				assert.Equal(t, chats.LimitHourly, attempt.Limit.Kind)
				require.ErrorIs(t, attempt.Err, chats.ErrRateLimited)
			}
			require.ErrorIs(t, f.call(ctx, op), chats.ErrRateLimited)
			assert.Len(t, seen, 2, "a local refusal is not an attempt")
		}
		seen = nil
		require.ErrorIs(t, f.client.SendText(ctx, 0, "Да"), chats.ErrInvalidArgument)
		assert.Empty(t, seen)
	})
}

func TestHook_SeesEveryAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []chats.Attempt
		f := newFixture(t, chats.WithHook(func(_ context.Context, attempt chats.Attempt) { seen = append(seen, attempt) }))
		f.market.Fail(chats.OpGetChat, chatstest.Refused(), chatstest.HTML(502), chatstest.SlowHeaders(2*time.Second))
		require.NoError(t, f.call(t.Context(), chats.OpGetChat))
		require.Len(t, seen, 3)
		for i, attempt := range seen {
			assert.Equal(t, chats.OpGetChat, attempt.Operation)
			assert.Equal(t, i+1, attempt.Number)
		}
		assert.Zero(t, seen[0].StatusCode)
		require.Error(t, seen[0].Err)
		assert.Equal(t, 502, seen[1].StatusCode)
		require.ErrorIs(t, seen[1].Err, chats.ErrServer)
		assert.Equal(t, 200, seen[2].StatusCode)
		require.NoError(t, seen[2].Err)
		assert.Equal(t, 2*time.Second, seen[2].Duration)
		assert.Equal(t, 1000, seen[2].Limit.Max)

		// A 2xx that cannot be read is a failed attempt, too.
		f.market.Fail(chats.OpGetChat, chatstest.Malformed("<html>"))
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrProtocol)
		require.Len(t, seen, 4)
		require.ErrorIs(t, seen[3].Err, chats.ErrProtocol)
	})
}

func TestHook_SeveralAreCalledInOrder(t *testing.T) {
	t.Parallel()
	var seen []string
	hook := func(name string) chats.Option {
		return chats.WithHook(func(_ context.Context, attempt chats.Attempt) {
			seen = append(seen, name+" "+string(attempt.Operation))
		})
	}
	f := newFixture(t, hook("first"), hook("second"), hook("third"))
	require.NoError(t, f.call(t.Context(), chats.OpGetChat))
	assert.Equal(t, []string{"first getChat", "second getChat", "third getChat"}, seen)
}

// A confirmed send reads the history in the slot of the send. A call that a hook makes with the
// context it received uses that slot, too.
func TestHook_MayCallTheClientWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var client *chats.Client
		calls := 0
		client = newClient(t, f.market, chats.WithMaxParallel(1), chats.WithHook(func(ctx context.Context, attempt chats.Attempt) {
			if attempt.Operation == chats.OpGetChat {
				return
			}
			calls++
			_, err := client.Chat(ctx, f.chat)
			assert.NoError(t, err)
		}))
		_, err := client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.NoError(t, err)
		assert.Equal(t, 3, calls)
	})
}
