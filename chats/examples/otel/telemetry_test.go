package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// recordedShop keeps its spans and metrics in memory.
type recordedShop struct {
	*shop
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
}

func newRecordedShop(t *testing.T) *recordedShop {
	t.Helper()
	r := &recordedShop{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	tel := telemetry{
		tracers: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans)),
		meters:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader)),
	}
	s, err := newShop(tel, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r.shop = s
	t.Cleanup(func() {
		if err := tel.shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}

// metrics returns every data point by metric name and attributes.
func (r *recordedShop) metrics(t *testing.T) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	points := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			key := func(set attribute.Set) string {
				return m.Name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					points[key(p.Attributes)] = p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					points[key(p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					points[key(p.Attributes)] = int64(p.Count)
				}
			}
		}
	}
	return points
}

func TestTransport_CreatesSpanForEveryAttempt(t *testing.T) {
	t.Parallel()
	r := newRecordedShop(t)
	if err := r.work(t.Context()); err != nil {
		t.Fatal(err)
	}

	names := map[string]int{}
	var root trace.SpanContext
	for _, span := range r.spans.Ended() {
		if span.SpanKind() == trace.SpanKindClient {
			names[span.Name()]++
		} else {
			root = span.SpanContext()
		}
	}
	for _, op := range chats.Operations() {
		if got, want := names[string(op)], r.market.Calls(op); got != want {
			t.Errorf("%s: %d spans, %d requests", op, got, want)
		}
		delete(names, string(op))
	}
	if len(names) > 0 {
		t.Errorf("spans not named after an operation: %v", names)
	}
	for _, span := range r.spans.Ended() {
		if span.SpanKind() == trace.SpanKindClient && span.Parent().SpanID() != root.SpanID() {
			t.Errorf("%s is not a child of the caller's span", span.Name())
		}
	}
}

func TestObserve_RecordsMetrics(t *testing.T) {
	t.Parallel()
	r := newRecordedShop(t)
	if err := r.work(t.Context()); err != nil {
		t.Fatal(err)
	}

	points := r.metrics(t)
	calls := int64(r.market.Calls(chats.OpSendMessageToChat))
	limit, _ := r.client.Limit(chats.OpSendMessageToChat)
	for name, want := range map[string]int64{
		"chats.client.attempts{chats.operation=getChats,chats.retry=false}":                 1,
		"chats.client.attempts{chats.operation=getChats,chats.retry=true}":                  1,
		"chats.client.errors{chats.operation=getChats,error.type=server}":                   1,
		"chats.client.errors{chats.operation=getChatHistory,error.type=rate_limited}":       1,
		"chats.client.errors{chats.operation=sendMessageToChat,error.type=connection}":      1,
		"chats.client.errors{chats.operation=sendMessageToChat,error.type=outcome_unknown}": 2,
		"chats.client.attempt.duration{chats.operation=sendMessageToChat}":                  calls,
		"chats.client.attempt.wait{chats.operation=sendMessageToChat}":                      calls,
		"chats.client.quota.remaining{chats.operation=sendMessageToChat}":                   int64(limit.Remaining),
	} {
		if got, ok := points[name]; !ok || got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if t.Failed() {
		for name, value := range points {
			t.Log(name, value)
		}
	}
}

// The client learns from net/http/httptrace that nothing was sent, and retries a send only
// then. The instrumented transport must not hide that.
func TestTransport_SendIsRetriedOnlyIfNothingWasSent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fault  chatstest.Fault
		calls  int
		posted int
	}{
		{"refused", chatstest.Refused(), 2, 1},
		{"dropped before", chatstest.DropBefore(), 1, 0},
		{"dropped after", chatstest.DropAfter(), 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRecordedShop(t)
			id := r.market.AddChat(chats.Chat{})
			r.market.Fail(chats.OpSendMessageToChat, test.fault)

			err := r.client.SendText(t.Context(), id, "Здравствуйте!")

			if retried := test.calls > 1; (err == nil) != retried {
				t.Errorf("error: %v", err)
			}
			if got := r.market.Calls(chats.OpSendMessageToChat); got != test.calls {
				t.Errorf("%d requests, want %d", got, test.calls)
			}
			if got := len(r.market.Messages(id)); got != test.posted {
				t.Errorf("%d messages in the chat, want %d", got, test.posted)
			}
		})
	}
}

