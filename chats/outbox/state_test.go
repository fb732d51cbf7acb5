package outbox

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

// Transitions are those of the package documentation.
var transitions = map[State][]State{
	Queued:    {Sending, Failed, Expired, Discarded},
	Sending:   {Sent, Failed, Uncertain, Expired, Queued},
	Uncertain: {Sent, Discarded, Queued},
	Sent:      {}, Failed: {}, Expired: {}, Discarded: {},
}

var states = []State{Queued, Sending, Sent, Failed, Uncertain, Expired, Discarded}

func TestResolve_AllowsWhatTheStateAllows(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		as      Resolution
		allowed []State
		same    State
	}{
		{"resend", Resend(), []State{Uncertain}, Queued},
		{"discard", Discard(), []State{Queued, Uncertain}, Discarded},
		{"mark sent", MarkSent(9), []State{Uncertain}, Sent},
	} {
		for _, state := range states {
			r := Record{State: state, Attempts: 3, Accepted: true, Baseline: []chats.MessageID{1}, Reported: true, Failure: &Failure{}}
			if state == Sent {
				r.Message.ID = c.as.message
			}
			changed, err := r.resolve(c.as, now)
			switch {
			case state == c.same:
				assert.NoError(t, err, "%s of %s: repeated", c.name, state)
				assert.False(t, changed)
			case !assert.ObjectsAreEqual(err == nil, slices.Contains(c.allowed, state)):
				t.Errorf("%s of %s: %v", c.name, state, err)
			case err != nil:
				assert.ErrorIs(t, err, ErrState)
				assert.Equal(t, state, r.State)
			default:
				assert.True(t, changed)
				assert.Contains(t, transitions[state], r.State)
				assert.False(t, r.Reported, "it is reported again")
				assert.Equal(t, 3, r.Attempts)
				assert.Equal(t, r.State == Queued, r.SettledAt.IsZero())
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
	for _, state := range states {
		assert.Equal(t, state != Queued && state != Sending, state.IsSettled(), state)
		assert.Equal(t, state.IsSettled() && state != Uncertain, state.isFinal(), state)
	}
}
