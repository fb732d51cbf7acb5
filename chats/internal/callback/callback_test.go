package callback

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// endlessError panics with itself, which package fmt does not survive.
type endlessError struct{}

func (endlessError) Error() string { panic(endlessError{}) }

// exitingError ends the goroutine that renders it.
type exitingError struct{}

func (exitingError) Error() string { runtime.Goexit(); return "" }

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

var errDown = errors.New("down")

func TestCall_ReturnsWhatTheFunctionDid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    func() error
		text string
	}{
		"an error":                           {func() error { return errDown }, "down"},
		"a panic":                            {func() error { panic("a bug") }, "panic: a bug\ngoroutine "},
		"Goexit":                             {func() error { runtime.Goexit(); return nil }, "the handler ended its goroutine"},
		"a typed nil":                        {func() error { return (*nilError)(nil) }, "an error of type *callback.nilError whose Error method panics"},
		"a panic with an error that panics":  {func() error { panic(endlessError{}) }, "panic: a value of type callback.endlessError\ngoroutine "},
		"a panic with an error that exits":   {func() error { panic(exitingError{}) }, "panic: a value of type callback.exitingError\ngoroutine "},
		"an error that ends the goroutine":   {func() error { return exitingError{} }, "the handler ended its goroutine"},
		"an error that panics with an error": {func() error { return endlessError{} }, "an error of type callback.endlessError whose Error method panics"},
		"it runs long":                       {func() error { <-time.After(time.Hour); return nil }, "no return within 10m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				failed := Call{Name: "the handler", Timeout: 10 * time.Minute, Slow: func(time.Duration) {}}.Do(c.f)
				if assert.NotNil(t, failed) {
					assert.Contains(t, failed.Error(), c.text)
					assert.NotPanics(t, func() { _ = failed.Err.Error() })
				}
				<-time.After(time.Hour) // the function has returned
			})
		})
	}
	assert.ErrorIs(t, Call{}.Do(func() error { return errDown }).Err, errDown)
	assert.Nil(t, Call{}.Do(func() error { return nil }))
}

func TestCall_ReportsWhatStillRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running []time.Duration
		call := Call{Slow: func(d time.Duration) { running = append(running, d) }}
		assert.Nil(t, call.Do(func() error { <-time.After(10 * time.Minute); return nil }))
		assert.Equal(t, []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute}, running)
	})
}

func TestClient_ReturnsWhatTheFunctionDid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    func() (int, error)
		text string
	}{
		"an error": {func() (int, error) { return 7, errDown }, "down"},
		"a panic":  {func() (int, error) { panic("a bug") }, "panic: a bug\ngoroutine "},
		"Goexit":   {func() (int, error) { runtime.Goexit(); return 7, nil }, "a function of the client ended its goroutine"},
	} {
		_, err := Client(nil, c.f)
		assert.ErrorContains(t, err, c.text, name)
	}
	n, err := Client(nil, func() (int, error) { return 7, errDown })
	assert.Equal(t, 7, n)
	assert.Equal(t, errDown, err, "not wrapped")
	_, err = Client(nil, func() (int, error) { return 7, nil })
	assert.NoError(t, err)
}
