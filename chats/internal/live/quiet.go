package live

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// quietly reports what the contract has against an exchange, each once, without
// the values that the validator would quote.
type quietly struct {
	testing.TB

	mu   sync.Mutex
	said map[string]bool
}

func quiet(tb testing.TB) testing.TB {
	tb.Helper()
	return &quietly{TB: tb, said: map[string]bool{}}
}

func (q *quietly) Errorf(_ string, args ...any) {
	q.Helper()
	what := ""
	for _, arg := range args {
		if err, isError := arg.(error); isError {
			for _, shape := range contract.Shapes(err) {
				q.say(what + shape)
			}
			continue
		}
		what += fmt.Sprint(arg) + ": "
	}
}

func (q *quietly) say(text string) {
	q.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.said[text] {
		q.said[text] = true
		q.TB.Errorf("contract: %s", text)
	}
}
