package chats_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// contentLengths records the Content-Length of each request.
type contentLengths struct {
	next http.RoundTripper

	mu   sync.Mutex
	seen []int64
}

func (l *contentLengths) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.seen = append(l.seen, req.ContentLength)
	l.mu.Unlock()
	return l.next.RoundTrip(req)
}

// uploadFixture is a Market with one chat, in process or on a listener: net/http on a
// socket behaves differently from a transport in process.
type uploadFixture struct {
	t      *testing.T
	market *chatstest.Market
	client *chats.Client
	chat   chats.ChatID
	wire   *contentLengths
}

func onBothTransports(t *testing.T, test func(*uploadFixture)) {
	t.Helper()
	fastRetry := chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond})
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		market := chatstest.NewMarket()
		wire := &contentLengths{next: contract.Transport(t, market.Transport())}
		client := market.Client(fastRetry, chats.WithHTTPClient(&http.Client{Transport: wire}))
		test(&uploadFixture{t, market, client, market.AddChat(chats.Chat{}), wire})
	})
	t.Run("on a listener", func(t *testing.T) {
		t.Parallel()
		server := chatstest.NewServer(t)
		wire := &contentLengths{next: contract.Transport(t, server.Transport())}
		client := server.Client(fastRetry, chats.WithHTTPClient(&http.Client{Transport: wire}))
		test(&uploadFixture{t, server.Market, client, server.AddChat(chats.Chat{}), wire})
	})
}

func openFile(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "photo.jpg")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func openPipe(t *testing.T, data []byte) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	var writing sync.WaitGroup
	writing.Go(func() {
		_, _ = writer.Write(data)
		_ = writer.Close()
	})
	t.Cleanup(func() {
		_ = reader.Close()
		writing.Wait()
	})
	return reader
}

// seekTo returns content positioned at offset.
func seekTo[S io.ReadSeeker](t *testing.T, content S, offset int64) S {
	t.Helper()
	_, err := content.Seek(offset, io.SeekStart)
	require.NoError(t, err)
	return content
}

func TestSendFile_AcceptsEveryKindOfReader(t *testing.T) {
	t.Parallel()
	data := randomBytes(200_000)
	readers := []struct {
		name    string
		content func(*uploadFixture) io.Reader
		want    []byte
	}{
		{"file", func(f *uploadFixture) io.Reader { return openFile(f.t, data) }, data},
		{"file from its position", func(f *uploadFixture) io.Reader { return seekTo(f.t, openFile(f.t, data), 1234) }, data[1234:]},
		{"bytes.Reader", func(*uploadFixture) io.Reader { return bytes.NewReader(data) }, data},
		{"bytes.Reader from its position", func(f *uploadFixture) io.Reader { return seekTo(f.t, bytes.NewReader(data), 199_999) }, data[199_999:]},
		{"strings.Reader", func(*uploadFixture) io.Reader { return strings.NewReader(string(data)) }, data},
		{"bytes.Buffer", func(*uploadFixture) io.Reader { return bytes.NewBuffer(bytes.Clone(data)) }, data},
		{"plain reader", func(*uploadFixture) io.Reader { return io.MultiReader(bytes.NewReader(data)) }, data},
		{"pipe", func(f *uploadFixture) io.Reader { return openPipe(f.t, data) }, data},
		{"section of a file", func(f *uploadFixture) io.Reader { return io.NewSectionReader(openFile(f.t, data), 50, 1000) }, data[50:1050]},
		{"one byte at a time", func(*uploadFixture) io.Reader {
			return sized(iotest.OneByteReader(bytes.NewReader(data[:3000])), 3000)
		}, data[:3000]},
		{"io.EOF with the last byte", func(*uploadFixture) io.Reader {
			return sized(iotest.DataErrReader(bytes.NewReader(data)), len(data))
		}, data},
		{"single byte", func(*uploadFixture) io.Reader { return strings.NewReader("\x00") }, []byte{0}},
	}
	for _, tt := range readers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBothTransports(t, func(f *uploadFixture) {
				t := f.t
				require.NoError(t, f.client.SendFile(t.Context(), f.chat, "photo.jpg", tt.content(f)))
				uploaded := f.market.Uploads(f.chat)
				require.Len(t, uploaded, 1)
				assert.True(t, bytes.Equal(tt.want, uploaded[0].Data), "the bytes must be equal")
				assert.Equal(t, "photo.jpg", uploaded[0].Name)
				assert.Equal(t, "image/jpeg", uploaded[0].ContentType)
				require.Len(t, f.wire.seen, 1)
				assert.Greater(t, f.wire.seen[0], int64(len(tt.want)), "the length is announced")
			})
		})
	}
}

