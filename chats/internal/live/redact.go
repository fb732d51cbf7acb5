package live

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// redactingTB reports each violation of the contract once, without the values quoted by the
// validator.
type redactingTB struct {
	testing.TB

	mu   sync.Mutex
	seen map[string]bool
}

func redacting(tb testing.TB) testing.TB {
	tb.Helper()
	return &redactingTB{TB: tb, seen: map[string]bool{}}
}

func (r *redactingTB) Errorf(_ string, args ...any) {
	r.Helper()
	what := ""
	for _, arg := range args {
		if err, isError := arg.(error); isError {
			for _, violation := range contract.Violations(err) {
				r.reportOnce(what + violation)
			}
			continue
		}
		what += fmt.Sprint(arg) + ": "
	}
}

func (r *redactingTB) reportOnce(text string) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.seen[text] {
		r.seen[text] = true
		r.TB.Errorf("contract: %s", text)
	}
}
