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

// errInputEnded is returned if the operator's input has ended, so that nothing more can be
// confirmed.
var errInputEnded = errors.New("the input has ended")

// operator is the person at the desk.
type operator struct {
	lines <-chan string
	out   io.Writer
	echo  bool // print the lines, because the terminal does not show them
}

// newOperator reads lines from in until in ends or ctx is done. A read from a terminal cannot be
// cancelled, so it happens in a separate goroutine.
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
			return "", errInputEnded
		case o.echo:
			_, _ = fmt.Fprintln(o.out, line)
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// confirms returns true only for an explicit yes.
func (o *operator) confirms(ctx context.Context, question string) (bool, error) {
	line, err := o.ask(ctx, question+" [y/N]")
	switch strings.ToLower(line) {
	case "y", "yes", "д", "да":
		return true, nil
	}
	return false, err
}

// number asks until the operator enters a number from 1 to limit, or an empty line, for
// which it returns 0.
func (o *operator) number(ctx context.Context, question string, limit int64) (int64, error) {
	for {
		line, err := o.ask(ctx, question)
		if err != nil || line == "" {
			return 0, err
		}
		if n, err := strconv.ParseInt(line, 10, 64); err == nil && n >= 1 && n <= limit {
			return n, nil
		}
		_, _ = fmt.Fprintf(o.out, "Enter a number from 1 to %d, or nothing for none.\n", limit)
	}
}