func TestSendFile_AcceptsMaxFileSize(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), chats.MaxFileSize/16)
	onBothTransports(t, func(f *uploadFixture) {
		t := f.t
		require.NoError(t, f.client.SendFile(t.Context(), f.chat, "a.bin", bytes.NewReader(data)))
		uploaded := f.market.Uploads(f.chat)
		require.Len(t, uploaded, 1)
		assert.True(t, bytes.Equal(data, uploaded[0].Data))
		assert.Equal(t, "application/octet-stream", uploaded[0].ContentType)
	})
}

func TestSendFile_KeepsFileNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"фото заказа.jpg", `"quoted" 'name'.jpg`, "semi;colon=equals, comma.jpg", " spaces  inside .jpg ", "👍.png", "no extension",
		"percent%22%0A.jpg", ".hidden", "a", "..jpg", strings.Repeat("длинное ", 16) + ".pdf", "rtl\u202e.jpg",
	}
	onBothTransports(t, func(f *uploadFixture) {
		t := f.t
		got := make([]string, 0, len(names))
		for _, name := range names {
			require.NoError(t, f.client.SendFile(t.Context(), f.chat, name, strings.NewReader("content")), name)
		}
		for _, uploaded := range f.market.Uploads(f.chat) {
			got = append(got, uploaded.Name)
			assert.Equal(t, "content", string(uploaded.Data))
		}
		assert.Equal(t, names, got)
	})
}

func TestSendFile_ReaderAtItsEndIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, chats.WithHTTPClient(forbidRequests(t)))
	for _, content := range []io.Reader{
		seekTo(t, strings.NewReader("content"), 7), seekTo(t, strings.NewReader("content"), 99), openFile(t, nil), new(bytes.Buffer),
	} {
		err := f.client.SendFile(t.Context(), f.chat, "a.jpg", content)
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		assert.Contains(t, err.Error(), "is empty")
	}
}

func TestSendFile_FailingReaderPostsNothing(t *testing.T) {
	t.Parallel()
	half := func() io.Reader {
		return io.MultiReader(bytes.NewReader(randomBytes(100_000)), iotest.ErrReader(errDisk))
	}
	tests := []struct {
		name     string
		content  func() io.Reader
		want     error
		requests int
	}{
		{"halfway", func() io.Reader { return sized(half(), 200_000) }, errDisk, 1},
		{"halfway, seeker", func() io.Reader {
			return &failingSeeker{Reader: *bytes.NewReader(randomBytes(200_000)), after: 100_000}
		}, errDisk, 1},
		{"immediately", func() io.Reader { return sized(iotest.ErrReader(errDisk), 200_000) }, errDisk, 1},
		{"at its last byte", func() io.Reader { return sized(half(), 100_001) }, errDisk, 1},
		{"while its size is determined", half, errDisk, 0},
		{"shorter than measured", func() io.Reader { return sized(strings.NewReader("seven b"), 10) }, io.ErrUnexpectedEOF, 1},
		{"empty although measured", func() io.Reader { return sized(strings.NewReader(""), 10) }, io.ErrUnexpectedEOF, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBothTransports(t, func(f *uploadFixture) {
				t := f.t
				err := f.client.SendFile(t.Context(), f.chat, "a.bin", tt.content())
				require.ErrorIs(t, err, tt.want)
				require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
				assert.Contains(t, err.Error(), "reading the file")
				assert.Len(t, f.wire.seen, tt.requests, "aborted and not retried")
				assert.Empty(t, f.market.Messages(f.chat))
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, tt.requests, e.Attempts)
				require.NoError(t, f.client.SendText(t.Context(), f.chat, "Фото не читается"), "the next call succeeds")
			})
		})
	}
}

