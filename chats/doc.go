// Package chats talks with the buyers of a shop on Yandex Market: it reads the chats
// of a business, answers in them, sends files and opens chats about orders and
// returns. It wraps the client that is generated from the contract (package gen).
//
//	client, err := chats.New(business, chats.APIKey(key))
//	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
//	for chat, err := range client.Chats(ctx, waiting) { ... }
//
// # Authentication
//
// A [Client] belongs to one business and one [Credential]: an [APIKey], made in the
// seller's cabinet under API and modules, or an [OAuthToken]. The business id is told
// by GET v2/campaigns of the Partner API. Reading needs one of the key's scopes
// communication, all-methods and all-methods:read-only; writing one of
// communication and all-methods. The credential goes to the base URL's host and
// nowhere else, redirects included, and shows in no error, log line or dump.
//
// # Reading
//
// [Client.Chats] lists chats, [Client.History] reads a chat's messages above an id;
// both are sequences to range over: lazy, repeatable, all pages, each item once.
// History is ascending whatever the server's order, so the id received last is all
// that a program has to keep. [Client.ChatsPage] and [Client.HistoryPage] are one
// request each. Words and fields that the contract does not have yet never fail an
// answer: the types of words are open, and Known tells.
//
// # Sending
//
// [Client.SendText] and [Client.SendFile] post at most once. [Client.SendTextConfirmed]
// posts exactly once and returns the message with its id. [Client.OpenChat] opens the
// chat about an order or a return, or finds it. Arguments are checked before anything
// is sent; a failed check is an [ArgumentError].
//
// # Retries
//
// What may be repeated depends on what an operation does, not on its HTTP method: the
// reads and OpenChat may, a send only when it is certain that nothing was processed. This
// is what comes of each failure; "repeated" is up to RetryPolicy.MaxAttempts, and what
// the last attempt failed with is returned:
//
//	failure                  | reads, OpenChat | SendText, SendFile
//	no connection            | repeated       | repeated
//	dropped, timed out       | repeated       | ErrOutcomeUnknown
//	420, parallel            | repeated       | repeated
//	420, hour ends soon      | repeated       | repeated
//	420, hour ends late      | ErrRateLimited | ErrRateLimited
//	5xx                      | repeated       | ErrServer, ErrOutcomeUnknown
//	401                      | ErrUnauthorized | ErrUnauthorized
//	403                      | ErrForbidden   | ErrForbidden
//	404                      | ErrNotFound    | ErrNotFound
//	other 4xx, 3xx           | Error          | Error
//	408, 499                 | Error          | ErrOutcomeUnknown
//	2xx, cut off             | repeated       | ErrProtocol, ErrOutcomeUnknown
//	2xx, not JSON or too big | ErrProtocol    | ErrProtocol, ErrOutcomeUnknown
//	2xx, status ERROR        | Error          | Error
//
// Between attempts the client rests for a random part of a bound that doubles
// ([RetryPolicy]). Where the context's deadline comes first, the call fails at once and
// says so. An attempt that has used up RetryPolicy.AttemptTimeout counts as dropped; it
// is no context.DeadlineExceeded, which is of the caller's context alone. A file is sent again only from a reader that can be rewound.
//
// # Limits
//
// Market allows four requests of a business at once and a number per hour for every
// operation, shared by all programs; both are answered 420. A client keeps to four at
// once itself ([WithMaxParallel]); a place is held while a request is under way, never
// while waiting. A used-up hour that ends within RetryPolicy.MaxDelay is waited for.
// Otherwise the call fails with [ErrRateLimited] and Error.Limit, and until the hour
// ends that operation, and no other, is refused locally without a request.
// [Client.Limit] tells what the server said last; [WithLimiter] adds a pace of your own.
//
// # Errors
//
// Whatever was sent and failed is an [*Error]: match it with errors.Is on the
// sentinels, read its StatusCode, Details and TraceParent for the rest. The HTTP status
// decides, not the body's. A 400 is the server's and is no sentinel;
// [ErrInvalidArgument] means that nothing was sent.
//
// # Observing
//
// [WithHook] is called once per attempt, [WithLogger] logs the same at debug level by an
// allow-list, and [OperationFromContext] names the spans of a caller's own transport.
//
// # Testing
//
// Package chatstest is a Market in memory, with its page orders, limits and failures.
//
// # Compatibility
//
// The package follows semantic versioning and reads nothing from the environment: not
// even a proxy, for which pass an http.Client of your own.
package chats
