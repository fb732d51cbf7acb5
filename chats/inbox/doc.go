// Package inbox delivers every message of a business's chats to a handler, at least once
// until it is handled and never afterwards, across restarts and machines.
//
//	in, err := inbox.New(client, store)
//	...
//	err = in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
//		return crm.Save(ctx, d.Chat, d.Message)
//	})
//
// # Promises
//
// Every message of every chat that matches the filter reaches the handler at least once,
// those of one chat in ascending order and one at a time. A message that becomes visible
// late, below others that were handled already, is delivered then. Handled means that the
// handler returned nil, or that the loop over [Inbox.Messages] asked for the next one. That
// is saved in the [Store] before the next message of the chat is delivered, and from then
// on the message never comes again, on any machine that shares the store. What was not
// saved comes again: after an error, a panic, a lost process, a lost lease. Handlers must
// be idempotent.
//
// Failures of Market, the store, the network and the handler are retried. A credential that
// is refused for a minute ends [Inbox.Run].
//
// # State
//
// The state of a chat is a row, [ChatState]: the checkpoint up to which every message is
// handled, the ids handled above it, when to poll the chat next, and what its head has
// failed with. That of a business is a row, [BusinessState]: when it was first followed, where
// its sweeps stand, what is used of its quota. An inbox does what is due by the rows, step by
// step. It may be killed at any statement; the next one goes on from the rows, on another
// machine as well. Nothing is loaded whole: a quiet chat costs its row.
//
// # The first start
//
// When a business is followed for the first time, what its chats hold already is old and not
// delivered, unless [WithStartTime] names a time to begin with. What arrives from then on is
// delivered. The moment is kept as BusinessState.StartTime, by Market's clock (the Date of its
// responses) less 1 s, as times may be cut to the second: messages of the last seconds before
// the start may be delivered, too. In a chat that has not been read to its end before, a
// message is old if it was created before the StartTime; one without a time is never old.
// The chats that were active on the day before the start are polled once some minutes after
// it, so that what becomes visible in them later is distinguished from what was there.
//
// # Polls
//
// A poll reads a chat's history from the checkpoint on: one request in most cases. The
// checkpoint stays [WithLookback] messages behind the newest handled one, 50 by default, so
// what becomes visible late is found as long as no more than that many handled messages are
// above it. A checkpoint that the server refuses, because its message was deleted, is read
// around from the beginning of the chat.
//
// # Rechecks
//
// A chat is due when a sweep lists it with another UpdatedAt, or when a push names it. It is
// polled again after 2 s, because times are in whole seconds and a second message of that
// second does not move UpdatedAt, and after 10 min, 2, 12 and 24 h, for what becomes visible
// late. If no message explains the activity, the history is behind, and the moments are 1,
// 5 and 30 s, 2, 10 and 30 min, 2, 6, 12 and 24 h. New activity begins anew. So a message in a
// chat that is quiet otherwise costs six history requests within a day, one in a busy chat
// two or three; while less than a quarter of the inbox's quota is left, rechecks after the
// first minute wait for the next hour. A message that becomes visible late without any
// change in the list is found by the next of these moments; a day after the last activity
// only with the chat's next one. A chat that is listed without a time is polled every 10 min,
// every 2 h if it is finished.
//
// # Sweeps
//
// A sweep lists the chats, 20 a request, and costs nothing else while nothing happens.
// Incremental sweeps list what is not FINISHED, by the five statuses known today; full ones
// list everything. Both go on page by page, in turn, so that neither holds up the other;
// each begins once per [WithPollInterval] if its share of the quota suffices, which is 78 % for
// the incremental and 20 % for the full ones, and less often otherwise. With the default
// quota and 10,000 chats, 1,000 of them not finished, that is an incremental sweep every 93 s
// and a full one an hour. Only a full sweep or a push finds a message in a chat that stays
// FINISHED or has a status that is unknown to this library. A chat that has left the
// incremental list is polled once more. While sweeps take longer than the poll interval, the
// first page of the list is listed once in a while by itself: where Market lists the latest
// first, that finds most messages at once. Nothing depends on it, as the order is not
// documented.
//
// A filter with Statuses makes every sweep a full one. If Market refuses the statuses next
// to the filter, one sweep lists everything and the next one tries again.
//
// # Quota
//
// The inbox counts its own requests and uses at most half of Market's hourly quota of each
// operation ([WithQuotaReserve]); what other programs use does not count until nothing
// remains. What an hour leaves undone is done in the next one.
//
// # Failures
//
// A message whose handler fails comes again after 1 s, doubling to 5 min, across restarts:
// Delivery.Attempt counts. The rest of its chat waits, other chats do not. [WithMaxAttempts]
// gives a message up after so many attempts. If the handler fails for three chats in a row,
// only one chat at a time is tried, at most every 30 s, until it works again: an outage costs
// about 120 requests an hour, however many chats wait. The same holds for histories that
// cannot be read.
//
// # Leases
//
// Of all processes that share a store one works for a business at a time, the one with the
// lease:
//
//	            Acquire              Renew every second
//	standby ---------------> leader ---------------------.
//	   ^                       |  ^                       |
//	   |                       |  '-----------------------'
//	   |   Release: at once    |
//	   '-----------------------'
//	       no renewal for the lease's duration (5 s): expired
//
// The lease is a row with an expiry by the store's clock, and every Save checks it in its
// transaction. A leader that could not renew it for its duration stops, by its own clock,
// before another one can have it; its handlers' contexts end. That guarantees that two
// processes never both save. It does not reach into a handler: one that ignores its context,
// or whose process was frozen and goes on, may still be at work when the next leader
// delivers the same message. A leader that can renew its lease but not save gives it up.
//
// Two programs that each want all messages of a business need a store each, or a table
// prefix each in sqlstore: on one store the second one stands by, and logs it.
//
// # Operation
//
// [Inbox.Status] reports roles, backlog, failing chats and quota from the store, in any
// process. Log lines have the business, and the chat where there is one.
package inbox
