package chats

// messageKey names a message that a confirmed send has returned: it cannot be an altered copy
// of another one.
type messageKey struct {
	chat    ChatID
	message MessageID
}

// sinceOf returns the operation of the key under which the time is kept at which a send began.
func sinceOf(op Operation) Operation { return op + " since" }

// doubtKey names a send whose message may not be visible yet.
type doubtKey struct {
	chat    ChatID
	op      Operation
	content string
}
