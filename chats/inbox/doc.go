// Package inbox delivers every message of a business's chats to a handler, at least once
// until it is handled and never afterwards, across restarts and machines.
package inbox
