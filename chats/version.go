package chats

// Version is the version of this library. Every request sends it in the User-Agent.
const Version = "0.1.0"