type failingSeeker struct {
	bytes.Reader
	after int
}

func (b *failingSeeker) Read(p []byte) (int, error) {
	if b.after == 0 {
		return 0, errDisk
	}
	n, err := b.Reader.Read(p[:min(len(p), b.after)])
	b.after -= n
	return n, err
}

// A file that grows while it is sent, and a reader that reports less than it has.
func TestSendFile_ReaderLongerThanMeasuredPostsNothing(t *testing.T) {
	t.Parallel()
	readers := map[string]func() io.Reader{
		"length":     func() io.Reader { return sized(strings.NewReader("measured, and what was written since"), 8) },
		"one byte":   func() io.Reader { return sized(bytes.NewReader(randomBytes(100_001)), 100_000) },
		"chunk size": func() io.Reader { return sized(bytes.NewReader(randomBytes(32<<10+1)), 32<<10) },
		"seeker":     func() io.Reader { return &shortSeeker{bytes.NewReader(randomBytes(1000)), 400} },
	}
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothTransports(t, func(f *uploadFixture) {
				t := f.t
				err := f.client.SendFile(t.Context(), f.chat, "a.log", reader())
				require.ErrorContains(t, err, "longer than its size")
				require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
				assert.Len(t, f.wire.seen, 1, "aborted and not retried")
				assert.Empty(t, f.market.Messages(f.chat))
			})
		})
	}
}

// shortSeeker reports an end that lies before the real one.
type shortSeeker struct {
	*bytes.Reader
	missing int64
}

func (s *shortSeeker) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		offset -= s.missing
	}
	return s.Reader.Seek(offset, whence)
}

func TestSendFile_ReaderThatViolatesTheInterfaceIsError(t *testing.T) {
	t.Parallel()
	readers := map[string]io.Reader{
		"more than fits":   readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil }),
		"a negative count": readerFunc(func([]byte) (int, error) { return -1, nil }),
		"a panic":          readerFunc(func([]byte) (int, error) { panic("no disk") }),
		"a Goexit":         readerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }),
	}
	for name, reader := range readers {
		for kind, content := range map[string]io.Reader{"streamed": sized(reader, 1000), "buffered": reader} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				onBothTransports(t, func(f *uploadFixture) {
					err := f.client.SendFile(f.t.Context(), f.chat, "a.bin", content)
					require.ErrorContains(f.t, err, "the reader")
					require.NotErrorIs(f.t, err, chats.ErrOutcomeUnknown)
					var e *chats.Error
					require.ErrorAs(f.t, err, &e)
					assert.Empty(f.t, f.market.Messages(f.chat))
				})
			})
		}
	}
}

func TestSendFile_RetryRewindsReader(t *testing.T) {
	t.Parallel()
	data := randomBytes(60_000)
	tests := []struct {
		name    string
		content func(*uploadFixture) io.Reader
		want    []byte
	}{
		{"file", func(f *uploadFixture) io.Reader { return openFile(f.t, data) }, data},
		{"file from its position", func(f *uploadFixture) io.Reader { return seekTo(f.t, openFile(f.t, data), 5000) }, data[5000:]},
		{"bytes.Reader from its position", func(f *uploadFixture) io.Reader { return seekTo(f.t, bytes.NewReader(data), 1) }, data[1:]},
		{"unknown size, buffered in memory", func(*uploadFixture) io.Reader { return io.MultiReader(bytes.NewReader(data)) }, data},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBothTransports(t, func(f *uploadFixture) {
				t := f.t
				f.market.Fail(chats.OpSendFileToChat, chatstest.RateLimitedParallel(), chatstest.RateLimitedParallel())
				require.NoError(t, f.client.SendFile(t.Context(), f.chat, "a.bin", tt.content(f)))
				uploaded := f.market.Uploads(f.chat)
				require.Len(t, uploaded, 1)
				assert.True(t, bytes.Equal(tt.want, uploaded[0].Data))
				assert.Len(t, f.wire.seen, 3)
				assert.Equal(t, f.wire.seen[0], f.wire.seen[2])
			})
		})
	}
}

