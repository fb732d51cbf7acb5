// Package chatstest implements Yandex Market's chats API in memory, for tests of programs
// that use package chats.
//
// A [Market] holds chats and messages and implements all seven operations over HTTP. It is strict:
// a request with a wrong path, parameter, content type, form or credential, or with a value out of
// range, gets the status and error text of the real Market, as far as they are known. A test sets
// up chats, runs its program against [Market.Client], and then checks what the chats contain:
//
//	func TestGreeting(t *testing.T) {
//		market := chatstest.NewMarket()
//		chat := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
//		market.CustomerSays(chat, "Здравствуйте! Где мой заказ?")
//
//		if err := greet(t.Context(), market.Client()); err != nil {
//			t.Fatal(err)
//		}
//
//		messages := market.Messages(chat)
//		if last := messages[len(messages)-1]; last.Sender != chats.SenderPartner {
//			t.Errorf("the customer got no reply: %+v", last)
//		}
//	}
//
// # In process or on a listener
//
// [Market.Transport], and [Market.Client] on top of it, work in process: they open no socket and,
// with one exception (see Market.Transport), leave no goroutine behind. In a testing/synctest
// bubble, all waits use the bubble's fake clock, so waiting an hour for a quota to reset takes no
// real time. For tests that need a socket, [NewServer] puts a Market on a listener, and
// [Market.ServeHTTP] makes a Market the handler of a server of your own.
//
// # Undocumented behaviour
//
// Much of the real API's behaviour is not documented, and a program must cope with every
// variant. Options select the variant:
//
//	in which order the history is listed      WithOrder, WithSwappedNeighbours
//	what messageIdFrom means                  WithExclusiveSince, WithStrictSince
//	what pages look like                      WithEmptyPages, WithDuplicates, WithMaxPage
//	how page tokens behave                    WithConstantToken, WithTokenLifetime, WithRepeatingToken
//	when a message becomes visible            WithVisibility, WithHistoryLag
//	how texts and files are stored            WithStoredText, WithTrimmedTexts, WithStoredFile
//	what chats and messages look like         WithOddItems, WithPreciseTimes
//	whether the legacy order ID fields work   WithLegacyOrderIDs
//
// By default times are truncated to whole seconds, as in the vendor's examples, so several
// messages may have the same time. Message IDs are microseconds since 1970 and increase
// within a chat; messages of different chats may have the same ID. The list of chats begins with
// the chat with the latest UpdatedAt. It is paged by position, so it shifts when a message arrives
// between two pages; a function passed to [Market.FailFunc] can add such messages. A page token is
// valid only with the limit and body that it was issued for. In requests, names of JSON fields are
// case-sensitive, and unknown fields are ignored.
//
// # Limits
//
// A fifth concurrent API request fails with 420 (see [WithParallelLimit]). The headers of every
// response of an operation, except a gateway's page, report the hourly quota and how many requests
// remain. By default the documented quotas are reported but not enforced: the headers always report
// at least one remaining request, so a test may make any number of requests. [WithHourlyLimit] sets
// a quota that is enforced. A request that is refused with 420, or not processed because of a
// fault, does not count against the quota.
//
// # Faults
//
// [Market.Fail] makes the next requests for an operation fail, and [Market.FailFunc] chooses a
// fault for each request. A client that retries uses up one fault per attempt. The faults are:
//
//	fault                 the request                    the caller gets
//	OK                    is processed                   the response
//	Delay                 is processed after the delay   the response
//	SlowHeaders           is processed                   the response, after the delay
//	SlowBody              is processed                   the response, with the second half of its body delayed
//	Status                is not processed               the given status and body
//	Respond               is not processed               the given status, body and header
//	RespondEarly          is not processed               the given status and body, before the whole request body has been sent
//	HTML                  is not processed               the given status and a gateway's HTML page
//	RateLimitedHourly     is not processed               420, with the time of the reset
//	RateLimitedParallel   is not processed               420, without a time
//	Replay                is not processed               the previous response of the operation
//	Refused               is not sent                    a failed dial
//	DropBefore            is not processed               a closed connection
//	DropAfter             is processed                   a closed connection
//	ProcessLate           is processed later             a closed connection
//	StatusAfter           is processed                   the given status and body
//	Rewrite               is processed                   the response, edited by a function
//	Malformed             is processed                   200 and the given body
//	BadStatusLine         is processed                   the given line instead of an HTTP response
//	Truncate              is processed                   a truncated response
//	TruncateSilently      is processed                   a truncated response without a declared length
//	EndlessBody           is processed                   200 and an endless body
//
// Respond and Rewrite cover most other faults. Some examples:
//
//	Respond(503, http.Header{"Retry-After": {"7"}}, "")
//	Respond(420, http.Header{"Date": {"Sat, 25 Dec 1999 00:00:00 GMT"}}, `{"status":"ERROR"}`)
//	Respond(200, http.Header{"Content-Encoding": {"gzip"}}, bomb)
//	Rewrite(func(r *Response) { r.Body = append([]byte("\ufeff"), r.Body...) })
//	Rewrite(func(r *Response) { r.Header.Set("X-RateLimit-Resource-Remaining", "0") })
//	Rewrite(func(r *Response) { r.Body = r.Body[:len(r.Body)/2] }) // a download shorter than File.Size
//	Rewrite(func(r *Response) { r.Header.Set("Content-Encoding", "gzip") }) // a stored .gz
//
// Responses that may violate the contract carry the header named by [FaultHeader].
package chatstest
