// Otel uses OpenTelemetry to instrument a program that replies to chats: a span for every
// request, named after its operation, and metrics of the attempts. It is a demo on an
// in-memory Market with some failures; nothing is sent to Yandex Market. Spans and metrics
// are written to the standard output.
//
//	cd chats/examples/otel && go run .
//
// For your own program, copy telemetry.go and replace the two exporters in main.go with
// those of your choice.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "otel:", err)
		os.Exit(1)
	}
}

// run runs the demo and prints its spans and metrics.
func run(ctx context.Context, out io.Writer) (err error) {
	spans, err := stdouttrace.New(stdouttrace.WithWriter(out))
	if err != nil {
		return err
	}
	metrics, err := stdoutmetric.New(stdoutmetric.WithWriter(out))
	if err != nil {
		return err
	}
	t := telemetry{
		tracers: trace.NewTracerProvider(trace.WithBatcher(spans)),
		meters:  metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(metrics))),
	}
	defer func() {
		// Exports what is left, even after a Ctrl-C.
		err = errors.Join(err, t.shutdown(context.WithoutCancel(ctx)))
	}()
	s, err := newShop(t, out)
	if err != nil {
		return err
	}
	return s.work(ctx)
}