func TestSendFile_ConsumedReaderIsSentOnce(t *testing.T) {
	t.Parallel()
	onBothTransports(t, func(f *uploadFixture) {
		t := f.t
		f.market.Fail(chats.OpSendFileToChat, chatstest.RateLimitedParallel())
		err := f.client.SendFile(t.Context(), f.chat, "a.bin", bytes.NewBuffer(randomBytes(1000)))
		require.ErrorIs(t, err, chats.ErrRateLimited)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Len(t, f.wire.seen, 1)
		assert.Empty(t, f.market.Messages(f.chat))
	})
}

// A reader of which nothing was read can be sent again.
func TestSendFile_UnreadReaderIsRetried(t *testing.T) {
	t.Parallel()
	f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
	f.market.Fail(chats.OpSendFileToChat, chatstest.Refused(), chatstest.Refused())
	require.NoError(t, f.client.SendFile(t.Context(), f.chat, "a.txt", bytes.NewBufferString("content")))
	assert.Equal(t, 1, f.posted())
}

// slowReader is a reader that waits in Read, and fails the test if a Read begins after
// SendFile has returned.
type slowReader struct {
	t     *testing.T
	wait  func()
	reads atomic.Int32
	over  atomic.Bool
}

func (r *slowReader) Len() int { return chats.MaxFileSize }

func (r *slowReader) Read(b []byte) (int, error) {
	if r.over.Load() {
		r.t.Error("a Read began after SendFile had returned")
	}
	r.reads.Add(1)
	r.wait()
	return min(1024, len(b)), nil
}

func TestSendFile_ReaderIsNotReadAfterReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		client := newClient(t, market, chats.WithRetry(chats.RetryPolicy{AttemptTimeout: 10500 * time.Millisecond}))
		chat := market.AddChat(chats.Chat{})
		content := &slowReader{t: t, wait: func() { time.Sleep(time.Second) }}
		began := time.Now()
		err := client.SendFile(t.Context(), chat, "a.bin", content)
		content.over.Store(true)
		require.ErrorContains(t, err, "RetryPolicy.AttemptTimeout")
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown, "the end of the file was never sent")
		assert.Equal(t, 10500*time.Millisecond, time.Since(began))
		reads := content.reads.Load()
		time.Sleep(time.Hour)
		assert.Equal(t, reads, content.reads.Load())
		assert.Empty(t, market.Messages(chat))
	})
}

// On a socket, net/http abandons an attempt while its writer still reads the body.
func TestSendFile_ReaderIsNotReadAfterReturnOnSocket(t *testing.T) {
	t.Parallel()
	server := chatstest.NewServer(t)
	var attempt context.Context
	transport := roundTrip(func(req *http.Request) (*http.Response, error) {
		attempt = req.Context() //nolint:fatcontext // the test waits for its end
		return server.Transport().RoundTrip(req)
	})
	client := server.Client(chats.WithHTTPClient(&http.Client{Transport: transport}))
	ctx, cancel := context.WithCancel(t.Context())
	content := &slowReader{t: t, wait: func() {
		cancel()
		<-attempt.Done()
	}}
	err := client.SendFile(ctx, server.AddChat(chats.Chat{}), "a.bin", content)
	content.over.Store(true)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
}

// blockedReader is a reader that blocks until the test ends, as a file does on a mount that
// is gone.
type blockedReader struct {
	*bytes.Reader
	until <-chan struct{}
}

func (r *blockedReader) Read([]byte) (int, error) {
	<-r.until
	return 0, errDisk
}

