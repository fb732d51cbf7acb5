package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	"github.com/riverqueue/rivercontrib/otelriver"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/fleet"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

const (
	poolSize    = 10
	migrateLock = `SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock(81244321)`
)

type settings struct {
	database string // URL
	market   string // URL, if it is not the real one
	proxy    string // the networks of the proxies in front of the service, separated by commas
	interval time.Duration
	log      *slog.Logger
}

// service is one process.
type service struct {
	settings

	pool  *pgxpool.Pool
	db    *sql.DB
	fleet *fleet.Fleet
	jobs  *river.Client[pgx.Tx]
	txs   *river.Client[*sql.Tx] // inserts jobs in transactions of database/sql
	http  *http.Client

	metrics *prometheus.Registry
}

func newService(ctx context.Context, settings settings) (*service, error) {
	if settings.database == "" {
		return nil, errors.New("DATABASE_URL is not set")
	}
	s := &service{settings: settings, metrics: prometheus.NewRegistry(), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	if s.interval <= 0 {
		return nil, errors.New("-poll must be greater than 0")
	}
	if _, err := s.client(1, "any"); err != nil { // better now than for each shop
		return nil, err
	}
	config, err := pgxpool.ParseConfig(s.database)
	if err != nil {
		return nil, err
	}
	config.MaxConns = poolSize
	// A process that is frozen in the middle of a transaction must not keep its locks.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	// While the database is read-only, as during a failover, sessions begin that remain so afterwards.
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	s.db = stdlib.OpenDBFromPool(s.pool)
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	store, err := sqlstore.New(ctx, s.db, sqlstore.PostgreSQL)
	if err != nil {
		return nil, err
	}
	if s.fleet, err = fleet.New(store, s.shop, s.handle, fleet.WithLogger(s.log)); err != nil {
		return nil, err
	}
	s.countSteps()
	return s, s.connectRiver()
}

func (s *service) close() {
	_ = s.db.Close()
	s.pool.Close()
}

// connectRiver creates the clients. The program's own jobs are worked next to the fleet's.
func (s *service) connectRiver() error {
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(s.metrics))
	if err != nil {
		return err
	}
	meters := metric.NewMeterProvider(metric.WithReader(exporter))
	workers := river.NewWorkers()
	s.fleet.Register(workers)
	river.AddWorker(workers, river.WorkFunc(s.tellCRM))
	s.jobs, err = river.NewClient(riverpgxv5.New(s.pool), s.fleet.Config(&river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}}, Workers: workers, Logger: s.log,
		Middleware: []rivertype.Middleware{otelriver.NewMiddleware(&otelriver.MiddlewareConfig{MeterProvider: meters})},
	}))
	if err != nil {
		return err
	}
	s.txs, err = river.NewClient(riverdatabasesql.New(s.db), &river.Config{Logger: s.log})
	return err
}

// countSteps adds the fleet's counters to the metrics, next to River's own by otelriver.
func (s *service) countSteps() {
	stats := s.fleet.Stats()
	for name, counter := range map[string]*atomic.Int64{
		"inbox_steps": &stats.InboxSteps, "outbox_steps": &stats.OutboxSteps, "held": &stats.Held, "refused": &stats.Refused,
		"failed": &stats.Failed, "pushes": &stats.Pushes, "unknown": &stats.Unknown,
	} {
		s.metrics.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Namespace: "ymchats_fleet", Name: name + "_total", Help: "see fleet.Stats"},
			func() float64 { return float64(counter.Load()) }))
	}
}

// migrate creates the tables of River and of this program; sqlstore creates its own. The lock
// lets one process migrate at a time. It has its own transaction, because River needs one for
// each of its versions.
func (s *service) migrate(ctx context.Context) error {
	return pgx.BeginFunc(ctx, s.pool, func(lock pgx.Tx) error {
		if _, err := lock.Exec(ctx, migrateLock); err != nil {
			return err
		}
		if _, err := s.pool.Exec(ctx, createTables); err != nil {
			return err
		}
		migrator, err := rivermigrate.New(riverpgxv5.New(s.pool), &rivermigrate.Config{Logger: s.log})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
}

// start begins to serve the shops in the table, and starts the River client.
func (s *service) start(ctx context.Context) error {
	ids, err := s.shops(ctx)
	if err != nil {
		return err
	}
	if err := s.fleet.Start(ctx, s.jobs, ids...); err != nil {
		return err
	}
	// Stop ends the work, not ctx, so that steps can finish.
	return s.jobs.Start(context.WithoutCancel(ctx))
}

// handle stores a message. A message may be delivered again, so the row is written once. PostgreSQL
// refuses zero bytes: the message would fail for ever, and hold up its chat.
func (s *service) handle(ctx context.Context, d inbox.Delivery) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO messages (business, chat, message, sender, text)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		int64(d.Business), int64(d.Chat.ID), int64(d.Message.ID), string(d.Message.Sender), strings.ReplaceAll(d.Message.Text, "\x00", ""))
	return err
}

// shop returns what the fleet needs to serve a shop.
func (s *service) shop(ctx context.Context, id chats.BusinessID) (fleet.Shop, error) {
	var key string
	err := s.db.QueryRowContext(ctx, `SELECT key FROM shops WHERE business = $1`, int64(id)).Scan(&key)
	if err != nil {
		return fleet.Shop{}, fmt.Errorf("shop %d: %w", id, err)
	}
	client, err := s.client(id, key)
	return fleet.Shop{
		Client: client,
		Inbox:  []inbox.Option{inbox.WithPollInterval(s.interval), inbox.WithSenders(chats.SenderCustomer)},
	}, err
}

func (s *service) client(id chats.BusinessID, key string) (*chats.Client, error) {
	options := []chats.Option{chats.WithHTTPClient(s.http), chats.WithIntegration("fleet-example", chats.Version)}
	if s.market != "" {
		options = append(options, chats.WithBaseURL(s.market))
	}
	return chats.New(id, chats.APIKey(key), options...)
}
