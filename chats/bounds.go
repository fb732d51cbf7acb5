package chats

// The limits of the API contract.
const (
	MaxChatsPage   = 20      // chats per page
	MaxHistoryPage = 100     // messages per page
	MaxTextLength  = 4096    // characters (not bytes) per message
	MaxFileSize    = 5 << 20 // bytes per file
)

// maxRequestBody is the documented maximum size of a request without a file, in bytes.
const maxRequestBody = 512 << 10
