package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// errLeft: the input has ended, so nobody is there to say yes.
var errLeft = errors.New("the operator has left")

// operator is the person at the desk.
type operator struct {
	lines <-chan string
	out   io.Writer
	echo  bool // what is answered is printed: nobody sees it being typed
}

// newOperator reads in until it or the context ends. A terminal cannot be waited for
// together with a context, so a goroutine of its own reads it.
func newOperator(ctx context.Context, in io.Reader, out io.Writer, echo bool) *operator {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return &operator{lines: lines, out: out, echo: echo}
}

func (o *operator) ask(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprintf(o.out, "%s ", question)
	select {
	case line, ok := <-o.lines:
		switch {
		case !ok && ctx.Err() != nil:
			return "", ctx.Err()
		case !ok:
			_, _ = fmt.Fprintln(o.out)
			return "", errLeft
		case o.echo:
			_, _ = fmt.Fprintln(o.out, line)
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// agrees is true for a yes and nothing else.
func (o *operator) agrees(ctx context.Context, question string) (bool, error) {
	answer, err := o.ask(ctx, question+" [y/N]")
	switch strings.ToLower(answer) {
	case "y", "yes", "д", "да":
		return true, nil
	}
	return false, err
}

// number asks until it gets a number from 1 to most, or nothing, which is 0.
func (o *operator) number(ctx context.Context, question string, most int64) (int64, error) {
	for {
		answer, err := o.ask(ctx, question)
		if err != nil || answer == "" {
			return 0, err
		}
		if n, err := strconv.ParseInt(answer, 10, 64); err == nil && n >= 1 && n <= most {
			return n, nil
		}
		_, _ = fmt.Fprintf(o.out, "A number from 1 to %d, or Enter for none.\n", most)
	}
}
