package chats

// messageKey names a message that a confirmed send has returned: it cannot be an altered copy
// of another one.
type messageKey struct {
	chat    ChatID
	message MessageID
}

// doubtKey names a send whose message may not be visible yet.
type doubtKey struct {
	chat    ChatID
	op      Operation
	content string
}
