package outbox

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/msgtext"
	"github.com/ymchats/ymchats-go/chats/internal/upload"
)

var (
	// ErrKeyReused is returned by [Outbox.Put] if a key belongs to an item with a different chat or
	// content. In that case, Put adds nothing.
	ErrKeyReused = errors.New("outbox: the key belongs to an item with different content")
	// ErrUnknownKey is returned if no item has the key, or if the item has been deleted.
	ErrUnknownKey = errors.New("outbox: no item has this key")
)

// MaxKeyLength is the maximum length of a key, in bytes.
const MaxKeyLength = 200

// Item is a text or a file to be posted to a chat.
type Item struct {
	Key  string // the caller's idempotency key, unique per business: 1 to 200 bytes of UTF-8 without NUL
	Chat chats.ChatID

	Text     string // valid UTF-8, 1 to 4,096 characters, no NUL characters, and at least one visible character (HTML-escaped whitespace is not visible); empty for a file
	FileName string // as for [chats.Client.SendFile]; empty for a text
	File     []byte // 1 byte to 5 MiB; nil for a text

	// NotAfter is the time after which the item expires instead of being posted; zero means never.
	// An item queued behind another one in its chat expires only when its turn comes.
	NotAfter time.Time
}

// IsFile reports whether the item is a file.
func (i *Item) IsFile() bool { return i.FileName != "" }

func checkKey(key string) error {
	switch {
	case key == "" || len(key) > MaxKeyLength:
		return badArgument("key", "must have 1 to 200 bytes")
	case !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return badArgument("key", "must be valid UTF-8 without a zero byte")
	default:
		return nil
	}
}

// Check returns a [chats.ArgumentError] if the item is invalid.
func (i *Item) Check() error {
	switch err := checkKey(i.Key); {
	case err != nil:
		return err
	case i.Chat < 1:
		return badArgument("chat", "must be greater than 0")
	case i.IsFile() && i.Text != "":
		return badArgument("text", "an item has a text or a file, not both")
	case i.IsFile():
		return i.checkFile()
	case len(i.File) > 0:
		return badArgument("file name", "is empty")
	default:
		return i.checkText()
	}
}

func (i *Item) checkText() error {
	switch n := utf8.RuneCountInString(i.Text); {
	case msgtext.Normalize(i.Text) == "":
		return badArgument("text", "is empty or blank")
	case !utf8.ValidString(i.Text) || strings.ContainsRune(i.Text, 0):
		return badArgument("text", "must be valid UTF-8 without a zero byte")
	case n > chats.MaxTextLength:
		return badArgument("text", fmt.Sprintf("%d characters, at most %d allowed: chats.SplitText splits it", n, chats.MaxTextLength))
	default:
		return nil
	}
}

func (i *Item) checkFile() error {
	switch reason := upload.CheckFileName(i.FileName); {
	case reason != "":
		return badArgument("file name", reason)
	case len(i.File) == 0:
		return badArgument("file", "is empty")
	case len(i.File) > chats.MaxFileSize:
		return badArgument("file", "larger than 5242880 bytes, the maximum that Market accepts")
	default:
		return nil
	}
}

// Digest returns a hash of the chat and the content. Two items with the same key must have
// the same digest. NotAfter is not included, because a retried Put may compute a later one.
func (i *Item) Digest() [sha256.Size]byte {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, int64(i.Chat)) // a hash never returns an error
	for _, part := range [][]byte{[]byte(i.Text), []byte(i.FileName), i.File} {
		_ = binary.Write(h, binary.BigEndian, int64(len(part)))
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// CheckItems checks items and returns them without duplicates. A [Store] calls it at the
// start of Put. The error is a [chats.ArgumentError], or [ErrKeyReused] if two of the items
// have the same key but a different chat or content.
func CheckItems(items []Item) ([]Item, error) {
	digests := make(map[string][sha256.Size]byte, len(items))
	unique := make([]Item, 0, len(items))
	for n := range items {
		item := &items[n]
		if err := item.Check(); err != nil {
			return nil, err
		}
		digest := item.Digest()
		if known, ok := digests[item.Key]; !ok {
			digests[item.Key] = digest
			unique = append(unique, *item)
		} else if known != digest {
			return nil, ErrKeyReused
		}
	}
	return unique, nil
}

// Result is an item and its outcome.
type Result struct {
	Business chats.BusinessID
	Item     Item // without the bytes of its file
	State    State
	// Message is the message in the chat if State is Sent. After MarkSent, only its ID is set.
	Message   chats.Message
	Attempts  int   // requests that may have posted the item
	Err       error // a *[Failure], or nil
	QueuedAt  time.Time
	SettledAt time.Time // zero if it is not settled
}

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "outbox", Field: field, Reason: reason}
}
