package sqlstore

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// column is one that a Save writes. set is what it becomes in a row that exists: t is
// the row, excluded what is saved.
type column struct{ name, kind, set string }

// A wake that came after the row was loaded keeps its due time, see [inbox.Store].Save.
var chatColumns = []column{
	{name: "chat", kind: "BIGINT"},
	{name: "wakes", kind: "BIGINT", set: "t.wakes"},
	{name: "seen_wakes", kind: "BIGINT"},
	{name: "open", kind: "BOOLEAN"},
	{name: "checkpoint", kind: "BIGINT"},
	{name: "updated_at", kind: "BIGINT"},
	{name: "due_at", kind: "BIGINT", set: `CASE WHEN t.wakes = excluded.wakes OR t.due_at IS NULL THEN excluded.due_at
		WHEN excluded.due_at < t.due_at THEN excluded.due_at ELSE t.due_at END`},
	{name: "head", kind: "BIGINT"},
	{name: "attempts", kind: "BIGINT"},
	{name: "failing_since", kind: "BIGINT"},
	{name: "failure", kind: "TEXT"},
	{name: "state", kind: "TEXT"},
}

var businessColumns = []column{
	{name: "start_time", kind: "BIGINT"},
	{name: "last_error", kind: "TEXT"},
	{name: "last_error_at", kind: "BIGINT"},
	{name: "state", kind: "TEXT"},
}

type chatRow struct {
	Chat         chats.ChatID    `json:"chat"`
	Version      int64           `json:"version"`
	Wakes        int64           `json:"wakes"`
	SeenWakes    int64           `json:"seen_wakes"`
	Open         bool            `json:"open"`
	Checkpoint   chats.MessageID `json:"checkpoint"`
	UpdatedAt    *int64          `json:"updated_at"`
	DueAt        *int64          `json:"due_at"`
	Head         chats.MessageID `json:"head"`
	Attempts     int             `json:"attempts"`
	FailingSince *int64          `json:"failing_since"`
	Failure      string          `json:"failure"`
	State        string          `json:"state"`
}

// chatDocument is the content of the column state: fields that no statement queries.
type chatDocument struct {
	Snapshot    chats.Chat        `json:"snapshot,omitzero"`
	Read        bool              `json:"read,omitempty"`
	Handled     []chats.MessageID `json:"handled,omitempty"`
	SeenAt      *int64            `json:"seen_at,omitempty"`
	Explained   bool              `json:"explained,omitempty"`
	Unexplained int               `json:"unexplained,omitempty"`
}

func newChatRow(s inbox.ChatState) (chatRow, error) {
	document, err := json.Marshal(chatDocument{
		Snapshot: s.Snapshot, Read: s.Read, Handled: s.Handled, SeenAt: micros(s.SeenAt), Explained: s.Explained,
		Unexplained: s.Unexplained,
	})
	return chatRow{
		Chat: s.Chat, Version: s.Version, Wakes: s.Wakes, SeenWakes: s.SeenWakes, Open: s.Open, Checkpoint: s.Checkpoint,
		UpdatedAt: micros(s.UpdatedAt), DueAt: micros(s.DueAt),
		Head: s.Head, Attempts: s.Attempts, FailingSince: micros(s.FailingSince), Failure: storable(s.Failure), State: string(document),
	}, err
}

const selectChats = `SELECT chat, version, wakes, seen_wakes, open, checkpoint, updated_at, due_at, head, attempts,
	failing_since, failure, state FROM {p}inbox_chats `

type scanner interface{ Scan(dest ...any) error }

func scanChat(from scanner) (inbox.ChatState, error) {
	var r chatRow
	err := from.Scan(&r.Chat, &r.Version, &r.Wakes, &r.SeenWakes, &r.Open, &r.Checkpoint, &r.UpdatedAt, &r.DueAt,
		&r.Head, &r.Attempts, &r.FailingSince, &r.Failure, &r.State)
	if err != nil {
		return inbox.ChatState{}, err
	}
	var d chatDocument
	if err := json.Unmarshal([]byte(r.State), &d); err != nil {
		return inbox.ChatState{}, err
	}
	return inbox.ChatState{
		Chat: r.Chat, Version: r.Version, Wakes: r.Wakes, SeenWakes: r.SeenWakes, Open: r.Open, Checkpoint: r.Checkpoint,
		UpdatedAt: timeOf(r.UpdatedAt), DueAt: timeOf(r.DueAt),
		Head: r.Head, Attempts: r.Attempts, FailingSince: timeOf(r.FailingSince), Failure: r.Failure,
		Snapshot: d.Snapshot, Read: d.Read, Handled: d.Handled, SeenAt: timeOf(d.SeenAt), Explained: d.Explained,
		Unexplained: d.Unexplained,
	}, nil
}

type businessRow struct {
	Version     int64  `json:"version"`
	StartTime   *int64 `json:"start_time"`
	LastError   string `json:"last_error"`
	LastErrorAt *int64 `json:"last_error_at"`
	State       string `json:"state"`
}

// newBusinessRow stores the fields without a column in the document.
func newBusinessRow(s inbox.BusinessState) (businessRow, error) {
	r := businessRow{
		Version: s.Version, StartTime: micros(s.StartTime), LastError: storable(s.LastError), LastErrorAt: micros(s.LastErrorAt),
	}
	s.StartTime, s.LastError, s.LastErrorAt = time.Time{}, "", time.Time{}
	document, err := json.Marshal(s)
	r.State = string(document)
	return r, err
}

const selectBusiness = `SELECT version, start_time, last_error, last_error_at, state FROM {p}inbox_businesses WHERE business = ?1`

func scanBusiness(from scanner) (inbox.BusinessState, error) {
	var r businessRow
	var s inbox.BusinessState
	if err := from.Scan(&r.Version, &r.StartTime, &r.LastError, &r.LastErrorAt, &r.State); err != nil {
		return s, err
	}
	err := json.Unmarshal([]byte(r.State), &s)
	s.Version, s.StartTime, s.LastError, s.LastErrorAt = r.Version, timeOf(r.StartTime), r.LastError, timeOf(r.LastErrorAt)
	return s, err
}

// micros returns microseconds since 1970, and nil for the zero time.
func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixMicro()
	return &n
}

func timeOf(micros *int64) time.Time {
	if micros == nil {
		return time.Time{}
	}
	return time.UnixMicro(*micros).UTC()
}

// storable returns text without the characters that PostgreSQL refuses.
func storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}
