package chats

// Version is the library's, as told in the User-Agent.
const Version = "0.1.0"
