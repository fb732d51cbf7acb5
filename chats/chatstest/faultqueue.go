package chatstest

import (
	"context"

	"github.com/ymchats/ymchats-go/chats"
)

// Fail makes the next requests for an operation fail, one per fault, in order. A client that
// retries uses up one fault per attempt. Later calls to Fail add to the queue.
func (m *Market) Fail(op chats.Operation, faults ...Fault) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	m.faults[op] = append(m.faults[op], faults...)
}

// FailFunc sets a function that selects the fault of every request for which [Market.Fail] has
// none. The function receives the operation and the number of the request, counted per operation
// from 1. It is called for one request at a time, so a random choice needs no lock. It may call the
// Market's methods, except FailFunc itself, but must not make requests to the Market. FailFunc(nil)
// removes the function.
func (m *Market) FailFunc(choose func(op chats.Operation, n int) Fault) {
	m.failMu.Lock()
	defer m.failMu.Unlock()
	m.failFunc = choose
}

type faultKey struct{}

// ContextWithFault returns a context with a fault. Requests with this context get that fault,
// regardless of [Market.Fail] and [Market.FailFunc]. A server that wraps [Market.ServeHTTP] can
// thus choose the fault of a single request.
func ContextWithFault(ctx context.Context, fault Fault) context.Context {
	return context.WithValue(ctx, faultKey{}, fault)
}

// takeFault counts a call and returns its fault.
func (m *Market) takeFault(ctx context.Context, op chats.Operation) Fault {
	if fault, ok := ctx.Value(faultKey{}).(Fault); ok {
		m.count(op)
		return fault
	}
	fault, n, queued := m.queuedFault(op)
	if queued || op == "" {
		return fault
	}
	m.failMu.Lock()
	defer m.failMu.Unlock()
	if m.failFunc == nil {
		return Fault{}
	}
	return m.failFunc(op, n)
}

func (m *Market) count(op chats.Operation) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	m.calls[op]++
}

func (m *Market) queuedFault(op chats.Operation) (fault Fault, n int, queued bool) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	m.calls[op]++
	queue := m.faults[op]
	if len(queue) == 0 {
		return Fault{}, m.calls[op], false
	}
	m.faults[op] = queue[1:]
	return queue[0], m.calls[op], true
}
