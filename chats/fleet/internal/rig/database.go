package rig

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// NewDatabase creates a database with all tables on the server of DATABASE_URL. drop drops it.
func NewDatabase(ctx context.Context, server string) (dsn string, drop func(), err error) {
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = admin.Close(ctx) }()
	name := "ymchats_fleet_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	address, err := url.Parse(server)
	if err != nil {
		return "", nil, err
	}
	address.Path = "/" + name
	return address.String(), func() {
		ctx := context.Background()
		if admin, err := pgx.Connect(ctx, server); err == nil {
			_, _ = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
			_ = admin.Close(ctx)
		}
	}, migrate(ctx, address.String())
}

func migrate(ctx context.Context, dsn string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	return sqlstore.Migrate(ctx, stdlib.OpenDBFromPool(pool), sqlstore.PostgreSQL)
}

// ServerCPU returns the CPU time that PostgreSQL has used.
func ServerCPU(ctx context.Context, dsn string) (total time.Duration) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close(ctx) }()
	var pid int
	if conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid) != nil {
		return 0
	}
	postmaster := parent(pid)
	total = CPU(postmaster)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil && parent(child) == postmaster {
			total += CPU(child)
		}
	}
	return total
}

func parent(pid int) int {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	if fields := strings.Fields(rest); len(fields) > 1 {
		n, _ := strconv.Atoi(fields[1])
		return n
	}
	return 0
}
