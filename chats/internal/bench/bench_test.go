package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ymchats/ymchats-go/chats"
)

const key = "ACMA:abcdefghijklmnopqrstuvwxyz0123456789ABCD:1a2b3c4d"

// newOurs returns a client with the default options.
func newOurs(tb testing.TB, business chats.BusinessID, address string) *chats.Client {
	tb.Helper()
	client, err := chats.New(business, chats.APIKey(key), chats.WithBaseURL(address))
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

func both(tb testing.TB) (*chats.Client, *baseline) {
	tb.Helper()
	return newOurs(tb, ours, market.HTTP), newBaseline(market.HTTP)
}

func BenchmarkHistoryPage(b *testing.B) { historyPage(b, rowPage, chatPlain).run(b) }

func BenchmarkHistoryPageChunked(b *testing.B) { historyPage(b, rowChunk, chatChunked).run(b) }

func historyPage(tb testing.TB, row string, chat int64) pair {
	tb.Helper()
	client, hand := both(tb)
	return pair{row: row, batch: 10, ours: func() error {
		page, err := client.HistoryPage(tb.Context(), chats.ChatID(chat), 0, chats.PageRequest{})
		return expect(pageSize, len(page.Items), err)
	}, baseline: func() error {
		page, err := hand.historyPage(tb.Context(), chat, "")
		if err != nil {
			return err
		}
		return expect(pageSize, len(page.Messages), nil)
	}}
}

func expect(want, got int, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("%d instead of %d", got, want)
	}
	return err
}

func BenchmarkChatsPage(b *testing.B) { chatsPagePair(b).run(b) }

func chatsPagePair(tb testing.TB) pair {
	tb.Helper()
	client, hand := both(tb)
	return pair{row: rowChats, batch: 20, ours: func() error {
		page, err := client.ChatsPage(tb.Context(), chats.Filter{}, chats.PageRequest{})
		return expect(chatsPage, len(page.Items), err)
	}, baseline: func() error {
		page, err := hand.chatsPage(tb.Context())
		if err != nil {
			return err
		}
		return expect(chatsPage, len(page.Chats), nil)
	}}
}

func BenchmarkSendText(b *testing.B) { sendTextPair(b).run(b) }

func sendTextPair(tb testing.TB) pair {
	tb.Helper()
	client, hand := both(tb)
	return pair{
		row: rowText, batch: 40,
		ours:     func() error { return client.SendText(tb.Context(), chatPlain, text) },
		baseline: func() error { return hand.sendText(tb.Context(), chatPlain, text) },
	}
}

func BenchmarkSendFile(b *testing.B) {
	p := sendFilePair(b)
	p.absolute = func(b *testing.B, ours, _ cost) {
		b.Helper()
		record(b, rowFile, "memory per call", ours.bytes/1024)
	}
	p.run(b)
}

func sendFilePair(tb testing.TB) pair {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "photo.jpg")
	if err := os.WriteFile(path, make([]byte, 5_000_000), 0o600); err != nil {
		tb.Fatal(err)
	}
	client, hand := both(tb)
	return pair{row: rowFile, batch: 4, ours: func() error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		return client.SendFile(tb.Context(), chatPlain, "photo.jpg", file)
	}, baseline: func() error { return hand.sendFile(tb.Context(), chatPlain, path) }}
}

// BenchmarkSlowConsumer reads 10,000 messages and processes each page for as long
// as the server takes to return one.
func BenchmarkSlowConsumer(b *testing.B) { slowConsumer(b).run(b) }

func slowConsumer(tb testing.TB) pair {
	tb.Helper()
	client, hand := both(tb)
	return pair{row: rowSlow, batch: 1, turns: 2, ours: func() error {
		n := 0
		for _, err := range client.History(tb.Context(), chatSlow, 0) {
			if err != nil {
				return err
			}
			if n++; n%pageSize == 0 {
				latency(pageLatency)
			}
		}
		return expect(slowMessages, n, nil)
	}, baseline: func() error {
		n, token := 0, ""
		for {
			page, err := hand.historyPage(tb.Context(), chatSlow, token)
			if err != nil {
				return err
			}
			n += len(page.Messages)
			latency(pageLatency)
			if token = page.Paging.NextPageToken; token == "" {
				return expect(slowMessages, n, nil)
			}
		}
	}}
}

