package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

// A gap of more than a minute between two refusals, or an acceptance, starts the minute anew.
func TestRefusals_EndAMinuteAfterTheFirst(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		gaps     []time.Duration
		accepted int // after that many gaps
		ended    bool
	}{
		"one":                        {gaps: []time.Duration{0}},
		"just below a minute":        {gaps: []time.Duration{0, 59 * time.Second}},
		"a minute":                   {gaps: []time.Duration{0, time.Minute}, ended: true},
		"a minute in steps":          {gaps: []time.Duration{0, 30 * time.Second, 30 * time.Second}, ended: true},
		"more than a minute between": {gaps: []time.Duration{0, 61 * time.Second, 59 * time.Second}},
		"accepted in between":        {gaps: []time.Duration{0, 30 * time.Second, 30 * time.Second}, accepted: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var end error
				r := &refusals{end: func(err error) { end = err }}
				for i, gap := range tt.gaps {
					time.Sleep(gap)
					if tt.accepted > 0 && i == tt.accepted {
						r.accepted()
					}
					assert.True(t, r.add(&chats.Error{StatusCode: 401}, false))
				}
				assert.Equal(t, tt.ended, end != nil)
			})
		})
	}
	r := &refusals{}
	assert.True(t, r.add(&chats.Error{StatusCode: 403}, true))
	assert.False(t, r.add(&chats.Error{StatusCode: 403}, false))
	assert.False(t, r.add(&chats.Error{StatusCode: 404}, true))
}

// Step returns the refusal of a poll, unless a later poll of the step was accepted.
func TestRefusals_OfPolls(t *testing.T) {
	t.Parallel()
	r, refusal := &refusals{}, &chats.Error{StatusCode: 401}
	r.add(refusal, true)
	assert.NoError(t, r.poll)
	r.add(refusal, false)
	assert.Equal(t, error(refusal), r.poll)
	r.accepted()
	assert.NoError(t, r.poll)
}
