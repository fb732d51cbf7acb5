package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// admin serves the status of an inbox to operators and their monitoring. It shows IDs, times and
// numbers, but no errors: they may quote a response or a message. The log has them.
type admin struct {
	in      *inbox.Inbox
	maxLag  time.Duration
	started time.Time
}

// adminHandler serves GET /healthz, the status as JSON, and GET /metrics, the same as Prometheus
// metrics. Both respond with 503 if the store fails. /healthz also does if the inbox is behind:
// if a chat has been due, or no sweep has ended, for more than maxLag. Before the first sweep of
// a business has ended, the start of this process counts instead. Do not use it as a liveness
// probe, because restarting an inbox that is behind does not help.
func adminHandler(in *inbox.Inbox, maxLag time.Duration) http.Handler {
	a := &admin{in, maxLag, time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.health)
	mux.HandleFunc("GET /metrics", a.metrics)
	return mux
}

// health is the body of GET /healthz.
type health struct {
	Behind        bool                      `json:"behind"`
	Role          inbox.Role                `json:"role"`
	Holder        string                    `json:"holder,omitempty"`
	Since         time.Time                 `json:"since,omitzero"`
	Chats         int                       `json:"chats"`
	Due           int                       `json:"due"`
	OldestDue     time.Time                 `json:"oldest_due,omitzero"`
	LastSweep     time.Time                 `json:"last_sweep,omitzero"`
	LastFullSweep time.Time                 `json:"last_full_sweep,omitzero"`
	NextSweep     time.Time                 `json:"next_sweep,omitzero"`
	LastErrorAt   time.Time                 `json:"last_error_at,omitzero"`
	Failing       []failing                 `json:"failing"`
	Quota         map[chats.Operation]quota `json:"quota"`
}

type failing struct {
	Chat     chats.ChatID `json:"chat"`
	Since    time.Time    `json:"since"`
	Attempts int          `json:"attempts"`
}

type quota struct {
	Max       int       `json:"max"`
	Remaining int       `json:"remaining"`
	Until     time.Time `json:"until"`
}

func (a *admin) health(w http.ResponseWriter, r *http.Request) {
	s, ok := a.status(w, r)
	if !ok {
		return
	}
	due, sweep := a.lags(&s)
	body := health{
		Behind: due > a.maxLag || sweep > a.maxLag, Role: s.Role, Holder: s.Holder, Since: s.Since,
		Chats: s.Chats, Due: s.Due, OldestDue: s.OldestDue,
		LastSweep: s.LastSweep, LastFullSweep: s.LastFullSweep, NextSweep: s.NextSweep, LastErrorAt: s.LastErrorAt,
		Failing: []failing{}, Quota: map[chats.Operation]quota{},
	}
	for _, c := range s.Failing {
		body.Failing = append(body.Failing, failing{c.Chat, c.FailingSince, c.Attempts})
	}
	for op, limit := range s.Quota {
		body.Quota[op] = quota{limit.Max, limit.Remaining, limit.Until}
	}
	w.Header().Set("Content-Type", "application/json")
	if body.Behind {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // it fails only if the client is gone
}

func (a *admin) metrics(w http.ResponseWriter, r *http.Request) {
	if s, ok := a.status(w, r); ok {
		due, sweep := a.lags(&s)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = fmt.Fprint(w, metrics(&s, due, sweep))
	}
}

// status responds with 503 and returns false if the store fails or does not respond in time.
func (a *admin) status(w http.ResponseWriter, r *http.Request) (inbox.Status, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	s, err := a.in.Status(ctx)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		http.Error(w, "the store failed", http.StatusServiceUnavailable)
	}
	return s, err == nil
}

// lags returns for how long the oldest due chat has been due, and how long ago the last sweep
// ended.
func (a *admin) lags(s *inbox.Status) (due, sweep time.Duration) {
	if !s.OldestDue.IsZero() {
		due = max(0, time.Since(s.OldestDue))
	}
	if s.LastSweep.IsZero() {
		return due, time.Since(a.started)
	}
	return due, max(0, time.Since(s.LastSweep))
}

// metrics returns the status in Prometheus's text format.
func metrics(s *inbox.Status, due, sweep time.Duration) string {
	var b strings.Builder
	family := func(name, help string) {
		fmt.Fprintf(&b, "# HELP ymchats_inbox_%s %s\n# TYPE ymchats_inbox_%[1]s gauge\n", name, help)
	}
	gauge := func(name, help string, value float64) {
		family(name, help)
		fmt.Fprintf(&b, "ymchats_inbox_%s %v\n", name, value)
	}
	leader := 0.0
	if s.Role == inbox.RoleLeader {
		leader = 1
	}
	gauge("leader", "1 if this process delivers the messages, 0 otherwise.", leader)
	gauge("chats", "Known chats.", float64(s.Chats))
	gauge("due_chats", "Chats to be polled now.", float64(s.Due))
	gauge("oldest_due_seconds", "How long the oldest due chat has been due.", due.Seconds())
	gauge("failing_chats", "Chats that cannot be handled or read, 100 at most.", float64(len(s.Failing)))
	gauge("last_sweep_seconds", "Time since the last sweep ended or, before the first one, since the start.", sweep.Seconds())
	family("quota_remaining", "Requests that the inbox may still make in the quota window.")
	for _, op := range slices.Sorted(maps.Keys(s.Quota)) {
		fmt.Fprintf(&b, "ymchats_inbox_quota_remaining{operation=\"%s\"} %d\n", escape.Replace(string(op)), s.Quota[op].Remaining)
	}
	return b.String()
}

// escape escapes the value of a label.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