// BenchmarkConnectionPerCall uses a server that closes every connection. The default
// client resumes its TLS sessions; the hand-written one starts new ones.
func BenchmarkConnectionPerCall(b *testing.B) {
	needTrust(b)
	connectionPerCall(b, rowTLS, ours, market.RSA).run(b)
}

// BenchmarkConnectionPerCallECDSA saves less: a full handshake is cheaper with an
// ECDSA certificate.
func BenchmarkConnectionPerCallECDSA(b *testing.B) {
	needTrust(b)
	connectionPerCall(b, rowECDSA, oursECDSA, market.ECDSA).run(b)
}

func needTrust(tb testing.TB) {
	tb.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		tb.Skip("SSL_CERT_FILE has no effect: the default client cannot trust the test's authorities")
	}
}

func connectionPerCall(tb testing.TB, row string, business chats.BusinessID, address string) pair {
	tb.Helper()
	client, hand := newOurs(tb, business, address), newBaseline(address)
	return pair{row: row, batch: 10, ours: func() error {
		_, err := client.Chat(tb.Context(), chatPlain)
		return err
	}, baseline: func() error {
		_, err := hand.chat(tb.Context(), chatPlain)
		return err
	}, absolute: func(b *testing.B, _, _ cost) {
		b.Helper()
		recordHandshakes(b, row, business)
	}}
}

// recordHandshakes records the share of full handshakes among all so far.
func recordHandshakes(b *testing.B, row string, business chats.BusinessID) {
	b.Helper()
	counts, err := handshakesSoFar(b.Context())
	must(b, err)
	full, resumed := float64(counts.Full[business]), float64(counts.Resumed[business])
	record(b, row, "full handshakes", 100*full/(full+resumed))
}

func handshakesSoFar(ctx context.Context) (counts handshakeCounts, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, market.HTTP+"/handshakes", nil)
	if err != nil {
		return counts, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return counts, err
	}
	defer func() { _ = resp.Body.Close() }()
	return counts, json.NewDecoder(resp.Body).Decode(&counts)
}

// BenchmarkLongHistory reads 1,000,000 messages, oldest first. The heap is that
// of the whole process, including garbage.
func BenchmarkLongHistory(b *testing.B) {
	client := newOurs(b, ours, market.HTTP)
	b.Run("heap", func(b *testing.B) {
		runtime.GC()
		for b.Loop() {
			record(b, rowLong, "peak heap", float64(peakOfLongHistory(b, client))/1e6)
		}
		reportMedians(b)
	})
}

func peakOfLongHistory(b *testing.B, client *chats.Client) (peak uint64) {
	b.Helper()
	n := 0
	for _, err := range client.History(b.Context(), chatLong, 0) {
		must(b, err)
		if n++; n%500 == 0 {
			peak = max(peak, heap())
		}
	}
	must(b, expect(longMessages, n, nil))
	return peak
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// sharedCalls is how many calls the row of the 64 goroutines makes.
const sharedCalls = 512

// BenchmarkManyGoroutines measures the cost of the limit on concurrent requests: 64
// goroutines share a client, against 64 that share a hand-written semaphore of four.
// The difference is microseconds in a wait of milliseconds, so it takes many pairs.
func BenchmarkManyGoroutines(b *testing.B) {
	p := manyGoroutines(b)
	p.absolute = func(b *testing.B, ours, baseline cost) {
		b.Helper()
		record(b, rowMany, "added per call", (ours.seconds-baseline.seconds)/sharedCalls*1e6)
	}
	p.run(b)
}

func manyGoroutines(tb testing.TB) pair {
	tb.Helper()
	client, hand := both(tb)
	slots := make(chan struct{}, 4)
	return pair{row: rowMany, batch: 1, turns: 32, ours: func() error {
		return share(64, func() error {
			_, err := client.Chat(tb.Context(), chatPlain)
			return err
		})
	}, baseline: func() error {
		return share(64, func() error {
			slots <- struct{}{}
			defer func() { <-slots }()
			_, err := hand.chat(tb.Context(), chatPlain)
			return err
		})
	}}
}

// share makes sharedCalls calls on several goroutines.
func share(goroutines int, call side) error {
	var left atomic.Int64
	left.Store(sharedCalls)
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs // nil if there is none
}
