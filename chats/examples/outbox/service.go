package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// service accepts replies from operators.
type service struct {
	business chats.BusinessID
	db       *sql.DB
	store    *sqlstore.Store
	box      *outbox.Outbox
}

// reply is the body of POST /reply.
type reply struct {
	Chat chats.ChatID `json:"chat"`
	Text string       `json:"text"`
}

func newService(ctx context.Context, client *chats.Client, db *sql.DB, dialect sqlstore.Dialect, options ...sqlstore.Option) (*service, error) {
	store, err := sqlstore.New(ctx, db, dialect, options...)
	if err != nil {
		return nil, err
	}
	if _, err = db.ExecContext(ctx, createTable); err != nil { // perhaps because another process was creating it
		_, err = db.ExecContext(ctx, createTable)
	}
	if err != nil {
		return nil, err
	}
	// Keeps the shop's own row up to date. It may be called twice, which is harmless.
	settled := func(ctx context.Context, r outbox.Result) error {
		return setState(ctx, db, r.Item.Key, string(r.State))
	}
	box, err := outbox.New(client, store, outbox.WithSettled(settled))
	if err != nil {
		return nil, err
	}
	return &service{client.Business(), db, store, box}, nil
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reply", s.postReply)
	mux.HandleFunc("GET /reply/{key}", s.getReply)
	return mux
}

// postReply queues a reply. If an operator's browser gets no response and repeats the request
// with the same key, the reply is still posted once.
func (s *service) postReply(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	var body reply
	switch {
	case err != nil:
	case !utf8.Valid(data):
		err = errors.New("the body is not valid UTF-8") // json would replace the invalid bytes
	default:
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.queue(r.Context(), r.Header.Get("Idempotency-Key"), body); {
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case errors.Is(err, outbox.ErrKeyReused):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, chats.ErrInvalidArgument):
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// queue writes the shop's own row and the outbox item in one transaction: both or neither.
func (s *service) queue(ctx context.Context, key string, body reply) error {
	item := outbox.Item{Key: key, Chat: body.Chat, Text: body.Text}
	if err := item.Check(); err != nil { // for a better error than the database's
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if err := addReply(ctx, tx, key, body); err != nil {
		return err
	}
	if err := s.store.PutTx(ctx, tx, s.business, item); err != nil {
		return err
	}
	return tx.Commit()
}

// status is the body of GET /reply/{key}.
type status struct {
	State    outbox.State    `json:"state"`
	Message  chats.MessageID `json:"message,omitempty"`
	Attempts int             `json:"attempts"`
	Error    string          `json:"error,omitempty"`
}

func (s *service) getReply(w http.ResponseWriter, r *http.Request) {
	result, err := s.box.Get(r.Context(), r.PathValue("key"))
	switch {
	case errors.Is(err, outbox.ErrUnknownKey):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := status{State: result.State, Message: result.Message.ID, Attempts: result.Attempts}
	if result.Err != nil {
		body.Error = result.Err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // it fails only if the client is gone
}
