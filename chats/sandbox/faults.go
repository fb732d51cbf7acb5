package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

const maxRules = 50

const internalError = `{"status":"ERROR","errors":[{"code":"INTERNAL_ERROR","message":"Internal server error"}]}`

// faultKinds has the faults that the page offers, in the order of the page.
var faultKinds = []faultKind{
	{"parallel420", chatstest.RateLimitedParallel},
	{"hourly420", func() chatstest.Fault {
		return chatstest.RateLimitedHourly(time.Now().Truncate(time.Hour).Add(time.Hour))
	}},
	{"short420", func() chatstest.Fault { return chatstest.RateLimitedHourly(time.Now().Add(15 * time.Second)) }},
	{"before500", func() chatstest.Fault { return chatstest.Status(http.StatusInternalServerError, internalError) }},
	{"after500", func() chatstest.Fault { return chatstest.StatusAfter(http.StatusInternalServerError, internalError) }},
	{"html502", func() chatstest.Fault { return chatstest.HTML(http.StatusBadGateway) }},
	{"retry503", func() chatstest.Fault {
		return chatstest.Respond(http.StatusServiceUnavailable, http.Header{"Retry-After": {"5"}}, internalError)
	}},
	{"unauthorized", func() chatstest.Fault {
		return chatstest.Status(http.StatusUnauthorized, `{"status":"ERROR","errors":[{"code":"UNAUTHORIZED","message":"Api-Key is unknown"}]}`)
	}},
	{"forbidden", func() chatstest.Fault {
		return chatstest.Status(http.StatusForbidden, `{"status":"ERROR","errors":[{"code":"FORBIDDEN","message":"Access denied"}]}`)
	}},
	{"gateway404", func() chatstest.Fault { return chatstest.HTML(http.StatusNotFound) }},
	{"dropBefore", chatstest.DropBefore},
	{"dropAfter", chatstest.DropAfter},
	{"processLate", func() chatstest.Fault { return chatstest.ProcessLate(5 * time.Second) }},
	{"slowHeaders", func() chatstest.Fault { return chatstest.SlowHeaders(5 * time.Second) }},
	{"hang", func() chatstest.Fault { return chatstest.SlowHeaders(2 * time.Minute) }},
	{"slowBody", func() chatstest.Fault { return chatstest.SlowBody(5 * time.Second) }},
	{"truncate", func() chatstest.Fault { return chatstest.Truncate(20) }},
	{"truncateSilently", func() chatstest.Fault { return chatstest.TruncateSilently(20) }},
	{"malformed", func() chatstest.Fault { return chatstest.Malformed(`{"status":"OK","result":{"chats":`) }},
	{"replay", chatstest.Replay},
	{"badStatusLine", func() chatstest.Fault { return chatstest.BadStatusLine("SSH-2.0-OpenSSH_9.2p1") }},
	{"endless", chatstest.EndlessBody},
}

type faultKind struct {
	name string
	make func() chatstest.Fault
}

func faultNames() []string {
	names := make([]string, len(faultKinds))
	for i, k := range faultKinds {
		names[i] = k.name
	}
	return names
}

// rule makes calls fail.
type rule struct {
	ID        int             `json:"id"`
	Operation chats.Operation `json:"operation"` // empty: all operations
	Fault     string          `json:"fault"`
	Left      int             `json:"left"` // calls; -1: always
}

// faultPlan decides which of the next calls fail.
type faultPlan struct {
	mu     sync.Mutex
	rules  []rule
	lastID int
}

// add adds a rule after the existing ones.
func (p *faultPlan) add(r rule) error {
	known := slices.Contains(faultNames(), r.Fault)
	isOperation := r.Operation == "" || r.Operation == chats.OpDownload
	for _, op := range operations {
		isOperation = isOperation || op == r.Operation
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !known:
		return fmt.Errorf("unknown fault %q", r.Fault)
	case !isOperation:
		return fmt.Errorf("unknown operation %q", r.Operation)
	case r.Left == 0 || r.Left < -1 || r.Left > 1000:
		return fmt.Errorf("%d calls: must be 1 to 1000, or -1 for all", r.Left)
	case len(p.rules) >= maxRules:
		return fmt.Errorf("there are %d faults already", maxRules)
	}
	p.lastID++
	r.ID = p.lastID
	p.rules = append(p.rules, r)
	return nil
}

// remove removes a rule, or all of them if id is 0.
func (p *faultPlan) remove(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(r rule) bool { return id == 0 || r.ID == id })
}

func (p *faultPlan) all() []rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]rule{}, p.rules...)
}

// take returns the fault of a call, and its name, which is empty if the call succeeds.
func (p *faultPlan) take(op chats.Operation) (chatstest.Fault, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.rules {
		if op == "" || r.Operation != "" && r.Operation != op || r.Operation == "" && op == chats.OpDownload {
			continue
		}
		if r.Left > 0 {
			p.rules[i].Left--
		}
		if p.rules[i].Left == 0 {
			p.rules = slices.Delete(p.rules, i, i+1)
		}
		at := slices.Index(faultNames(), r.Fault)
		return faultKinds[at].make(), r.Fault
	}
	return chatstest.OK(), ""
}
