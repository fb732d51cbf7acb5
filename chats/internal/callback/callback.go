// Package callback calls functions of the program that uses the library, which may
// panic, call runtime.Goexit, never return, or return errors whose Error method panics.
package callback

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// slowAfter is how long a function may run before that is reported.
const slowAfter = time.Minute

// Error is a failed call.
type Error struct {
	Err  error  // what the function returned; its Error method does not panic
	Text string // of the error, or of a panic with its stack
}

func (e *Error) Error() string { return e.Text }

// Call is how a function is called.
type Call struct {
	Name    string                      // of the function, in texts: "the handler"
	Timeout time.Duration               // the function is given up on after that; 0 means never
	Slow    func(running time.Duration) // called while the function still runs, after a minute, 2 min, 4 min ...
}

// Do calls f in a goroutine of its own. It returns nil if f returns nil.
func (c Call) Do(f func() error) *Error {
	done := make(chan *Error, 1)
	go func() {
		err := errors.New(c.Name + " ended its goroutine")
		failed := &Error{err, err.Error()}
		defer func() {
			_ = recover() // the value's method that renders it may panic, too
			done <- failed
		}()
		defer func() {
			if cause := recover(); cause != nil {
				failed = panicked(fmt.Sprintf("panic: a value of type %T", cause)) // unless it can be rendered
				failed = panicked(fmt.Sprintf("panic: %v", cause))
			}
		}()
		failed = errorOf(f())
	}()
	return c.await(done)
}

// Client calls f, which uses a client: a hook, a limiter or a credential source that panics or
// calls runtime.Goexit is a failure like any other.
func Client[T any](f func() (T, error)) (result T, err error) {
	failed := Call{Name: "a function of the client", Slow: func(time.Duration) {}}.Do(func() (err error) {
		result, err = f()
		return err
	})
	switch {
	case failed == nil:
		return result, nil
	case failed.Err.Error() == failed.Text:
		return result, failed.Err
	default:
		return result, errors.New(failed.Text) // with the stack
	}
}

// panicked must be called while the goroutine panics.
func panicked(text string) *Error {
	return &Error{errors.New(text), fmt.Sprintf("%s\n%s", text, debug.Stack())}
}

func (c Call) await(done <-chan *Error) *Error {
	var expired <-chan time.Time
	if c.Timeout > 0 {
		limit := time.NewTimer(c.Timeout)
		defer limit.Stop()
		expired = limit.C
	}
	began, slow := time.Now(), time.NewTimer(slowAfter)
	defer slow.Stop()
	for {
		select {
		case failed := <-done:
			return failed
		case <-expired:
			err := fmt.Errorf("no return within %s", c.Timeout)
			return &Error{err, err.Error()}
		case <-slow.C:
			running := time.Since(began)
			slow.Reset(running)
			c.Slow(running)
		}
	}
}

// errorOf returns nil for nil. The text is rendered here, because the Error method of the
// error may panic, for example on a nil pointer.
func errorOf(err error) (failed *Error) {
	if err == nil {
		return nil
	}
	defer func() {
		if recover() != nil {
			safe := fmt.Errorf("an error of type %T whose Error method panics", err)
			failed = &Error{safe, safe.Error()}
		}
	}()
	return &Error{err, err.Error()}
}
