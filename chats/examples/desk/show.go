package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/ymchats/ymchats-go/chats"
)

// indent aligns the rest of a message with its author.
const indent = "               "

// say prints to the operator. Write errors are ignored: if the terminal is closed, a signal
// ends the program.
func (d *desk) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format, args...)
}

func (d *desk) call(format string, args ...any) { d.comment.call(d.out, format, args...) }

func (d *desk) printList() {
	d.say("Chats waiting for the shop: %d\n", len(d.conversations))
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	for i, c := range d.conversations {
		_, _ = fmt.Fprintf(table, "  %d\t%s\t%s\t%s\n", i+1, formatTime(c.UpdatedAt), d.comment.name(customer(c.Chat)), subject(c.Chat))
	}
	_ = table.Flush()
}

// printMessage prints one message. It has a text, files, both or, if it is a sticker, neither.
func (d *desk) printMessage(chat chats.Chat, message chats.Message) {
	text := printable(message.Text)
	switch {
	case text != "":
		text = ": " + text
	case len(message.Files) == 0:
		text = ": (sticker)"
	}
	d.say("  %s  %s%s\n", formatTime(message.CreatedAt), author(chat, message.Sender), text)
	d.comment.translate(d.out, indent, message.Text)
	for _, file := range message.Files {
		d.say("%s+ %s, %s\n", indent, printable(file.Name), formatSize(file.Size))
	}
}

func (d *desk) title(chat chats.Chat) string {
	return fmt.Sprintf("%s, %s, chat %d, opened %s",
		d.comment.name(customer(chat)), subject(chat), chat.ID, chat.CreatedAt.Format("02.01.2006"))
}

// customer returns the name in the customer's public profile, which many profiles lack.
func customer(chat chats.Chat) string { return cmp.Or(printable(chat.Customer.Name), "the customer") }

func author(chat chats.Chat, sender chats.Sender) string {
	switch sender {
	case chats.SenderCustomer:
		return customer(chat)
	case chats.SenderPartner:
		return "Shop"
	case chats.SenderMarket:
		return "Market"
	case chats.SenderSupport:
		return "Market's support"
	default:
		return printable(string(sender)) // a value newer than this program
	}
}

func subject(chat chats.Chat) string {
	var text string
	switch s := chat.Subject; s.Kind {
	case chats.SubjectOrder:
		text = fmt.Sprintf("order %d", s.Order)
	case chats.SubjectReturn:
		text = fmt.Sprintf("return %d of order %d", s.Return, s.Order)
	case chats.SubjectDirect:
		text = "a question without an order"
	default:
		text = printable(string(s.Kind))
	}
	if chat.Type == chats.ChatTypeArbitrage {
		text += ", a dispute"
	}
	return text
}

// formatTime formats a time in the time zone of the response.
func formatTime(t time.Time) string { return t.Format("02.01 15:04") }

func formatSize(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%.1f KB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20))
}

// printable removes control sequences, which would otherwise reach the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// concernsOneStep reports whether err concerns only one text, file or order, so that the
// next step may succeed.
func concernsOneStep(err error) bool {
	if errors.Is(err, chats.ErrNotFound) || errors.Is(err, chats.ErrInvalidArgument) || mayBePosted(err) {
		return true
	}
	var failed *chats.Error
	var path *fs.PathError
	return errors.As(err, &failed) && failed.StatusCode == http.StatusBadRequest || errors.As(err, &path)
}

// mayBePosted reports whether a send that failed with err may have posted its text or file.
func mayBePosted(err error) bool {
	return errors.Is(err, chats.ErrOutcomeUnknown) || errors.Is(err, chats.ErrUnconfirmed)
}

// advice says what to do about an error, in addition to its text.
var advice = []struct {
	kind error
	text string
}{
	{chats.ErrOutcomeUnknown, "Check the chat before sending it again."},
	{chats.ErrUnconfirmed, "Check what the chat shows."},
	{chats.ErrUnauthorized, envKey + " is not a valid key. Copy it from the cabinet, under API and modules, without a prefix."},
	{chats.ErrForbidden, "The key needs the scope communication (or all-methods), and " + envBusiness + " must be the cabinet of the key: GET v2/campaigns returns the ID."},
	{chats.ErrNotFound, "Check the number and whether it belongs to this cabinet."},
	{chats.ErrRateLimited, "All programs of this cabinet share the quota. Find out what else uses it, or try later."},
	{chats.ErrServer, "Market has failed several times in a row. Try again in a few minutes."},
	{chats.ErrProtocol, "The response is not from Market. Check for a proxy in between, and for a newer version of the library."},
}

func explain(err error) string {
	lines := []string{err.Error()}
	for _, a := range advice {
		if errors.Is(err, a.kind) {
			lines = append(lines, a.text)
			break
		}
	}
	var failed *chats.Error
	if errors.As(err, &failed) && failed.TraceParent != "" {
		lines = append(lines, "For Market's support: traceparent "+failed.TraceParent)
	}
	return strings.Join(lines, "\n  ")
}