// The same with the transport of net/http and a closed port.
func TestTransport_SendIsRetriedIfConnectionIsRefused(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	r := newRecordedShop(t)
	tel := telemetry{
		tracers: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans)),
		meters:  sdkmetric.NewMeterProvider(),
	}
	options, err := tel.options(&http.Transport{})
	if err != nil {
		t.Fatal(err)
	}
	options = append(options, chats.WithBaseURL(gone.URL), chats.WithRetry(chats.RetryPolicy{MaxAttempts: 2, BaseDelay: 1}))
	client, err := chats.New(1, chats.APIKey("key"), options...)
	if err != nil {
		t.Fatal(err)
	}

	err = client.SendText(t.Context(), 1, "Здравствуйте!")

	if err == nil || errors.Is(err, chats.ErrOutcomeUnknown) {
		t.Errorf("error %v, want one that says that nothing was sent", err)
	}
	if got := len(r.spans.Ended()); got != 2 {
		t.Errorf("%d spans, want one for each of the 2 attempts", got)
	}
}

func TestTransport_DoesNotTraceDownloads(t *testing.T) {
	t.Parallel()
	r := newRecordedShop(t)
	body, err := r.client.Download(t.Context(), r.market.AddFile("receipt.txt", []byte("1 990")))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || string(data) != "1 990" {
		t.Errorf("%q, %v", data, err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if spans := r.spans.Started(); len(spans) > 0 {
		t.Errorf("the link of an attachment is in a span: %s", spans[0].Name())
	}
}

func TestTelemetry_DoesNotContainTheKey(t *testing.T) {
	t.Parallel()
	r := newRecordedShop(t)
	key := r.market.Key()
	// The server echoes the key.
	r.market.Fail(chats.OpGetChat, chatstest.Status(400, `{"message":"bad key `+key+`"}`))
	if _, err := r.client.Chat(t.Context(), 1); err == nil {
		t.Error("no error for a 400")
	}
	if err := r.work(t.Context()); err != nil {
		t.Fatal(err)
	}

	var emitted []string
	collect := func(attributes []attribute.KeyValue) {
		for _, a := range attributes {
			emitted = append(emitted, fmt.Sprint(a.Key, "=", a.Value.AsInterface()))
		}
	}
	for _, span := range r.spans.Ended() {
		emitted = append(emitted, span.Name(), span.Status().Description)
		collect(span.Attributes())
		collect(span.Resource().Attributes())
		for _, event := range span.Events() {
			emitted = append(emitted, event.Name)
			collect(event.Attributes)
		}
	}
	for name := range r.metrics(t) {
		emitted = append(emitted, name)
	}
	if len(emitted) < 100 {
		t.Fatalf("only %d texts were emitted", len(emitted))
	}
	// Parts of the key are secret, too.
	for _, secret := range []string{key, key[len(key)/4 : len(key)/2], key[len(key)/2:]} {
		if i := slices.IndexFunc(emitted, func(text string) bool { return strings.Contains(text, secret) }); i >= 0 {
			t.Errorf("the key is in %s", emitted[i])
		}
	}
}

func TestRun_PrintsSpansAndMetrics(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"replied to 3 chats", `"Name":"sendMessageToChat"`, `"Name":"chats.client.attempts"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %s", want)
		}
	}
	if strings.Contains(out.String(), chatstest.NewMarket().Key()) {
		t.Error("the output has the key")
	}
}
