package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// savedItem are the columns that a save writes.
var savedItem = strings.Fields("state due_at error attempts first_attempt last_attempt message settled_at reported data")

func itemArgs(r *outbox.Record) ([]any, error) {
	d := outboxDocument{
		Failures: r.Failures, Refusals: r.Refusals, Reports: r.Reports, Token: r.Token, Baseline: r.Baseline, Floor: r.Floor,
		Accepted: r.Accepted, Message: r.Message,
	}
	reason := ""
	if r.Failure != nil {
		reason, d.StatusCode, d.Details = storable(r.Failure.Reason), r.Failure.StatusCode, r.Failure.Details
	}
	data, err := json.Marshal(d)
	return []any{
		r.Item.Key, r.Version, string(r.State), max(r.DueAt.UnixMicro(), 0), reason, r.Attempts, micros(r.FirstAttempt), micros(r.LastAttempt),
		sql.NullInt64{Int64: int64(r.Message.ID), Valid: r.Message.ID != 0},
		micros(r.SettledAt), r.Reported, string(data),
	}, err
}

// saveItem saves a record if there is a lease l that meets the condition lease, which has the
// parameters args. An empty condition is always met. args begin with the business.
func (s *Store) saveItem(ctx context.Context, r *outbox.Record, lease string, args []any) error {
	values, err := itemArgs(r)
	if err != nil {
		return s.errorf(err, "encoding an item of business %d", r.Business)
	}
	save := itemSave{s, lease, args, values, r.State.IsSettled() && r.State != outbox.Uncertain}
	if s.db.dialect == PostgreSQL {
		_, err = run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (struct{}, error) {
			return struct{}{}, save.statement(ctx, conn)
		})
	} else {
		err = s.inTx(ctx, statementTimeout, save.tx)
	}
	if err != nil && isTakenMessage(err) {
		return outbox.ErrMessageTaken
	}
	if err != nil {
		return s.errorf(err, "saving an item of business %d", r.Business)
	}
	r.Version++
	return nil
}

type itemSave struct {
	*Store

	lease   string
	args    []any // parameters of lease
	values  []any // key, version, and the values of savedItem
	isFinal bool
}

// update returns an UPDATE whose parameter ?1 is the business; the values begin at ?n.
func (s *itemSave) update(n int, from string) string {
	sets := make([]string, len(savedItem))
	for i, name := range savedItem {
		sets[i] = name + " = ?" + strconv.Itoa(n+2+i)
	}
	return `UPDATE {p}outbox AS o SET version = o.version + 1, ` + strings.Join(sets, ", ") + from +
		` WHERE o.business = ?1 AND o.key = ?` + strconv.Itoa(n) + ` AND o.version = ?` + strconv.Itoa(n+1)
}

// statement saves on PostgreSQL. It locks the item, then the lease, then writes, for the same
// reasons as postgresSave.
func (s *itemSave) statement(ctx context.Context, conn *sql.Conn) error {
	key := "?" + strconv.Itoa(len(s.args)+1)
	query, from := `WITH lease AS (SELECT 1), `, ""
	if s.lease != "" {
		query, from = `WITH item AS (SELECT 1 FROM {p}outbox WHERE business = ?1 AND key = `+key+` FOR UPDATE),
			lease AS (SELECT 1 FROM {p}leases AS l, (SELECT count(*) FROM item) AS i WHERE `+s.lease+` FOR SHARE OF l), `, ` FROM lease`
	}
	query += `saved AS (` + s.update(len(s.args)+1, from) + ` RETURNING 1)`
	if s.isFinal {
		query += `, deleted AS (DELETE FROM {p}outbox_files WHERE business = ?1 AND key = ` + key + ` AND EXISTS (SELECT 1 FROM saved))`
	}
	query += ` SELECT EXISTS (SELECT 1 FROM lease), EXISTS (SELECT 1 FROM saved)`
	var held, saved bool
	err := conn.QueryRowContext(ctx, s.sql(query), append(s.args, s.values...)...).Scan(&held, &saved)
	switch {
	case err != nil:
		return err
	case !held:
		return inbox.ErrLeaseLost
	case !saved:
		return outbox.ErrConflict
	default:
		return nil
	}
}

// tx saves on SQLite, whose transactions have exclusive access to the file.
func (s *itemSave) tx(ctx context.Context, conn *sql.Conn) error {
	if s.lease != "" {
		err := conn.QueryRowContext(ctx, s.sql(`SELECT 1 FROM {p}leases AS l WHERE `+s.lease), s.args...).Scan(new(int))
		if errors.Is(err, sql.ErrNoRows) {
			return inbox.ErrLeaseLost
		}
		if err != nil {
			return err
		}
	}
	n, err := affected(conn.ExecContext(ctx, s.sql(s.update(2, "")), append(s.args[:1:1], s.values...)...))
	if err == nil && n == 0 {
		err = outbox.ErrConflict
	}
	if err != nil || !s.isFinal {
		return err
	}
	_, err = conn.ExecContext(ctx, s.sql(`DELETE FROM {p}outbox_files WHERE business = ?1 AND key = ?2`), s.args[0], s.values[0])
	return err
}
