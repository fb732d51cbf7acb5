package main

import (
	"fmt"
	"io"
)

// commentary explains what the desk prints: it translates Russian texts and names the calls.
// The zero value prints nothing.
type commentary struct {
	on      bool
	dim     bool              // with escape sequences
	english map[string]string // by Russian text
}

// call prints the call that performed a step.
func (c commentary) call(out io.Writer, format string, args ...any) {
	c.print(out, "> "+fmt.Sprintf(format, args...))
}

// translate prints the English translation of text, if there is one.
func (c commentary) translate(out io.Writer, indent, text string) {
	if translation := c.english[text]; translation != "" {
		c.print(out, indent+"("+translation+")")
	}
}

func (c commentary) print(out io.Writer, line string) {
	switch {
	case c.on && c.dim:
		_, _ = fmt.Fprintf(out, "\x1b[2m%s\x1b[0m\n", line)
	case c.on:
		_, _ = fmt.Fprintln(out, line)
	}
}

// name adds the English spelling to a name.
func (c commentary) name(name string) string {
	if translation := c.english[name]; translation != "" {
		return name + " (" + translation + ")"
	}
	return name
}
