package chats

// messageKey identifies a message that a confirmed send has returned. Such a message cannot be
// an altered copy of another one.
type messageKey struct {
	chat    ChatID
	message MessageID
}

// doubtKey identifies a send whose message may not be visible yet.
type doubtKey struct {
	chat    ChatID
	op      Operation
	content string
}
