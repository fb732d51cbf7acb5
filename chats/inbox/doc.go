// Package inbox hands every message of a business's chats to a function, once
// handled never again, across restarts and machines.
//
//	in, err := inbox.New(client, store)
//	...
//	err = in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
//		return crm.Save(ctx, d.Chat, d.Message)
//	})
//
// # What is promised
//
// Every message of every chat that matches reaches the handler at least once, those
// of one chat in ascending order and one at a time. Handled means that the function
// returned nil, or that the loop over [Inbox.Messages] asked for the next. That is
// committed to the [Store] before the next message of the chat is handed over, and
// from then on the message never comes again, on any machine that shares the store.
// What was not committed comes again: after an error, a panic, a lost process, a
// lost lease. So a handler must bear a message that comes twice.
//
// The run goes on through failures of Market, the store, the network and the
// handler. It ends with the context, or when Market refuses the credential: at a
// 401 at once, at a 403 of the list of chats when half a minute of trying has brought
// nothing else. A chat of which Market answers 403 is tried again like one that fails.
//
// # The first start
//
// When a business is followed for the first time, what its chats hold already is
// not delivered, unless [WithStartTime] says since when; everything that arrives from
// then on is. Chats that appear later are delivered from their first message. The
// moment is kept in the store as the mark of chat 0, by Market's clock, so that a
// later start knows what arrived while nobody ran, also in chats without a mark. It
// is found by listing all chats once; clocks that differ lose nothing and bring
// back nothing old. Where our clock is ahead of Market's, a message that arrives in
// one of the latest chats while that first list is being read counts as old.
//
// # Marks
//
// The mark of a chat holds the last message handled, and the chat's UpdatedAt of
// which everything is known to be handled, in whole seconds. A chat is looked at
// when Market lists it with another UpdatedAt than its mark's. Chats that have been
// quiet since before the business was followed have no mark and are not looked at.
//
// Market may cut times to the second, so a message in the second of the last one
// does not move UpdatedAt. The mark's UpdatedAt is therefore written only by a look
// that began at least 2 s after that time was first seen: then the second was over,
// whatever the clocks say. Until then the store says that the chat is to be looked
// at again, to whoever goes on from it. That is a second history request for each
// burst of messages. Where UpdatedAt has moved and no message explains it, the chat
// is looked at again after 5 s and after 1 min: a change of status may move it, or
// the history lag behind the list.
//
// # Sweeps and pushes
//
// A sweep lists the chats, 20 a request, and costs nothing else while nothing
// happens. There are two kinds. Full sweeps list everything. Quick ones list what
// is not FINISHED, by the five statuses known today, for most chats of a shop are
// finished and quiet. Full sweeps take a quarter of what sweeps may cost: they come
// every minute with 200 chats, every five minutes with 1,000, every 48 minutes with
// 10,000. Only they find a message in a chat that stays FINISHED, or is in a status
// that is new to this library; a push finds both at once. A chat that has left the
// quick list, because it was finished, is looked at once more without waiting for a
// full sweep. A filter of the caller's own with Statuses, or a Market that refuses
// the statuses beside the caller's filter, makes every sweep a full one. The order
// of the list is not documented, so no sweep stops early.
//
// [Inbox.Wake] is for pushes, as chats/notify receives them: the message arrives
// within a second, without a sweep. Sweeps find what pushes miss. A push that reaches a
// stand-by is missed, too.
//
// # Pace
//
// A sweep begins every minute ([WithPollInterval]), or less often where Market's allowance,
// 5,000 requests an hour, asks for it: half of it is left to the other programs of
// the business ([WithQuotaReserve]), and what remains above that is spread over the rest of
// the hour. 10,000 chats of which none is finished are 500 requests a sweep, and a
// sweep in 12 minutes. A list that is longer than the allowance is read over
// several hours.
//
// # Several machines
//
// Where the store is a [Leaser], one process works and the others stand by; a lost
// lease cancels the handlers, and what they finish afterwards is not committed.
// Without leases, or where they keep nobody out, several processes may work on one
// store: before the first message of a chat is handed over its mark is confirmed in the
// store, and the one whose commit comes second gives way. Both may handle a message at
// the same time then.
//
// # Memory
//
// What is known of a chat takes less than a kilobyte, for every chat that was listed or
// has a mark. Messages are not kept: a worker holds the page it works on and the
// next one.
package inbox
