// Package chats is a client for the chats of a business on Yandex Market. It lists chats,
// reads messages, sends texts and files, and opens chats about orders and returns. It wraps
// the client generated from the API contract (package gen).
//
//	client, err := chats.New(business, chats.APIKey(key))
//	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
//	for chat, err := range client.Chats(ctx, waiting) { ... }
//
// # Authentication
//
// A [Client] serves one business and authenticates with one [Credential]: an [APIKey],
// created in the seller's cabinet (the seller's account on Market's website) under "API and
// modules", or an [OAuthToken]. GET v2/campaigns of the Partner API returns the business ID.
// Reading requires a key with the communication, all-methods or all-methods:read-only scope;
// writing requires communication or all-methods. The credential is sent only to the host of
// the base URL, even after redirects, and never appears in errors, logs or the output of fmt.
//
// # Reading
//
// [Client.Chats] lists chats. [Client.History] reads the messages of a chat above a given
// ID. Both return lazy sequences that can be ranged over more than once and yield each item
// once, even if it is listed on several pages. History yields messages in ascending order,
// whatever order the server uses, so a program only has to store the last ID received.
// [Client.ChatsPage] and [Client.HistoryPage] return single pages.
//
// Unknown fields and enum values never cause an error. Unknown values are passed through; the Known
// method of each enum type reports whether the contract defines the value. A field that cannot be
// decoded is zero, even if its value is not valid JSON. An item without a readable ID is skipped
// and counted in [Attempt.Skipped], and the listing continues. The size of API responses is
// limited, in bytes and in items.
//
// # Sending
//
// [Client.SendText] and [Client.SendFile] post at most once. [Client.SendTextConfirmed] and
// [Client.SendFileConfirmed] post once, find the message in the history and return it with
// its ID. [ConfirmAfter] makes them idempotent. If the error of a send matches neither
// [ErrOutcomeUnknown] nor [ErrUnconfirmed], it is certain that nothing was posted. The result
// of a confirmed send depends on the outcome of the request and on which new message from the shop
// the history shows within the search time (see [Client.SendTextConfirmed]):
//
//	send            | the history shows | text               | file
//	accepted        | the content sent  | Message            | Message
//	accepted        | other content     | ErrUnconfirmed     | Message
//	accepted        | no new message    | ErrUnconfirmed     | ErrUnconfirmed
//	outcome unknown | the content sent  | Message            | Message
//	outcome unknown | other content     | ErrOutcomeUnknown  | ErrOutcomeUnknown
//	outcome unknown | no new message    | sent again         | sent again
//
// A new message with other content may be the one that was sent, altered by the server. If a file
// was accepted, the call returns the shop's new message with a file, provided that it is the only
// new message that could be the one sent.
//
// A confirmed send has two limitations. It cannot distinguish two programs or clients that post the
// same content to the same chat at the same moment. And if the outcome of a send is unknown, and
// the server shows the message only after the search for it has ended, the message is posted again,
// up to RetryPolicy.MaxAttempts times in all.
//
// [SplitText] splits texts that are too long. [Client.OpenChat] returns the ID of the chat
// about an order or a return, and opens one if there is none. Arguments are checked before anything
// is sent; an invalid argument results in an [ArgumentError].
//
// # Retries
//
// Retries depend on what an operation does, not on its HTTP method: reads and OpenChat are
// idempotent and are retried after transient failures; a send is retried only if the request
// was certainly not processed. The table shows the result of each failure. "retried" means that the
// call makes up to RetryPolicy.MaxAttempts requests and, if all fail, returns the error of the last
// one. "soon" means within RetryPolicy.MaxDelay, and "later" means beyond it:
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
//	5xx, Retry-After later   | ErrServer       | ErrServer, ErrOutcomeUnknown
//	5xx, otherwise           | retried         | ErrServer, ErrOutcomeUnknown
//	401                      | ErrUnauthorized | ErrUnauthorized
//	403                      | ErrForbidden    | ErrForbidden
//	404                      | ErrNotFound     | ErrNotFound
//	404 from a gateway       | retried         | ErrProtocol, ErrOutcomeUnknown
//	408, 499                 | Error           | ErrOutcomeUnknown
//	413, 414, 431            | Error           | Error
//	other 4xx                | Error           | Error
//	other 4xx from a gateway | Error           | ErrOutcomeUnknown
//	3xx                      | Error           | ErrOutcomeUnknown
//	below 200                | ErrProtocol     | ErrProtocol, ErrOutcomeUnknown
//	2xx, cut off             | retried         | ErrProtocol, ErrOutcomeUnknown
//	2xx, not JSON or too big | ErrProtocol     | ErrProtocol, ErrOutcomeUnknown
//	2xx, ERROR with details  | Error           | Error
//	2xx, ERROR, no details   | ErrProtocol     | ErrProtocol, ErrOutcomeUnknown
//	2xx, OK and errors       | ErrProtocol     | ErrProtocol, ErrOutcomeUnknown
//
// For reads and OpenChat, the last row applies only if the response has no usable result; otherwise
// the errors are ignored.
//
// A 4xx whose body is empty, or is not in the API's JSON format, is assumed to come from a gateway.
// A gateway's 404 says nothing about the chat, and a gateway's 4xx says nothing about the outcome
// of a send, because the gateway may have passed the request on. The exceptions are 401, 403, 413,
// 414, 420, 429 and 431: a gateway that responds with one of these is assumed not to have passed
// the request on. A redirect in response to a send is equally inconclusive, because a server may
// redirect after it has processed the request. TLS failures that a retry cannot fix are not
// retried: the server does not speak TLS; its certificate is not trusted, or is rejected by
// tls.Config.VerifyConnection or the like; the server rejects the client's certificate; or client
// and server have no TLS version, cipher or protocol in common. A response without a declared
// length counts as cut off if its JSON is incomplete. A 400, 413 or 422 for the first page of a
// list may be caused by the page size. If the response comes from the API, up to three smaller
// sizes are tried before the error is returned. If its text mentions a limit or a page size, up to
// five are tried.
//
// The delay between attempts is random (full jitter), with an upper bound that doubles after
// each failure; see [RetryPolicy]. The client honours Retry-After. If the context's deadline
// comes before the next attempt, the call fails immediately and the error says so. An attempt
// that exceeds RetryPolicy.AttemptTimeout or the timeout of the http.Client counts as dropped. A
// file is sent again only if its reader can be rewound or has not been read from. If an upload
// ended before the server could have received the whole file, nothing was posted. A 5xx, a dropped
// connection or a timeout is then retried.
//
// # Rate limits
//
// Market allows four concurrent requests per business and sets an hourly quota per
// operation. All programs that call the API for the same business share both limits;
// exceeding either results in a 420.
//
// By default, a client has four slots for concurrent API requests (see [WithMaxParallel]). A
// request holds a slot only while it is in flight. The exception is a confirmed send: it also holds
// its slot during the read of the history immediately before the send, and while the
// [ConfirmBefore] function runs.
//
// If the quota of an operation is exhausted and the next window begins within RetryPolicy.MaxDelay,
// calls wait for it. If it begins later, calls that need the quota fail with [ErrRateLimited] and
// Error.Limit, without making a request. A quota counts as exhausted after a 420 that refers to it,
// and after a response that reports a remaining quota of 0. Confirmed sends also need the quota of
// the history. A window is an hour, so the client never blocks an operation for longer, whatever
// the headers say. [Client.Limit] returns the quota last reported by the server. [WithLimiter] adds
// a rate limiter of your own.
//
// # Errors
//
// An invalid argument results in an [ArgumentError], which matches [ErrInvalidArgument] and means
// that nothing was sent. A sequence whose context is done yields ctx.Err(). Any other failed call
// to the API returns an [*Error]. Match it against the sentinels with errors.Is; its fields
// StatusCode, Details and TraceParent describe the response. Outside 2xx, the error depends on the
// HTTP status, not on the status in the body. For a 404, and for any 4xx in response to a send, it
// also depends on whether the body comes from the API. A 400 from the API matches no sentinel.
//
// An error matches context.Canceled or context.DeadlineExceeded only if the caller's context
// is done, or if its deadline leaves no time for the next attempt. A timeout in a transport,
// [Limiter] or credential source matches neither; its text is kept, and the call's error still
// matches any other errors that the timeout wraps.
//
// A panic in a hook, [Limiter], credential source or transport is propagated to the caller's
// goroutine. A sequence fetches pages in a separate goroutine, whose stack is added to
// the panic. A nil context causes a panic.
//
// # Observability
//
// Functions passed to [WithHook] are called once per attempt. [WithLogger] logs each attempt at
// debug level, with a fixed set of attributes, and skipped items at warn level.
// [OperationFromContext] returns the operation of a request, for naming spans in a transport of
// your own.
//
// # Testing
//
// Package chatstest provides a fake, in-memory Market with configurable listing orders,
// limits and failures.
//
// # Compatibility
//
// The module follows semantic versioning; before v1.0.0 a minor version may break the API. By
// default the library itself reads nothing from the environment, not even proxy settings: to use a
// proxy, pass an http.Client to [WithHTTPClient]. An http.Client without a Transport uses
// http.DefaultTransport, which reads the proxy settings.
package chats
