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

// scope names what measures, as OpenTelemetry wants it.
const scope = "github.com/ymchats/ymchats-go/chats/examples/otel"

// telemetry is where spans and metrics go.
type telemetry struct {
	tracers *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

// options are what a client needs to be seen.
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

// transport makes a span of every request: a call that is repeated has several, side by
// side below the span of the caller. Headers, and with them the credential, are no
// attributes of otelhttp. The address is one; that of an attachment may open it to
// whoever has it, so that a download, which is no operation of the API, is not traced.
func (t telemetry) transport(base http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(base,
		otelhttp.WithTracerProvider(t.tracers),
		otelhttp.WithMeterProvider(t.meters), // http.client.request.duration and its kin
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

// instruments are what the hook of a client records into.
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
		metric.WithUnit("{attempt}"), metric.WithDescription("Requests made, repeated ones included."))
	in.errors, errs[1] = meter.Int64Counter("chats.client.errors",
		metric.WithUnit("{attempt}"), metric.WithDescription("Requests that failed, by the reason."))
	in.duration, errs[2] = meter.Float64Histogram("chats.client.attempt.duration",
		metric.WithUnit("s"), metric.WithDescription("From the connection to the last byte of the answer."))
	in.wait, errs[3] = meter.Float64Histogram("chats.client.attempt.wait",
		metric.WithUnit("s"), metric.WithDescription("Waiting before a request: for a place, a limit, or after a failure."))
	in.remaining, errs[4] = meter.Int64Gauge("chats.client.hour.remaining",
		metric.WithUnit("{request}"), metric.WithDescription("What Market says is left of the hour's allowance."))
	return &in, errors.Join(errs[:]...)
}

// observe is the client's hook: once per attempt.
func (in *instruments) observe(ctx context.Context, call chats.Attempt) {
	operation := attribute.String("chats.operation", string(call.Operation))
	of := metric.WithAttributes(operation)
	in.attempts.Add(ctx, 1, metric.WithAttributes(operation, attribute.Bool("chats.repeated", call.Number > 1)))
	in.duration.Record(ctx, call.Duration.Seconds(), of)
	in.wait.Record(ctx, call.Wait.Seconds(), of)
	if call.Err != nil {
		in.errors.Add(ctx, 1, metric.WithAttributes(operation, attribute.String("error.type", reason(call.Err))))
	}
	// An answer without the headers, and a 420 of parallel requests, tell nothing of it.
	if call.Limit.Kind == chats.LimitHourly && call.Limit.Max > 0 {
		in.remaining.Record(ctx, int64(call.Limit.Remaining), of)
	}
}

// reasons are the sentinels as words of a metric. The first that fits counts: an outcome
// that is unknown matters more than the 5xx that left it so.
var reasons = []struct {
	sentinel error
	word     string
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

// reason is one of a few words, as an attribute of a metric has to be.
func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.sentinel) {
			return r.word
		}
	}
	if e, ok := errors.AsType[*chats.Error](err); ok && e.StatusCode != 0 {
		return "refused" // any other status
	}
	return "connection"
}
