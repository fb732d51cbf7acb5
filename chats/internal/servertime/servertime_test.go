package servertime

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestParse_ReadsEveryForm(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 2, 11, 40, 7, 0, time.UTC)
	for _, text := range []string{
		"Mon, 02 Mar 2026 11:40:07 GMT", "Fri, 02 Mar 2026 11:40:07 GMT", ",02 Mar 2026 11:40:07 GMT", "понедельник,  02 Mar 2026 11:40:07 GMT ",
		"02 Mar 2026 11:40:07 UTC", "Mon, 02 Mar 2026 14:40:07 +0300", "Mon, 02 Mar 2026 06:40:07 -05:00",
		"Mon, 02 Mar 2026 14:40:07 MSK", "Mon, 02 Mar 2026 11:40:07",
		"Monday, 02-Mar-26 11:40:07 GMT", "Friday, 02-Mar-26 14:40:07 +0300", "Mon, 02-Mar-2026 11:40:07 GMT",
		"Mon Mar  2 11:40:07 2026", "Fri Mar 2 11:40:07 2026", "2026-03-02T11:40:07Z", "2026-03-02T14:40:07+03:00", "1772451607", " 1772451607 ", "1772451607000",
		"Mon, 02 Mar 2026 11:40:07 +0000 (UTC)", "Mon 02 Mar 2026 11:40:07 GMT", "Mon 02-Mar-26 11:40:07 GMT", "Monday, 2 March 2026 11:40:07 GMT",
		"2 march 2026 14:40:07 +03:00", "Mon Mar 02 2026 14:40:07 GMT+0300 (MSK)", "MON, 02 MAR 2026 11:40:07 gmt", "Mon Mar  2 11:40:07 UTC 2026",
		"Mon Mar 02 14:40:07 MSK 2026", "Mon, 02 Mar 26 11:40:07 GMT", "2026-03-02 14:40:07+03", "Mon, 02 Mar 2026 14:40:07 +03", "Mon, 02 Mar 2026 14:40:07 GMT+03",
		"2026-03-02T11:40:07.000+0000", "2026-03-02T11:40:07", "2026-03-02 11:40:07", "2026-03-02 14:40:07 +0300", "2026-03-02t11:40:07,000z",
		"Mon, 02 Mar 2026 11:40:07 UT", "Mon, 02 Mar 2026 06:40:07 EST", "Mon, 02 Mar 2026 04:40:07 PDT", "02-Mar-26 14:40:07 GMT+3", "2026-03-02 06:40:07-5",
		"Mon, 02 Mar 2026 11:40:07 GMT, Mon, 02 Mar 2026 11:40:07 GMT", "Mon, 02 Mar 2026 11:40:07 GMT,Mon, 02 Mar 2026 11:41:00 GMT", "1772451607, 1772451700",
		"Mon, 02 Mar 2026 11:40:07 GMT, soon", "2026-03-02T11:40:07Z,2026-03-02T11:40:07Z", "Mon, 02 Mar 2026 11:40:07 GMT, ",
		"2026-03-02 11:40:07 +0000 UTC", "20260302T114007Z", "2026/03/02 11:40:07", "02.03.2026 14:40:07 MSK",
		"2026-03-02 11:40:07 UTC", "2026-03-02T14:40:07+03:00[Europe/Moscow]", `"Mon, 02 Mar 2026 11:40:07 GMT"`, "Mon, 02 Mar 2026 11:40:07 GMT; ",
		"02/Mar/2026:14:40:07 +0300", "1772451607.000", "2026-03-02T11:40:07Z/PT1H", "Mon, 02 Mar 2026 11:40:07 GMT; resource=getChat",
	} {
		got, read := Parse(text)
		assert.True(t, read, text)
		assert.Equal(t, want, got.UTC(), text)
	}
	for _, text := range []string{"02 Mar 26 11:40 GMT", "Mon, 02 Mar 2026 14:40 +0300", "2026-03-02T11:40Z", "2026-03-02 11:40"} {
		got, read := Parse(text)
		assert.True(t, read, text)
		assert.Equal(t, want.Truncate(time.Minute), got.UTC(), text)
	}
	for _, text := range []string{
		"", "soon", ",", "Mon", "Mon ", "(", "(UTC)", "Z", "2026-03-02", "11:40:07 GMT", "Mon, 31 Feb 2026 11:40:07 GMT", "Mon, 02 Mar, Tue, 03 Mar", ",,,1", "120, 60", "02 Mar 2026 11:40:07 +", strings.Repeat("1,", 1<<20), "Mon, 02 Mar 2026 11:40:07 CEST", "120", "0", "-1772451607", "99999999999", "99999999999999", "1772451607000000", "99999999999999999999", "1772451607.", "1772451607.x", "1772451607.0.0", ".5",
	} {
		at, read := Parse(text)
		assert.False(t, read, text)
		assert.Zero(t, at, text)
	}
}

