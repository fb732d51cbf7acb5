package main

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ymchats/ymchats-go/chats"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/ymchats/ymchats-go/chats/examples/otel"

// telemetry holds the providers of spans and metrics.
type telemetry struct {
	tracers *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

// options returns the options that instrument a client.
func (t telemetry) options(base http.RoundTripper) ([]chats.Option, error) {
	in, err := newInstruments(t.meters.Meter(scope))
	if err != nil {
		return nil, err
	}
	return []chats.Option{
		chats.WithHTTPClient(&http.Client{Transport: t.transport(base)}),
		chats.WithHook(in.observe),
	}, nil
}

// transport creates a span for every request. A call that is retried has several, all
// children of the caller's span. otelhttp records the URL, but no headers and so no
// credential. Downloads are not traced, because the URL of an attachment may grant access
// to it.
func (t telemetry) transport(base http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(base,
		otelhttp.WithTracerProvider(t.tracers),
		otelhttp.WithMeterProvider(t.meters), // http.client.request.duration and others
		otelhttp.WithFilter(func(r *http.Request) bool {
			_, ok := chats.OperationFromContext(r.Context())
			return ok
		}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
			op, _ := chats.OperationFromContext(r.Context())
			return string(op)
		}),
	)
}

func (t telemetry) shutdown(ctx context.Context) error {
	return errors.Join(t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx))
}

// instruments has the instruments that a client's hook records to.
type instruments struct {
	attempts  metric.Int64Counter
	errors    metric.Int64Counter
	duration  metric.Float64Histogram
	wait      metric.Float64Histogram
	remaining metric.Int64Gauge
}

func newInstruments(meter metric.Meter) (*instruments, error) {
	var in instruments
	var errs [5]error
	in.attempts, errs[0] = meter.Int64Counter("chats.client.attempts",
		metric.WithUnit("{attempt}"), metric.WithDescription("Requests made, including retries."))
	in.errors, errs[1] = meter.Int64Counter("chats.client.errors",
		metric.WithUnit("{attempt}"), metric.WithDescription("Requests that failed, by reason."))
	in.duration, errs[2] = meter.Float64Histogram("chats.client.attempt.duration",
		metric.WithUnit("s"), metric.WithDescription("From the connection to the last byte of the response."))
	in.wait, errs[3] = meter.Float64Histogram("chats.client.attempt.wait",
		metric.WithUnit("s"), metric.WithDescription("Wait before a request: for a slot, a limit, or a retry."))
	in.remaining, errs[4] = meter.Int64Gauge("chats.client.quota.remaining",
		metric.WithUnit("{request}"), metric.WithDescription("Remaining hourly quota, as reported by Market."))
	return &in, errors.Join(errs[:]...)
}

// observe is the client's hook. It is called once per attempt.
func (in *instruments) observe(ctx context.Context, attempt chats.Attempt) {
	operation := attribute.String("chats.operation", string(attempt.Operation))
	of := metric.WithAttributes(operation)
	in.attempts.Add(ctx, 1, metric.WithAttributes(operation, attribute.Bool("chats.retry", attempt.Number > 1)))
	in.duration.Record(ctx, attempt.Duration.Seconds(), of)
	in.wait.Record(ctx, attempt.Wait.Seconds(), of)
	if attempt.Err != nil {
		in.errors.Add(ctx, 1, metric.WithAttributes(operation, attribute.String("error.type", reason(attempt.Err))))
	}
	// A response without the headers and a 420 for parallel requests do not report it.
	if attempt.Limit.Kind == chats.LimitHourly && attempt.Limit.Max > 0 {
		in.remaining.Record(ctx, int64(attempt.Limit.Remaining), of)
	}
}

// reasons maps sentinels to values of error.type. The first match counts: an unknown
// outcome matters more than the 5xx that caused it.
var reasons = []struct {
	sentinel error
	value    string
}{
	{chats.ErrOutcomeUnknown, "outcome_unknown"},
	{chats.ErrRateLimited, "rate_limited"},
	{chats.ErrUnauthorized, "unauthorized"},
	{chats.ErrForbidden, "forbidden"},
	{chats.ErrNotFound, "not_found"},
	{chats.ErrServer, "server"},
	{chats.ErrProtocol, "protocol"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timeout"},
}

// reason returns the value of error.type, one of a few to keep the metric's cardinality low.
func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.sentinel) {
			return r.value
		}
	}
	if e, ok := errors.AsType[*chats.Error](err); ok && e.StatusCode != 0 {
		return "refused" // any other status
	}
	return "connection"
}
