// Command fleet serves many shops on several machines: any of its processes reads their chats
// and posts their replies. Start as many processes as you like on one PostgreSQL database:
//
//	DATABASE_URL=postgres://... fleet
//	curl -X PUT localhost:8080/shops/1234567 -d '{"key": "ACMA:..."}'
//	curl -X POST localhost:8080/reply -d '{"business": 1234567, "chat": 70000003, "key": "order 17, 1", "text": "On its way!"}'
//
// Market's notifications go to /market. A second address, only for operators, has /healthz,
// /metrics and River's web interface at /river/. README.md is the deployment guide. With
// -demo it runs a demonstration on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address for Market and the shop's own programs")
	admin := flag.String("admin", "127.0.0.1:8081", "address for operators")
	interval := flag.Duration("poll", time.Minute, "how often a shop's chats are listed; 10m if Market sends notifications for all shops")
	isDemo := flag.Bool("demo", false, "run a demonstration")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if *isDemo {
		err = demo(ctx, os.Stdout)
	} else {
		err = run(ctx, *listen, *admin, *interval)
	}
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

const (
	// stopTime is longer than a step: its context ends after 36 s, and it then has 5 s to save.
	// Kubernetes waits even longer; see kubernetes.yaml.
	stopTime = 42 * time.Second
	// requestTime is what requests under way are given.
	requestTime = 5 * time.Second
)

// run works until ctx is done. It then accepts no more requests and jobs, and finishes those
// under way.
func run(ctx context.Context, listen, admin string, interval time.Duration) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := newService(ctx, settings{
		database: os.Getenv("DATABASE_URL"), market: os.Getenv("YANDEX_MARKET_BASE_URL"), proxy: os.Getenv("TRUSTED_PROXY"),
		interval: interval, log: log,
	})
	if err != nil {
		return err
	}
	defer s.close()
	public, err := s.handler()
	if err != nil {
		return err
	}
	operators, err := s.adminHandler(ctx)
	if err != nil {
		return err
	}
	// Before the work starts: a process that cannot listen, and ends, must leave no jobs unfinished.
	var listeners []net.Listener
	for _, address := range []string{listen, admin} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		listeners = append(listeners, listener)
		fmt.Println("listening on", listener.Addr())
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	failed := make(chan error, 2)
	var servers []*http.Server
	for n, handler := range []http.Handler{public, operators} {
		// A proxy keeps idle connections for a minute, as a rule: the server must not close one first.
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		servers = append(servers, server)
		go func() { failed <- server.Serve(listeners[n]) }()
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	var requests sync.WaitGroup
	for _, server := range servers {
		requests.Go(func() { shutdown(ending, server) })
	}
	err = errors.Join(err, s.jobs.Stop(ending)) // meanwhile, so that no request delays it
	requests.Wait()
	return err
}

// shutdown accepts no more requests, and cuts off those that do not end within requestTime.
func shutdown(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}
