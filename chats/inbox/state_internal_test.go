package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Only a time that no delay can explain comes from a clock that was ahead.
func TestAdjust_TimesOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		const latest = time.Hour + maxHandlerBackoff
		for name, tt := range map[string]struct {
			row  ChatState
			want time.Time
		}{
			"a recheck tomorrow":         {ChatState{SeenAt: now, DueAt: now.Add(24 * time.Hour)}, now.Add(24 * time.Hour)},
			"the longest delay":          {ChatState{FailingSince: now, DueAt: now.Add(latest)}, now.Add(latest)},
			"a longer one":               {ChatState{FailingSince: now, DueAt: now.Add(latest + 1)}, now},
			"seen in a minute":           {ChatState{SeenAt: now.Add(time.Minute), DueAt: now.Add(time.Hour)}, now.Add(time.Hour)},
			"seen later than that":       {ChatState{SeenAt: now.Add(time.Minute + 1), DueAt: now.Add(time.Hour)}, now},
			"failing since a later time": {ChatState{FailingSince: now.Add(time.Minute + 1), DueAt: now.Add(time.Hour)}, now},
		} {
			assert.Equal(t, tt.want.Equal(now), tt.row.adjust(now), name)
			assert.Equal(t, tt.want, tt.row.DueAt, name)
		}
		for name, tt := range map[string]struct {
			sweep SweepState
			want  time.Time
		}{
			"tomorrow's":                     {SweepState{FinishedAt: now, NextAt: now.Add(24 * time.Hour)}, now.Add(24 * time.Hour)},
			"a retry in two hours":           {SweepState{FinishedAt: now, Failures: 1, NextAt: now.Add(2 * time.Hour)}, now.Add(2 * time.Hour)},
			"a later retry":                  {SweepState{FinishedAt: now, Failures: 1, NextAt: now.Add(2*time.Hour + 1)}, now},
			"begun by a clock an hour ahead": {SweepState{StartedAt: now.Add(time.Hour), NextAt: now.Add(90 * time.Minute)}, now.Add(30 * time.Minute)},
		} {
			tt.sweep.adjust(now)
			assert.Equal(t, tt.want, tt.sweep.NextAt, name)
		}
	})
}
