package sqlstore

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

type column struct{ name, kind string }

// columnsOf parses column definitions in SQL syntax.
func columnsOf(definition string) (columns []column) {
	for part := range strings.SplitSeq(definition, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(part), " ")
		columns = append(columns, column{name, kind})
	}
	return columns
}

// list returns the names of columns, each with a prefix, separated by commas.
func list(columns []column, prefix string) string {
	names := make([]string, len(columns))
	for n, c := range columns {
		names[n] = prefix + c.name
	}
	return strings.Join(names, ", ")
}

// The columns that a Save writes, in the order of chatValues and businessValues.
var (
	chatColumns = columnsOf(`version BIGINT, chat BIGINT, wakes BIGINT, seen_wakes BIGINT, open BOOLEAN, checkpoint BIGINT,
		updated_at BIGINT, due_at BIGINT, head BIGINT, attempts BIGINT, failing_since BIGINT, failure TEXT, state TEXT`)
	businessColumns = columnsOf(`version BIGINT, start_time BIGINT, last_error TEXT, last_error_at BIGINT, state TEXT`)

	selectChats    = `SELECT ` + list(chatColumns, "") + ` FROM {p}inbox_chats `
	selectBusiness = `SELECT ` + list(businessColumns, "") + `, ` + nextDue + ` FROM {p}inbox_businesses WHERE business = ?1`
)

// nextDue is the earliest time at which a chat of the business is due.
const nextDue = `(SELECT min(due_at) FROM {p}inbox_chats WHERE business = ?1 AND due_at IS NOT NULL)`

// chatDocument is the content of the column state: fields that no statement queries.
type chatDocument struct {
	Snapshot    chats.Chat        `json:"snapshot,omitzero"`
	Read        bool              `json:"read,omitempty"`
	Handled     []chats.MessageID `json:"handled,omitempty"`
	SeenAt      time.Time         `json:"seen_at,omitzero"`
	Explained   bool              `json:"explained,omitempty"`
	Unexplained int               `json:"unexplained,omitempty"`
	Refused     time.Time         `json:"refused_since,omitzero"`
}

func chatValues(s inbox.ChatState) ([]any, error) {
	document, err := json.Marshal(chatDocument{s.Snapshot, s.Read, s.Handled, utc(s.SeenAt), s.Explained, s.Unexplained, utc(s.RefusedSince)})
	return []any{
		s.Version, s.Chat, s.Wakes, s.SeenWakes, s.Open, s.Checkpoint, micros(s.UpdatedAt), micros(s.DueAt),
		s.Head, s.Attempts, micros(s.FailingSince), storable(s.Failure), string(document),
	}, err
}

// parameter encodes rows as a parameter for records.
func parameter[T any](rows []T, values func(T) ([]any, error)) (string, error) {
	var err error
	all := make([][]any, len(rows))
	for n := range rows {
		if all[n], err = values(rows[n]); err != nil {
			return "", err
		}
	}
	document, err := json.Marshal(all)
	return string(document), err
}

type scanner interface{ Scan(dest ...any) error }

func scanChat(from scanner) (s inbox.ChatState, err error) {
	var document string
	err = from.Scan(&s.Version, &s.Chat, &s.Wakes, &s.SeenWakes, &s.Open, &s.Checkpoint, (*storedTime)(&s.UpdatedAt), (*storedTime)(&s.DueAt),
		&s.Head, &s.Attempts, (*storedTime)(&s.FailingSince), &s.Failure, &document)
	if err != nil {
		return s, err
	}
	var d chatDocument
	err = json.Unmarshal([]byte(document), &d)
	s.Snapshot, s.Read, s.Handled, s.SeenAt = d.Snapshot, d.Read, d.Handled, d.SeenAt
	s.Explained, s.Unexplained, s.RefusedSince = d.Explained, d.Unexplained, d.Refused
	return s, err
}

// businessValues stores the fields without a column in the document.
func businessValues(s inbox.BusinessState) ([]any, error) {
	rest := s
	rest.StartTime, rest.LastError, rest.LastErrorAt = time.Time{}, "", time.Time{}
	document, err := json.Marshal(rest)
	return []any{s.Version, micros(s.StartTime), storable(s.LastError), micros(s.LastErrorAt), string(document)}, err
}

func scanBusiness(from scanner) (s inbox.BusinessState, err error) {
	var version int64
	var start, failed, due storedTime
	var failure, document string
	if err := from.Scan(&version, &start, &failure, &failed, &document, &due); err != nil {
		return s, err
	}
	err = json.Unmarshal([]byte(document), &s)
	s.Version, s.DueAt, s.StartTime = version, time.Time(due), time.Time(start)
	s.LastError, s.LastErrorAt = failure, time.Time(failed)
	return s, err
}

func scanValue[T any](from scanner) (value T, err error) {
	err = from.Scan(&value)
	return value, err
}

// The earliest and the latest time that is stored. The microseconds of times much further away
// overflow, and those of the zero time mean that there is none.
var (
	earliest = time.Time{}.Add(time.Microsecond)
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// micros returns microseconds since 1970, or nil for the zero time.
func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := wait.Earliest(wait.Later(t, earliest), latest).UnixMicro()
	return &n
}

// utc returns a time in the form in which a document stores it.
func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// storedTime scans a time that was stored by micros.
type storedTime time.Time

// Scan implements [sql.Scanner].
func (t *storedTime) Scan(value any) error {
	switch n := value.(type) {
	case nil:
		*t = storedTime{}
	case int64:
		*t = storedTime(time.UnixMicro(n).UTC())
	default:
		return fmt.Errorf("a time is stored as %T", value)
	}
	return nil
}

// storable returns text without characters that PostgreSQL refuses.
func storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}
