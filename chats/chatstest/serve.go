package chatstest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// inflight is one request from its arrival until its response has been delivered.
type inflight struct {
	op       chats.Operation
	fault    Fault
	latency  time.Duration
	admitted bool   // it is within the limit of concurrent requests
	done     func() // to be called at the end; further calls have no effect
}

// begin counts a request and takes its fault.
func (m *Market) begin(ctx context.Context, op chats.Operation) *inflight {
	f := &inflight{op: op, fault: m.takeFault(ctx, op), admitted: true, done: func() {}}
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	f.latency = m.settings.latency
	if f.fault.dialError || !isAPI(op) {
		return f
	}
	f.admitted = m.limits.acquire()
	f.done = sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.limits.release()
	})
	return f
}

// serve responds to a request. It returns an error only if the context is done
// before the response's header is due.
func (m *Market) serve(ctx context.Context, f *inflight, r *request) (response, error) {
	if f.fault.respond == nil && !f.admitted {
		m.lockAndCatchUp()
		defer m.mu.Unlock()
		return m.finish(m.limits.parallelExceeded(r.op, time.Now())), nil
	}
	if err := sleep(ctx, f.latency+f.fault.delay); err != nil {
		return response{}, err
	}
	resp := m.process(f, r).withoutForbiddenBody()
	return resp, sleep(ctx, resp.headerDelay)
}

func (m *Market) process(f *inflight, r *request) response {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	r.at = time.Now()
	if f.fault.late > 0 {
		r.at = r.at.Add(f.fault.late)
		m.schedule(time.Now(), r.at, func() { m.handle(r) })
		return response{dropped: true}
	}
	if f.fault.respond != nil {
		return m.finish(f.fault.respond(m.limits, r.op))
	}
	if previous, ok := m.served[r.op]; ok && f.fault.replay {
		return previous.copied()
	}
	resp := m.finish(m.handle(r))
	m.served[r.op] = resp.copied()
	if f.fault.rewrite != nil {
		resp = f.fault.rewrite(resp)
	}
	return resp
}

// finish adds the headers that every response has, unless a fault has set them.
func (m *Market) finish(resp response) response {
	m.traces++
	for name, value := range map[string]string{
		"Date":        time.Now().UTC().Format(http.TimeFormat),
		"Traceparent": fmt.Sprintf("00-%032x-%016x-01", m.traces, m.traces),
	} {
		if _, set := resp.header[name]; !set && !resp.dropped {
			resp.header.Set(name, value)
		}
	}
	return resp
}
