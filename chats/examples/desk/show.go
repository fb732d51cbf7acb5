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

// say prints. A terminal that is gone ends the program by its signal.
func (d *desk) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format, args...)
}

func (d *desk) list() {
	d.say("Chats that wait for the shop: %d\n", len(d.taken))
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	for i, c := range d.taken {
		_, _ = fmt.Fprintf(table, "  %d\t%s\t%s\t%s\n", i+1, clock(c.UpdatedAt), buyer(c.Chat), about(c.Chat))
	}
	_ = table.Flush()
}

// show prints one message. It may have a text, files, both or, as a sticker, neither.
func (d *desk) show(chat chats.Chat, message chats.Message) {
	text := printable(message.Text)
	switch {
	case text != "":
		text = ": " + text
	case len(message.Files) == 0:
		text = ": (sticker)"
	}
	d.say("  %s  %s%s\n", clock(message.CreatedAt), author(chat, message.Sender), text)
	for _, file := range message.Files {
		d.say("  %19s+ %s, %s\n", "", printable(file.Name), size(file.Size))
	}
}

func title(chat chats.Chat) string {
	return fmt.Sprintf("%s, %s, chat %d, opened %s", buyer(chat), about(chat), chat.ID, chat.CreatedAt.Format("02.01.2006"))
}

// buyer is often nameless: the name comes from the public profile.
func buyer(chat chats.Chat) string { return cmp.Or(printable(chat.Customer.Name), "the buyer") }

func author(chat chats.Chat, sender chats.Sender) string {
	switch sender {
	case chats.SenderCustomer:
		return buyer(chat)
	case chats.SenderPartner:
		return "Shop"
	case chats.SenderMarket:
		return "Market"
	case chats.SenderSupport:
		return "Market's support"
	default:
		return printable(string(sender)) // a word that is newer than this program
	}
}

func about(chat chats.Chat) string {
	var text string
	switch subject := chat.Subject; subject.Kind {
	case chats.SubjectOrder:
		text = fmt.Sprintf("order %d", subject.Order)
	case chats.SubjectReturn:
		text = fmt.Sprintf("return %d of order %d", subject.Return, subject.Order)
	case chats.SubjectDirect:
		text = "a question without an order"
	default:
		text = printable(string(subject.Kind))
	}
	if chat.Type == chats.ChatTypeArbitrage {
		text += ", a dispute"
	}
	return text
}

// clock is a time in the zone that Market gave it in.
func clock(t time.Time) string { return t.Format("02.01 15:04:05") }

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%.1f KB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20))
}

// printable keeps strangers from sending the terminal anything but text.
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

// isOfOneChat tells what concerns one answer, file or order from what would meet
// every other call as well.
func isOfOneChat(err error) bool {
	if errors.Is(err, chats.ErrNotFound) || errors.Is(err, chats.ErrOutcomeUnknown) || errors.Is(err, chats.ErrInvalidArgument) {
		return true
	}
	var refused *chats.Error
	var path *fs.PathError
	return errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest || errors.As(err, &path)
}

// advice says what to do about a kind of error, beyond what the error itself says.
var advice = []struct {
	kind error
	text string
}{
	{chats.ErrOutcomeUnknown, "Look into the chat before you send it again."},
	{chats.ErrUnauthorized, envKey + " is not a key that Market knows. Take it from the cabinet, under API and modules, without any prefix."},
	{chats.ErrForbidden, "The key must have the access communication (or all-methods), and " + envBusiness + " must be its own cabinet: GET v2/campaigns tells the id."},
	{chats.ErrNotFound, "Is the number right, and of this cabinet?"},
	{chats.ErrRateLimited, "Everything that uses this cabinet shares the allowance: see what else does, or come back later."},
	{chats.ErrServer, "Market has trouble. The desk has tried several times; come back in some minutes."},
	{chats.ErrProtocol, "The answer was not Market's: look for a proxy on the way, and for a newer version of the library."},
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
		lines = append(lines, "Market's support will ask for this: traceparent "+failed.TraceParent)
	}
	return strings.Join(lines, "\n  ")
}
