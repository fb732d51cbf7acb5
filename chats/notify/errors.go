package notify

import "github.com/ymchats/ymchats-go/chats"

// ParseError reports a notification that cannot be used. It never quotes the
// notification.
type ParseError struct {
	Business chats.BusinessID // 0 if the notification does not name it
	Type     string           // notificationType if the notification is about a chat, otherwise empty
	Field    string           // name of the field in the contract, empty if the error concerns the whole body
	Reason   string           // the rule that was violated
}

// Error implements error.
func (e *ParseError) Error() string { return "notify: " + e.detail() }

// detail returns the text of the error without the package, as sent to the sender.
func (e *ParseError) detail() string {
	text := e.Reason
	if e.Field != "" {
		text = e.Field + " " + text
	}
	if e.Type != "" {
		text = e.Type + ": " + text
	}
	return text
}

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "notify", Field: field, Reason: reason}
}
