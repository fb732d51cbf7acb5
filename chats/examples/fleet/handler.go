package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"riverqueue.com/riverui"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// handler serves Market and the shop's own programs. In production, authenticate the latter.
func (s *service) handler() (http.Handler, error) {
	var options []notify.Option
	if s.proxy != "" {
		var proxies []netip.Prefix
		for text := range strings.SplitSeq(s.proxy, ",") {
			network, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("TRUSTED_PROXY: %w", err)
			}
			proxies = append(proxies, network)
		}
		options = append(options, notify.WithAllowedNetworks(notify.MarketNetworks()...), notify.WithTrustedProxies(proxies...))
	}
	market, err := notify.NewHandler("fleet-example", chats.Version, s.fleet.Notify, options...)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /shops/{business}", s.putShop)
	mux.HandleFunc("DELETE /shops/{business}", s.deleteShop)
	mux.HandleFunc("POST /reply", s.postReply)
	return market.Mount(mux, "/market"), nil
}

// putShop adds a shop, or replaces its key. The new key is tried immediately if the old one
// has been refused, and used within 10 min otherwise.
func (s *service) putShop(w http.ResponseWriter, r *http.Request) {
	var body struct{ Key string }
	id, err := businessOf(r)
	if err == nil {
		err = decode(w, r, &body)
	}
	if err == nil {
		_, err = s.client(id, body.Key)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, err = s.db.ExecContext(r.Context(), `INSERT INTO shops (business, key) VALUES ($1, $2)
		ON CONFLICT (business) DO UPDATE SET key = excluded.key`, int64(id), body.Key)
	if err == nil {
		err = s.fleet.Start(r.Context(), s.jobs, id)
	}
	respond(w, err)
}

func (s *service) deleteShop(w http.ResponseWriter, r *http.Request) {
	id, err := businessOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err = s.fleet.Stop(r.Context(), s.jobs, id); err == nil {
		_, err = s.db.ExecContext(r.Context(), `DELETE FROM shops WHERE business = $1`, int64(id))
	}
	respond(w, err)
}

func businessOf(r *http.Request) (chats.BusinessID, error) {
	id, err := strconv.ParseInt(r.PathValue("business"), 10, 64)
	return chats.BusinessID(id), err
}

// decode reads a body that consists of one JSON value.
func decode(w http.ResponseWriter, r *http.Request, body any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	switch {
	case err != nil:
		return err
	case !utf8.Valid(data):
		return errors.New("the body is not valid UTF-8") // json would replace the invalid bytes
	default:
		return json.Unmarshal(data, body)
	}
}

// reply is the body of POST /reply. The key makes it idempotent.
type reply struct {
	Business chats.BusinessID `json:"business"`
	Chat     chats.ChatID     `json:"chat"`
	Key      string           `json:"key"`
	Text     string           `json:"text"`
}

// postReply writes the program's own row, the reply, the job that posts it, and a job of the
// program's own in one transaction.
func (s *service) postReply(w http.ResponseWriter, r *http.Request) {
	var body reply
	if err := decode(w, r, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	respond(w, s.queue(r.Context(), body))
}

func (s *service) queue(ctx context.Context, r reply) error {
	item := outbox.Item{Key: r.Key, Chat: r.Chat, Text: r.Text}
	if err := item.Check(); err != nil { // for a better error than the database's
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	// A reply to a shop that is not in the table would never be posted.
	err = tx.QueryRowContext(ctx, `SELECT 1 FROM shops WHERE business = $1`, int64(r.Business)).Scan(new(int))
	if errors.Is(err, sql.ErrNoRows) {
		return errUnknownShop
	}
	if err != nil {
		return err
	}
	added, err := tx.ExecContext(ctx, `INSERT INTO replies (business, key) VALUES ($1, $2) ON CONFLICT DO NOTHING`, int64(r.Business), r.Key)
	if err == nil {
		err = s.fleet.PutTx(ctx, s.txs, tx, r.Business, item)
	}
	if err == nil {
		if n, _ := added.RowsAffected(); n > 0 { // it is not a repeated request
			_, err = s.txs.InsertTx(ctx, tx, crmArgs{r.Business, r.Key}, nil)
		}
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

var errUnknownShop = errors.New("there is no such shop: add it with PUT /shops/{business}")

func respond(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, chats.ErrInvalidArgument):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, errUnknownShop):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, outbox.ErrKeyReused):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// adminHandler serves operators. Never expose it: River's interface can delete jobs.
func (s *service) adminHandler(ctx context.Context) (http.Handler, error) {
	ui, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(s.jobs, nil), Logger: s.log, Prefix: "/river",
	})
	if err != nil {
		return nil, err
	}
	if err := ui.Start(ctx); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/river/", ui)
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	return mux, nil
}

// health fails if the database cannot be reached, because nothing works without it.
func (s *service) health(w http.ResponseWriter, r *http.Request) {
	if err := s.pool.Ping(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
