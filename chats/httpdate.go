package chats

import (
	"strconv"
	"strings"
	"time"
)

// dateLayouts are the layouts of HTTP dates (RFC 1123, RFC 850 and ANSI C) and of RFC 3339,
// without the name of the day before the comma, which Market is known to get wrong.
var dateLayouts = []string{
	"2 Jan 2006 15:04:05 Z0700", "2 Jan 2006 15:04:05 Z07:00", "2 Jan 2006 15:04:05",
	"2-Jan-06 15:04:05 Z0700", "2-Jan-2006 15:04:05 Z0700", time.ANSIC, time.RFC3339,
}

// zones replaces the names of time zones, whose offsets package time does not know.
var zones = strings.NewReplacer("GMT", "Z", "UTC", "Z", "MSK", "+0300")

// httpDate parses an HTTP date, or the seconds since 1970.
func httpDate(text string) (time.Time, bool) {
	if seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		return time.Unix(seconds, 0), seconds > 1e9 && seconds < 1e11
	}
	if _, date, found := strings.Cut(text, ","); found {
		text = date
	}
	text = strings.Join(strings.Fields(zones.Replace(text)), " ")
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
