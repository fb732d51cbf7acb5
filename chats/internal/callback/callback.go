// Package callback calls functions supplied by the user of the library, which may panic, call
// runtime.Goexit, never return, or return errors whose Error method panics.
package callback

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// slowAfter is how long a function may run before it is first reported as slow.
const slowAfter = time.Minute

// Error is a failed call.
type Error struct {
	Err  error  // the error of the function; its Error method does not panic
	Text string // of the error, or of a panic including its stack
}

func (e *Error) Error() string { return e.Text }

// Call configures a call to a function.
type Call struct {
	Name    string                      // of the function, for errors, such as "the handler"
	Timeout time.Duration               // after which the function is abandoned; 0 means never
	Slow    func(running time.Duration) // called while the function is running, after 1, 2, 4 ... min; may be nil
}

// Do calls f in a separate goroutine. It returns nil if f returns nil.
func (c Call) Do(f func() error) *Error {
	done := make(chan *Error, 1)
	go func() {
		err := errors.New(c.Name + " ended its goroutine")
		failed := &Error{err, err.Error()}
		defer func() {
			_ = recover() // formatting the value may panic, too
			done <- failed
		}()
		defer func() {
			if cause := recover(); cause != nil {
				failed = panicked(fmt.Sprintf("panic: a value of type %T", cause)) // in case formatting it panics
				failed = panicked(fmt.Sprintf("panic: %v", cause))
			}
		}()
		failed = errorOf(f())
	}()
	return c.await(done)
}

// Client calls f, which uses a client. If a hook, limiter or credential source of the client
// panics or calls runtime.Goexit, Client returns an error. slow is the Slow of a [Call].
func Client[T any](slow func(running time.Duration), f func() (T, error)) (result T, err error) {
	failed := Call{Name: "a function of the client", Slow: slow}.Do(func() (err error) {
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

// panicked returns the error for a panic. It must be called while the goroutine is panicking.
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
			if c.Slow != nil {
				c.Slow(running)
			}
		}
	}
}

// errorOf returns an Error for err, or nil if err is nil. It calls the Error method of err, which
// may panic, for example on a nil pointer.
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
