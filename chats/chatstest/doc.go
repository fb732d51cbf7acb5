// Package chatstest is Yandex Market's chats in memory, for the tests of
// programs that use package chats.
//
// A [Market] holds chats and messages and answers all seven operations over
// HTTP. It is strict about the API's contract: a wrong path, parameter, bound,
// content type, form or credential gets the status and the text that the real
// Market gives. A test tells the story from the outside, lets its program run on
// [Market.Client], and looks at what the chats then hold:
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
//			t.Errorf("the buyer was not answered: %+v", last)
//		}
//	}
//
// # Where it runs
//
// [Market.Transport], and [Market.Client] on top of it, answers in process: no
// socket, no goroutine left behind, all waiting in the time of the bubble where a
// test runs in testing/synctest. An hour of limits then passes at once.
// [NewServer] puts the same Market on a listener, for tests that need a socket,
// and [Market.ServeHTTP] makes it a handler of the user's own server.
//
// # What is not documented
//
// The real order of the history is not known, nor whether messageIdFrom is
// inclusive. A program has to be right in any case; test it under each [Order],
// and with [WithExclusiveSince], [WithEmptyPages] and [WithDuplicates]. Times are
// cut to whole seconds, as the vendor's examples have them, so that several
// messages may share one ([WithPreciseTimes] keeps the fractions); ids are
// microseconds since 1970 and grow within a chat, and two chats may share one.
// The list of chats begins with the newest message and counts from there, so that
// it shifts when a message arrives between two pages. A page's token is for
// requests with the same limit and body only.
//
// # Limits
//
// More than four API requests at once are answered 420 (see
// [WithParallelLimit]). The headers of every answer tell the documented hourly
// limits and count down to zero, but nothing is refused by them unless
// [WithHourlyLimit] asks for it: a test may call as often as it likes. What the
// Market refuses with a 420, and what a fault answers in its place, costs nothing
// of the hour.
//
// # Faults
//
// [Market.Fail] makes the next calls of an operation go wrong, and
// [Market.FailFunc] chooses call by call. What a fault does to the request:
//
//	fault                 the request      the caller gets
//	OK                    is processed     the answer
//	Delay                 is processed     the answer, all of it later
//	SlowHeaders           is processed     the answer, its header later
//	SlowBody              is processed     the answer, half of its body later
//	Status                is not           that status and body
//	HTML                  is not           that status and a gateway's page
//	RateLimitedHourly     is not           420, with the time it is over
//	RateLimitedParallel   is not           420, without one
//	Refused               is not written   a failed dial
//	DropBefore            is not           a lost connection
//	DropAfter             is processed     a lost connection
//	ProcessLate           is, but later    a lost connection
//	StatusAfter           is processed     that status and body
//	Malformed             is processed     200 and that body
//	Truncate              is processed     an answer cut off
//	EndlessBody           is processed     200 and a body without end
//
// Answers that may break the contract carry [FaultHeader].
package chatstest