func TestSendFile_BlockedReaderHoldsNoSlot(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*blockedReader) io.Reader{
		"streamed": func(r *blockedReader) io.Reader { return r },
		"buffered": func(r *blockedReader) io.Reader { return io.MultiReader(r) },
		"length":   func(r *blockedReader) io.Reader { return sized(r, 1000) },
	}
	for name, reader := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				until := make(chan struct{})
				defer close(until)
				f := newFixture(t, chats.WithMaxParallel(1))
				ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
				defer cancel()
				began := time.Now()
				content := reader(&blockedReader{bytes.NewReader(randomBytes(1000)), until})
				err := f.client.SendFile(ctx, f.chat, "a.bin", content)
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
				if name != "buffered" { // nothing ends that reading but the context
					require.ErrorContains(t, err, "RetryPolicy.AttemptTimeout")
					assert.Equal(t, 30*time.Second, time.Since(began))
				} else {
					assert.Equal(t, 40*time.Second, time.Since(began))
				}
				require.NoError(t, f.client.SendText(t.Context(), f.chat, "Фото не читается"))
				assert.Equal(t, 1, f.posted())
			})
		})
	}
}

// A transport may read the body in RoundTrip itself.
func TestSendFile_BlockedReaderEndsWithContextInAnyTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := newFixture(t, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			_, err := io.Copy(io.Discard, req.Body)
			return nil, err
		})}))
		err := f.client.SendFile(ctx, f.chat, "a.bin", &blockedReader{bytes.NewReader(randomBytes(1000)), until})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.NotContains(t, err.Error(), "closed pipe")
	})
}

// respondEarly is a transport that responds when it has read n bytes of a body, the first
// times to each of the statuses.
func respondEarly(n int64, statuses ...int) http.RoundTripper {
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		status := statuses[0]
		statuses = append(statuses[1:], status)
		if _, err := io.CopyN(io.Discard, req.Body, n); err != nil {
			return nil, err
		}
		if status == http.StatusOK {
			return respond(req, status, `{"status":"OK"}`), nil
		}
		return respond(req, status, envelope), nil
	})
}

func TestSendFile_ResponseBeforeTheWholeFile(t *testing.T) {
	t.Parallel()
	const size = 100_000
	tests := []struct {
		status, attempts int
		unknown          bool
		want             error
	}{
		{200, 1, true, chats.ErrProtocol},
		{400, 1, false, nil},
		{413, 1, false, nil},
		{408, 1, false, nil},
		{420, 6, false, chats.ErrRateLimited},
		{500, 6, false, chats.ErrServer},
		{503, 6, false, chats.ErrServer},
	}
	for _, tt := range tests {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, chats.WithHTTPClient(&http.Client{Transport: respondEarly(size, tt.status)}))
				err := f.client.SendFile(t.Context(), f.chat, "a.bin", bytes.NewReader(randomBytes(size)))
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, tt.unknown, errors.Is(err, chats.ErrOutcomeUnknown))
				assert.Equal(t, tt.status, e.StatusCode)
				assert.Equal(t, tt.attempts, e.Attempts)
				if tt.want != nil {
					assert.ErrorIs(t, err, tt.want)
				}
			})
		})
	}
}

// The connection breaks while the file is on its way: nothing can have been posted.
func TestSendFile_ConnectionLostInTheMiddleIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		lost := 0
		f := newFixtureOn(t, market, withContract(t, roundTrip(func(req *http.Request) (*http.Response, error) {
			if lost++; lost > 2 {
				return market.Transport().RoundTrip(req)
			}
			_, _ = io.CopyN(io.Discard, req.Body, 100_000)
			return nil, io.ErrUnexpectedEOF
		})))
		require.NoError(t, f.client.SendFile(t.Context(), f.chat, "a.bin", bytes.NewReader(randomBytes(100_000))))
		assert.Equal(t, 3, lost)
		assert.Equal(t, 1, f.posted())
	})
}

// Once its last byte was read, the file may have arrived, whatever the response.
func TestSendFile_LostAfterItsEndIsUnknown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, io.LimitReader(req.Body, req.ContentLength-1))
		require.NoError(t, err)
		return nil, io.ErrUnexpectedEOF
	})}))
	err := f.client.SendFile(t.Context(), f.chat, "a.bin", bytes.NewReader(randomBytes(1000)))
	require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
}

