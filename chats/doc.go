// Package chats is a client for the chats of a business on Yandex Market. It reads the
// chats with customers, sends texts and files, and opens chats about orders and returns.
// It wraps the client generated from the API contract (package gen).
//
//	client, err := chats.New(business, chats.APIKey(key))
//	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
//	for chat, err := range client.Chats(ctx, waiting) { ... }
//
// # Authentication
//
// A [Client] belongs to one business and one [Credential]: an [APIKey], created in the
// seller's cabinet under "API and modules", or an [OAuthToken]. GET v2/campaigns of the
// Partner API returns the business ID. Reading needs a key with the scope communication,
// all-methods or all-methods:read-only; writing needs communication or all-methods. The
// credential is sent only to the host of the base URL, even after redirects, and appears in
// no error, log line or dump.
//
// # Reading
//
// [Client.Chats] lists chats. [Client.History] reads the messages of a chat with IDs above
// a given one. Both return sequences that are lazy, can be ranged over again, and yield
// each listed item once, even if it is on several pages. History is in ascending order
// whatever the server's order is, so a program only has to keep the last ID received.
// [Client.ChatsPage] and [Client.HistoryPage] return single pages. Unknown fields and enum
// values never cause an error; unknown values are passed through, and Known reports whether
// a value is defined here. A field that cannot be read, even one whose value is not JSON,
// is zero, and an item without a readable ID is skipped and reported ([Attempt.Skipped]),
// and the listing continues. Every response is bounded, in bytes and in items.
//
// # Sending
//
// [Client.SendText] and [Client.SendFile] post at most once. [Client.SendTextConfirmed] and
// [Client.SendFileConfirmed] post once, find the message in the history and return it with
// its ID. [ConfirmAfter] makes them idempotent. If a send fails with any error other than
// [ErrOutcomeUnknown] and [ErrUnconfirmed], it certainly posted nothing. The result of a
// confirmed send depends on the outcome of the request, and on which new message from the
// shop the history shows within the search time:
//
//	send            | the history shows | text               | file
//	accepted        | the same          | Message            | Message
//	accepted        | another new one   | ErrUnconfirmed     | Message
//	accepted        | nothing new       | ErrUnconfirmed     | ErrUnconfirmed
//	outcome unknown | the same          | Message            | Message
//	outcome unknown | another new one   | ErrOutcomeUnknown  | ErrOutcomeUnknown
//	outcome unknown | nothing new       | sent again         | sent again
//
// Another new message may be the one that was sent, altered by the server. If a file was
// accepted, the call returns the shop's new message with a file, provided that it is the
// only new message that could be the one sent.
//
// A confirmed send has two limitations: it cannot distinguish two programs or clients that
// post the same content to the same chat at the same moment, and it may post twice if the
// server shows the message only after the search for it has ended. [SplitText] splits texts
// that are too long. [Client.OpenChat] opens the chat about an order or a return, or finds
// it. Arguments are checked before anything is sent; an invalid one results in an
// [ArgumentError].
//
// # Retries
//
// What is retried depends on what an operation does, not on its HTTP method: reads and
// OpenChat are idempotent; a send is retried only if it is certain that nothing was
// processed. The table shows the result of each failure. "retried" means up to
// RetryPolicy.MaxAttempts requests, then the error of the last attempt:
//
//	failure                  | reads, OpenChat | SendText, SendFile
//	no connection            | retried         | retried
//	dropped, timed out       | retried         | ErrOutcomeUnknown
//	not HTTP                 | retried         | ErrOutcomeUnknown
//	420, parallel            | retried         | retried
//	420, quota resets soon   | retried         | retried
//	420, quota resets later  | ErrRateLimited  | ErrRateLimited
//	429, Retry-After soon    | retried         | retried
//	429, Retry-After later   | ErrRateLimited  | ErrRateLimited
//	503, Retry-After later   | ErrServer       | ErrServer, ErrOutcomeUnknown
//	5xx                      | retried         | ErrServer, ErrOutcomeUnknown
//	401                      | ErrUnauthorized | ErrUnauthorized
//	403                      | ErrForbidden    | ErrForbidden
//	404                      | ErrNotFound     | ErrNotFound
//	404 from a gateway       | retried         | ErrProtocol, ErrOutcomeUnknown
//	408, 499                 | Error           | ErrOutcomeUnknown
//	other 4xx                | Error           | Error
//	3xx                      | Error           | ErrOutcomeUnknown
//	below 200                | ErrProtocol     | ErrProtocol, ErrOutcomeUnknown
//	2xx, cut off             | retried         | ErrProtocol, ErrOutcomeUnknown
//	2xx, not JSON or too big | ErrProtocol     | ErrProtocol, ErrOutcomeUnknown
//	2xx, status ERROR        | Error           | Error
//
// In the table, "soon" means within RetryPolicy.MaxDelay, and "later" means after it.
//
// A 404 whose body is not the API's envelope, or is empty, comes from a gateway: it says
// nothing about the chat or about the outcome of a send. A redirect in response to a send is
// equally inconclusive, because a server may redirect after it has processed the request.
// An untrusted certificate, or a server without TLS, fails the call without a retry. A
// response without a declared length counts as cut off if its JSON ends early. A 400, 413
// or 422 for the first page of a list may be caused by the page size, so up to three smaller
// sizes are tried before the error is returned.
//
// Between attempts the client waits with full jitter; the upper bound doubles after each
// failure ([RetryPolicy]), and the client honours Retry-After. If the context's deadline
// comes before the next attempt, the call fails at once and the error says so. An attempt
// that exceeds RetryPolicy.AttemptTimeout, or a timeout of the http.Client, counts as
// dropped. A file is retried only if its reader can be rewound, or has not been read from.
//
// # Rate limits
//
// Market allows four concurrent requests per business and sets an hourly quota per
// operation. All programs that call the API for the same business share both limits;
// exceeding either one results in a 420. A client makes at most four concurrent requests
// ([WithMaxParallel]); a request holds its slot only while it is in flight, or, for a
// confirmed send, while the history is read immediately before it. If the quota is
// exhausted and the next window begins within RetryPolicy.MaxDelay, a call waits for it.
// Otherwise the call fails with [ErrRateLimited] and Error.Limit, and until the window ends
// the client refuses that operation, and no other, without making a request; confirmed
// sends need the quota of the history, too. It does the same after a response that reports
// a remaining quota of 0. A window is an hour, so no header blocks an operation for longer.
// [Client.Limit] returns the quota last reported by the server. [WithLimiter] adds a rate
// limiter of your own.
//
// # Errors
//
// A sequence whose context has ended yields ctx.Err(). Any other failure is an [*Error].
// Match it against the sentinels with errors.Is; its StatusCode, Details and TraceParent
// carry the rest. Outside 2xx, the error is determined by the HTTP status (for a 404,
// together with whether the body is the API's), not by the status in the body. A 400 comes
// from the server and matches no sentinel; an [ArgumentError] matches [ErrInvalidArgument]
// and means that nothing was sent. An error matches context.Canceled or
// context.DeadlineExceeded only if the caller's context has ended, or its deadline does not
// leave time for the next attempt. A timeout of a transport, [Limiter] or credential source
// matches neither; its text and its other causes are kept.
//
// A panic in a hook, [Limiter], credential source or transport reaches the caller's
// goroutine. A sequence fetches pages in a separate goroutine, so its panics carry the
// original stack. A nil context causes a panic.
//
// # Observability
//
// Functions passed to [WithHook] are called once per attempt. [WithLogger] logs the same
// information at debug level, with an allow-list of attributes. [OperationFromContext]
// returns the operation of a request, for naming spans in a transport of your own.
//
// # Testing
//
// Package chatstest is an in-memory Market with configurable page orders, limits and
// failures.
//
// # Compatibility
//
// The package follows semantic versioning. It reads nothing from the environment, proxy
// settings included: for a proxy, set an http.Client with [WithHTTPClient].
package chats
