package outbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

// Actor is who changes the state of an item.
type Actor string

// The actors: the process that serves the business, and a person.
const (
	Worker  Actor = "a worker"
	Resolve Actor = "Resolve"
)

// Transition is a change of the state.
type Transition struct{ From, To State }

// Transitions are all that exist. The tests compare them with the drawing in the package
// documentation, with what Resolve allows, and with everything that workers save.
var Transitions = map[Transition]Actor{
	{Queued, Sending}:      Worker,
	{Queued, Failed}:       Worker,
	{Queued, Expired}:      Worker,
	{Queued, Discarded}:    Resolve,
	{Sending, Queued}:      Worker,
	{Sending, Sent}:        Worker,
	{Sending, Failed}:      Worker,
	{Sending, Uncertain}:   Worker,
	{Sending, Expired}:     Worker,
	{Uncertain, Queued}:    Resolve,
	{Uncertain, Sent}:      Resolve,
	{Uncertain, Discarded}: Resolve,
}

// States are all states.
var States = []State{Queued, Sending, Sent, Failed, Uncertain, Expired, Discarded}

func TestResolve_AllowsWhatTheStateAllows(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		as   Resolution
		to   State
	}{
		{"resend", Resend(), Queued},
		{"discard", Discard(), Discarded},
		{"mark sent", MarkSent(9), Sent},
	} {
		for _, state := range States {
			r := Record{State: state, Attempts: 3, Accepted: true, Baseline: []chats.MessageID{1}, Reported: true, Failure: &Failure{}}
			if state == Sent {
				r.Message.ID = c.as.message
			}
			changed, err := r.resolve(c.as, now)
			switch {
			case state == c.to:
				assert.NoError(t, err, "%s of %s: repeated", c.name, state)
				assert.False(t, changed)
			case !assert.ObjectsAreEqual(err == nil, Transitions[Transition{state, c.to}] == Resolve):
				t.Errorf("%s of %s: %v", c.name, state, err)
			case err != nil:
				assert.ErrorIs(t, err, ErrState)
				assert.Equal(t, state, r.State)
			default:
				assert.True(t, changed)
				assert.Equal(t, c.to, r.State)
				assert.False(t, r.Reported, "it is reported again")
				assert.Equal(t, 3, r.Attempts)
				assert.Equal(t, r.State == Queued, r.SettledAt.IsZero())
				assert.Equal(t, r.State == Discarded, r.Failure != nil)
				if r.State == Queued {
					assert.Empty(t, r.Baseline, "a resent item is a fresh one")
					assert.False(t, r.Accepted)
				}
			}
		}
	}
	r := Record{State: Sent, Message: chats.Message{ID: 8}}
	_, err := r.resolve(MarkSent(9), now)
	assert.ErrorIs(t, err, ErrState, "another message")
}

func TestState_IsSettled(t *testing.T) {
	t.Parallel()
	for _, state := range States {
		assert.Equal(t, state != Queued && state != Sending, state.IsSettled(), state)
		assert.Equal(t, state.IsSettled() && state != Uncertain, state.isFinal(), state)
	}
}
