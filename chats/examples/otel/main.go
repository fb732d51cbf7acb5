// Otel shows what a program that answers chats looks like in OpenTelemetry: a span for
// every request, named after its operation, and metrics of the attempts. It runs on a
// Market in memory, some of whose answers fail, and writes everything to its output.
//
//	cd chats/examples/otel && go run .
//
// What a program of your own takes over is telemetry.go, with the exporters of its
// choice in place of the two of main.go.
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

// run works through the demonstration and prints its spans and metrics.
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
		// What was not exported yet is exported now, also after a Ctrl-C.
		err = errors.Join(err, t.shutdown(context.WithoutCancel(ctx)))
	}()
	s, err := newShop(t, out)
	if err != nil {
		return err
	}
	return s.work(ctx)
}
