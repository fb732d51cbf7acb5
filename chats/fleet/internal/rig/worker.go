package rig

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/fleet"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// WorkerConfig configures a worker process.
type WorkerConfig struct {
	DSN          string
	Market       string // URL
	Key          string
	Pool         int
	Workers      int
	PollInterval time.Duration
	Lease        time.Duration
	HandlerTime  time.Duration
	Hang         chats.BusinessID // whose handler hangs
	WrongKey     chats.BusinessID // whose key is refused
	Verbose      bool
}

// WorkerStats is what a worker's /stats returns.
type WorkerStats struct {
	InboxSteps int64
	Held       int64
	Statements int64
	Heap       uint64 // after a collection
	Stacks     uint64
	Goroutines int
	Conns      int32 // of the pool
}

// ClientID returns the ID of a worker's River client.
func ClientID(pid int) string { return fmt.Sprint("worker-", pid) }

// tracer counts statements.
type tracer struct{ n atomic.Int64 }

func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	t.n.Add(1)
	return ctx
}
func (t *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// worker is one process of a fleet.
type worker struct {
	config WorkerConfig
	trace  tracer
	pool   *pgxpool.Pool
	db     *sql.DB
	store  *sqlstore.Store
	fleet  *fleet.Fleet
	river  *river.Client[pgx.Tx]
	txs    *river.Client[*sql.Tx]
}

func newWorker(ctx context.Context, c WorkerConfig) (*worker, error) {
	w := &worker{config: c}
	poolConfig, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, err
	}
	poolConfig.MaxConns = int32(c.Pool)
	poolConfig.ConnConfig.Tracer = &w.trace
	poolConfig.ConnConfig.RuntimeParams["application_name"] = fmt.Sprint("worker/", os.Getpid())
	if w.pool, err = pgxpool.NewWithConfig(ctx, poolConfig); err != nil {
		return nil, err
	}
	w.db = stdlib.OpenDBFromPool(w.pool)
	if w.store, err = sqlstore.New(ctx, w.db, sqlstore.PostgreSQL, sqlstore.WithLeaseDuration(c.Lease)); err != nil {
		return nil, err
	}
	level := slog.LevelError
	if c.Verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("pid", os.Getpid())
	w.fleet, err = fleet.New(w.store, w.shop(), w.handle, fleet.WithLogger(log), fleet.WithWorkers(c.Workers))
	if err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	w.fleet.Register(workers)
	w.river, err = river.NewClient(riverpgxv5.New(w.pool), w.fleet.Config(&river.Config{ID: ClientID(os.Getpid()), Workers: workers, Logger: log}))
	if err != nil {
		return nil, err
	}
	w.txs, err = river.NewClient(riverdatabasesql.New(w.db), &river.Config{Logger: log})
	return w, err
}

func (w *worker) shop() func(context.Context, chats.BusinessID) (fleet.Shop, error) {
	httpClient := &http.Client{Transport: &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 64}}
	return func(_ context.Context, id chats.BusinessID) (fleet.Shop, error) {
		key := w.config.Key
		if id == w.config.WrongKey {
			key = "ACMA:wrong"
		}
		client, err := chats.New(id, chats.APIKey(key), chats.WithBaseURL(w.config.Market), chats.WithHTTPClient(httpClient))
		return fleet.Shop{
			Client: client,
			Inbox:  []inbox.Option{inbox.WithPollInterval(w.config.PollInterval), inbox.WithSenders(chats.SenderCustomer)},
			Outbox: []outbox.Option{outbox.WithSettled(func(_ context.Context, r outbox.Result) error {
				fmt.Println("settled", r.Business, r.State, r.Item.Key)
				return nil
			})},
		}, err
	}
}

func (w *worker) handle(ctx context.Context, d inbox.Delivery) error {
	if d.Business == w.config.Hang {
		<-ctx.Done()
		time.Sleep(time.Hour)
	}
	if w.config.HandlerTime > 0 {
		time.Sleep(w.config.HandlerTime)
	}
	fmt.Println("handled", d.Business, d.Chat.ID, d.Message.ID, time.Now().UnixNano())
	return nil
}

// playWorker works until it is interrupted.
func playWorker(c WorkerConfig) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	w, err := newWorker(ctx, c)
	if err != nil {
		return err
	}
	if err := w.fleet.Start(ctx, w.river); err != nil {
		return err
	}
	if err := w.river.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	address, err := serve(w)
	if err != nil {
		return err
	}
	fmt.Println("ready", address)
	<-ctx.Done()
	ended, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	err = w.river.Stop(ended)
	fmt.Println("stopped")
	return err
}

// ServeHTTP handles pushes, replies and queries.
func (w *worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/push":
		var event notify.MessageSent
		if err = json.NewDecoder(r.Body).Decode(&event); err == nil {
			err = w.fleet.Notify(r.Context(), event)
		}
	case "/put":
		var put Put
		if err = json.NewDecoder(r.Body).Decode(&put); err == nil {
			err = w.put(r.Context(), put)
		}
	case "/start", "/stop":
		var ids []chats.BusinessID
		if err = json.NewDecoder(r.Body).Decode(&ids); err == nil && r.URL.Path == "/start" {
			err = w.fleet.Start(r.Context(), w.river, ids...)
		} else if err == nil {
			err = w.fleet.Stop(r.Context(), w.river, ids...)
		}
	case "/stats":
		_ = json.NewEncoder(rw).Encode(w.stats())
	default:
		err = errors.New("unknown path")
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	}
}

func (w *worker) stats() WorkerStats {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return WorkerStats{w.fleet.Stats().InboxSteps.Load(), w.fleet.Stats().Held.Load(), w.trace.n.Load(), m.HeapAlloc, m.StackInuse, runtime.NumGoroutine(), w.pool.Stat().TotalConns()}
}

// Put has replies for /put. They are put in one transaction, through PutTx.
type Put struct {
	Business chats.BusinessID
	Items    []outbox.Item
}

func (w *worker) put(ctx context.Context, put Put) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := w.fleet.PutTx(ctx, w.txs, tx, put.Business, put.Items...); err != nil {
		return err
	}
	return tx.Commit()
}

func serve(handler http.Handler) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(listener, handler) }()
	return "http://" + listener.Addr().String(), nil
}
