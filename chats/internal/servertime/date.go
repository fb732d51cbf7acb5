// Package servertime reads the times in the headers of responses and relates them to the local
// clock, which may be wrong.
package servertime

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dateLayouts are the layouts of HTTP dates (RFC 1123, 822, 850 and ANSI C), of ISO 8601,
// JavaScript and Java, each without the name of the day, which Market is known to get wrong, and
// without the zone.
var dateLayouts = []string{
	"2 Jan 2006 15:04:05", "2 January 2006 15:04:05", "2-Jan-06 15:04:05", "2-Jan-2006 15:04:05", "Jan 2 15:04:05 2006",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", "Jan 2 2006 15:04:05", "Jan 2 15:04:05 Z0700 2006", "2 Jan 06 15:04:05",
	"2 Jan 2006 15:04", "2 Jan 06 15:04", "2006-01-02T15:04", "2006-01-02 15:04", "20060102T150405", "2006/01/02 15:04:05", "2.1.2006 15:04:05",
	"2/Jan/2006:15:04:05",
}

// zones replaces the names of time zones, those of RFC 822 and Moscow's, with offsets, which package
// time does not know.
var zones = strings.NewReplacer("GMT+", "+", "GMT-", "-", "GMT", "Z", "UTC+", "+", "UTC-", "-", "UTC", "Z", "UT", "Z", "MSK", "+0300",
	"EST", "-0500", "EDT", "-0400", "CST", "-0600", "CDT", "-0500", "MST", "-0700", "MDT", "-0600", "PST", "-0800", "PDT", "-0700")

// zoneLayouts are the layouts of time zones after zones has replaced their names.
var zoneLayouts = []string{"", "Z0700", " Z0700", "Z07:00", " Z07:00", "Z07", " Z07", " Z0700 Z"}

const digits = "0123456789"

// maxJoined is the maximum length of a header in which Parse looks for several dates.
const maxJoined = 256

// Parse parses an HTTP date, an ISO 8601 date with a time, or the seconds or milliseconds
// since 1970. If a proxy has joined several with commas, it parses the first one. The time is zero
// if ok is false.
func Parse(text string) (at time.Time, ok bool) {
	if at, ok = parseOne(text); ok || len(text) > maxJoined {
		return at, ok
	}
	if last := strings.LastIndexByte(text, ','); last >= 0 {
		return Parse(text[:last])
	}
	return at, false
}

func parseOne(text string) (at time.Time, ok bool) {
	if !strings.ContainsAny(text, digits) { // most responses lack some headers, and trying every layout is slow
		return time.Time{}, false
	}
	if t, err := time.Parse(http.TimeFormat, text); err == nil { // almost always
		return t, true
	}
	whole, fraction, hasFraction := strings.Cut(strings.TrimSpace(text), ".")
	isNumber := !hasFraction || fraction != "" && strings.Trim(fraction, digits) == ""
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && isNumber {
		switch {
		case n > 9e8 && n < 1e10:
			return time.Unix(n, 0), true
		case n > 9e11 && n < 1e13:
			return time.UnixMilli(n), true
		}
		return time.Time{}, false
	}
	text = strings.ToUpper(strings.Trim(text, `"'; `))
	if end := strings.IndexAny(text, "([;"); end >= 0 { // the name of the zone, or a parameter
		text = text[:end]
	}
	text, _, _ = strings.Cut(text, "/P") // an ISO 8601 interval
	if day, date, found := strings.Cut(text, ","); found && !strings.ContainsAny(day, digits) {
		text = date
	}
	fields := strings.Fields(zones.Replace(text))
	if len(fields) > 1 && !strings.ContainsAny(fields[0], digits) { // the name of the day without a comma
		fields = fields[1:]
	}
	text = strings.Join(fields, " ")
	if end := len(text) - 1; end > 0 && (text[end-1] == '+' || text[end-1] == '-') { // an offset of one digit
		text = text[:end] + "0" + text[end:]
	}
	for _, layout := range dateLayouts {
		for _, zone := range zoneLayouts {
			if t, err := time.Parse(layout+zone, text); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// Until returns the time until at, but at most longest. It uses the Date of the response, because
// the clocks may differ, unless that Date is implausible: a cache may have kept the response for
// days.
func Until(at time.Time, h http.Header, now time.Time, longest time.Duration) time.Duration {
	in := at.Sub(now)
	if date, ok := Parse(h.Get("Date")); ok {
		if byServer := at.Sub(date); byServer > 0 && byServer <= longest {
			in = byServer
		}
	}
	return min(in, longest)
}

// Bound returns at, or now plus longest if at is further away than longest by both clocks.
func Bound(at time.Time, h http.Header, now time.Time, longest time.Duration) time.Time {
	if at.Sub(now) >= longest && Until(at, h, now, longest) == longest {
		return now.Add(longest)
	}
	return at
}