// The same on a socket: the server responds with 200 and reads nothing of the file.
func TestSendFile_AcceptedUnreadOnSocketIsUnknown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	var server sync.WaitGroup
	defer server.Wait()
	over := make(chan struct{})
	defer close(over)
	server.Go(func() {
		conn, err := listener.Accept()
		if !assert.NoError(t, err) {
			return
		}
		defer func() { _ = conn.Close() }()
		_, err = http.ReadRequest(bufio.NewReader(conn))
		assert.NoError(t, err)
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"+`{"status":"OK"}`)
		assert.NoError(t, err)
		<-over
	})
	client := newClientAt(t, "http://"+listener.Addr().String(), chats.APIKey(testSecret))
	err = client.SendFile(t.Context(), 1, "a.bin", bytes.NewReader(randomBytes(chats.MaxFileSize)))
	require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
	require.ErrorContains(t, err, "before the file was sent")
}

// A reader of known size is not buffered in memory: hardly more is read from it than the
// transport has read.
func TestSendFile_IsStreamed(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	var read atomic.Int64
	content := sized(readerFunc(func(p []byte) (int, error) {
		n := min(int64(len(p)), chats.MaxFileSize-read.Load())
		if n == 0 {
			return 0, io.EOF
		}
		read.Add(n)
		return int(n), nil
	}), chats.MaxFileSize)
	transport := roundTrip(func(req *http.Request) (*http.Response, error) {
		assert.Zero(t, read.Load())
		sent := 0
		buf := make([]byte, 1000)
		for {
			n, err := req.Body.Read(buf)
			sent += n
			if !assert.LessOrEqual(t, read.Load(), int64(sent+64<<10)) || errors.Is(err, io.EOF) {
				break
			}
		}
		assert.EqualValues(t, req.ContentLength, sent, "the exact length is announced")
		assert.EqualValues(t, chats.MaxFileSize, read.Load())
		return respond(req, http.StatusOK, `{"status":"OK"}`), nil
	})
	client := market.Client(chats.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, client.SendFile(t.Context(), 1, "a.bin", content))
}

func TestSendFile_NegativeLengthIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	err := f.client.SendFile(t.Context(), f.chat, "a.bin", sized(strings.NewReader("content"), -1))
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
}

// A directory has a size of its own, which depends on the file system.
func TestSendFile_DirectoryIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer func() { _ = dir.Close() }()
	err = f.client.SendFile(t.Context(), f.chat, "a.jpg", dir)
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	require.EqualError(t, err, "chats: file content: is a directory")
}

// stuckSeeker blocks in the Seek before a retry.
type stuckSeeker struct {
	*strings.Reader
	seeks   int
	release chan struct{}
}

func (s *stuckSeeker) Seek(offset int64, whence int) (int64, error) {
	if s.seeks++; s.seeks > 3 {
		<-s.release
	}
	return s.Reader.Seek(offset, whence)
}

// A Seek that blocks holds the call no longer than its context, and the slot neither.
func TestSendFile_SeekThatBlocksIsAbandoned(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ timeout, want time.Duration }{
		"context": {5 * time.Second, 5 * time.Second}, "attempt timeout": {time.Hour, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, chats.WithMaxParallel(1), chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
				f.market.Fail(chats.OpSendFileToChat, chatstest.RateLimitedParallel())
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				release := make(chan struct{})
				defer close(release)
				began := time.Now()
				err := f.client.SendFile(ctx, f.chat, "a.txt", &stuckSeeker{Reader: strings.NewReader("content"), release: release})
				assert.Equal(t, "error", outcomeOf(t, err), err)
				assert.Equal(t, tt.want, time.Since(began))
				assert.Zero(t, f.posted())
				require.NoError(t, f.client.SendText(t.Context(), f.chat, "Завтра"), "the slot is free")
			})
		})
	}
}
