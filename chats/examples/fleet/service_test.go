package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A process with a wrong setting does not start: every step that it made would fail.
func TestNewService_RefusesWrongSettings(t *testing.T) {
	t.Parallel()
	good := settings{database: "postgres://127.0.0.1:1/none", interval: time.Minute, log: slog.New(slog.DiscardHandler)}
	for want, change := range map[string]func(*settings){
		"DATABASE_URL": func(s *settings) { s.database = "" },
		"-poll":        func(s *settings) { s.interval = 0 },
		"base URL":     func(s *settings) { s.market = "market.example" },
		"parse":        func(s *settings) { s.database = "not a URL" },
		"refused":      func(*settings) {}, // by the port
	} {
		bad := good
		change(&bad)
		_, err := newService(t.Context(), bad)
		assert.ErrorContains(t, err, want)
	}
}