// A response without the header is the usual case.
func TestParse_AMissingHeaderCostsNothing(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(100, func() { Parse("") }))
}

func TestUntil_GoesByTheServersClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 11, 40, 0, 0, time.UTC)
	for _, tt := range []struct {
		name       string
		date       time.Time
		in         time.Duration
		want, wait time.Duration
	}{
		{"the clocks agree", now, time.Minute, time.Minute, time.Minute},
		{"no Date", time.Time{}, time.Minute, time.Minute, time.Minute},
		{"the local clock is slow", now.Add(time.Hour), 61 * time.Minute, time.Minute, time.Minute},
		{"the local clock is fast", now.Add(-59 * time.Minute), -58 * time.Minute, time.Minute, time.Minute},
		{"a response from a cache", now.Add(-48 * time.Hour), time.Minute, time.Minute, time.Minute},
		{"over", now, -time.Minute, -time.Minute, 0},
		{"far away", now, 48 * time.Hour, time.Hour, time.Hour},
	} {
		h, at := http.Header{}, now.Add(tt.in)
		if !tt.date.IsZero() {
			h.Set("Date", tt.date.Format(http.TimeFormat))
		}
		assert.Equal(t, tt.want, Until(at, h, now, time.Hour), tt.name)
		bounded := at
		if tt.want == time.Hour {
			bounded = now.Add(time.Hour)
		}
		assert.Equal(t, bounded, Bound(at, h, now, time.Hour), tt.name)
		h.Set("Retry-After", at.Format(http.TimeFormat))
		assert.Equal(t, tt.wait, RetryAfter(h, now, time.Hour), tt.name)
	}
}

func TestRetryAfter_SecondsCountFromNow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"120, 120": 2 * time.Minute, "120,60": 2 * time.Minute, ", 5": 0,
		"": 0, "soon": 0, "0": 0, "-5": 0, "120": 2 * time.Minute, "\t120": 2 * time.Minute, "7.5": 7500 * time.Millisecond, "+7": 7 * time.Second, `"7"`: 7 * time.Second, "7s": 7 * time.Second,
		"-1e999": 0, "NaN": 0, "Inf": 1 << 32 * time.Second, "7200": 2 * time.Hour, "99999999999999999999": 1 << 32 * time.Second,
	} {
		assert.Equal(t, want, RetryAfter(http.Header{"Retry-After": {text}}, time.Now(), time.Hour), text)
	}
}

func TestRetryAfter_UnixTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1795730000, 0)
	for text, want := range map[string]time.Duration{
		"1795730010": 10 * time.Second, "1795730010000": 10 * time.Second, "1795729990": 0, "1795740000": time.Hour,
		"999999999": 999999999 * time.Second, "9999999999": time.Hour, // not about now
	} {
		assert.Equal(t, want, RetryAfter(http.Header{"Retry-After": {text}}, now, time.Hour), text)
	}
}

func TestClock_FollowsTheLastDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var clock Clock
		clock.Observe(http.Header{})
		_, ok := clock.Now()
		assert.False(t, ok)
		ahead := time.Now().Add(26 * time.Hour).UTC().Truncate(time.Second)
		clock.Observe(http.Header{"Date": {ahead.Format(http.TimeFormat)}})
		<-time.After(time.Minute)
		clock.Observe(http.Header{"Date": {"soon"}})
		now, ok := clock.Now()
		assert.True(t, ok)
		assert.Equal(t, ahead.Add(time.Minute), now)
	})
}
