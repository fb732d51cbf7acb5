// Package outbox posts a shop's replies from a queue that survives restarts and can be shared
// by several machines.
//
//	store, err := sqlstore.New(ctx, db, sqlstore.PostgreSQL)
//	...
//	box, err := outbox.New(client, store, outbox.WithSettled(func(ctx context.Context, r outbox.Result) error {
//		return shop.Replied(ctx, r.Item.Key, r.State)
//	}))
//	...
//	go box.Run(ctx)
//	...
//	err = box.Put(ctx, outbox.Item{Key: "order 17, reply 3", Chat: id, Text: "On its way!"})
//
// After Put has returned nil, each item is posted once unless it ends as Failed, Expired, Uncertain
// or Discarded (see States). This holds even if the process is killed between posting and recording
// the post, the response is lost, Market is down for an hour, or the hourly quota is exhausted. The
// rare exceptions are listed under Posting and Leases. The items of a chat are posted in the order
// of Put, one at a time; chats do not wait for each other.
//
// # States
//
//	                  +---------------------------------+  certainly not posted:
//	                  v                                 |  quota, no connection, 429 ...
//	Put ---------> Queued ---------> Sending -----------+
//	               |  | |            |  |  |
//	   NotAfter    |  | |    refused |  |  +--> Sent       the history shows the message
//	Expired <------+  | +--> Failed <+  +-----> Uncertain  the history is inconclusive
//	Discarded <-------+              |          |  |  |
//	   Resolve      Expired <--------+          |  |  +--> Queued     Resolve: Resend
//	                        NotAfter            |  +-----> Discarded  Resolve: Discard
//	                                            +--------> Sent       Resolve: MarkSent
//
// Sending means that a request may have posted the item. A Sending item becomes Queued, Failed
// or Expired only if, as far as is known, no request has posted it. All states except Queued and
// Sending are settled. Once an item is settled, the next item of its chat is posted, and the
// function passed to [WithSettled] is called.
//
// # Posting
//
// Right before each send, the item is saved in the Sending state, together with its baseline (the
// IDs of the shop's newest messages in the chat) and the ID above which the baseline is complete. A
// message from the shop is new if its ID is above that ID and not in the baseline. After the send,
// the history is searched for a new message with the same content (see
// [chats.Client.SendTextConfirmed]). If there is one, the item is Sent. If the outcome of the send
// is unknown, the item remains Sending until the search described below has ended; other chats
// continue.
//
// A process that finds an item in the Sending state resumes it. The process searches the history
// for at least [chats.SearchTime] after it acquired the lease, or after its own attempt ended;
// after that, the message of an earlier attempt is no longer expected to appear. Messages that
// belong to other items are ignored; each message belongs to at most one item. If there is a new
// message from the shop with the same content, the item is Sent. If there is no new message from
// the shop, the item is posted again. If there are only new messages with different content, one of
// them may be this item, altered by the server, and there is no way to find out. The item is then
// Uncertain, and is not posted again unless [Outbox.Resolve] requests it. An item is also Uncertain
// if the server accepted it but the history does not show it, or if it may have been posted and the
// history cannot be read (see Failures).
//
// The response to a history request does not contain the ID of the chat. A history that lacks a
// message of the baseline may be out of date, or belong to another chat. Such a history is used
// only if it shows the item's message and at least one message of the baseline. Otherwise it is
// requested again, up to six times after the end of the search; then the item is Uncertain. Before
// the first attempt, the history must show the last message that the outbox has posted to the chat;
// after about ten seconds the item is posted nevertheless, because that message may have been
// deleted. These checks are possible only if the chat contains a message from the shop. Beyond
// these checks, it is assumed that each history belongs to its request and is no older than the
// request. A history from before the attempt, as a cache may return, looks like the history after
// an attempt that posted nothing.
//
// Apart from [Resend], histories that violate this assumption, and the race described under Leases,
// an item is posted twice in only two cases. In the first, the response, the process or the lease
// was lost while the item was being posted, and the server shows the message only after the search
// has ended. In the second, the store loses what it has saved, as after a restore from a backup or
// a failover to a replica that lags behind. An item is wrongly considered Sent only if the outcome
// of its send is unknown, it was not posted, and someone else posts the same text, or a file of the
// same name (and size, if shown), to the chat before the search ends. The search lasts for the
// search time of SendTextConfirmed, which is [chats.SearchTime] by default. It lasts twice as long
// if the item's NotAfter has passed, and up to a minute if sends to the chat keep failing. It lasts
// even longer if the history cannot be read when the search would end, or if many chats are
// failing.
//
// # Leases
//
// One process at a time serves a business: it holds a lease in the store, and others stand by.
// Every change to an item by the process that serves the business is checked against the lease and
// the item's version in the same transaction, so a process that was frozen and has lost its lease
// changes nothing. Put, Resolve and the deletion of settled items need no lease.
//
// The lease is also checked right before each send, after the last write to the store and while the
// slot for the request is held. What remains is a race window from that check until the request has
// been written: the dial, the TLS handshake and the write. It is assumed to last about 100 ms; this
// has not been measured against the real Market. A process that is frozen within this window, and
// resumes after another one has taken over, posts an item that the other process is working on.
// This is harmless if the item is posted within the search time of the other process, which then
// finds the message. An item is posted twice in this way only if a freeze begins within the window
// and lasts longer than about 20 s (the lease plus the search time). No client can close the
// window, because the API has no idempotency key by which the server could recognise the second
// request.
//
// # Failures
//
//	failure                                    what happens
//	hourly quota exhausted                     waits for the next window, at least a minute; does not count as an attempt
//	no connection; or, when reading the        retried after 1 s, doubling up to 1 min, indefinitely
//	history, an invalid response, 408, 499,
//	5xx or a gateway's 404
//	parallel limit, or another 420 or 429      nothing is sent for 1 s, doubling up to 1 min until an item is sent
//	when sending, a lost or invalid response,  resolved by searching the history, after 1 s, doubling up to 1 min;
//	3xx, 408, 499, 5xx or a gateway's 404      posted again after 15.5 s or more if the history does not show it
//	401, or a 403 if the list of chats also    nothing is sent for 1 s, doubling up to 15 s; Run returns the error after a minute, Step immediately
//	gets a 403
//	403 for one chat                           retried after 1 s, doubling up to 15 min, indefinitely; Uncertain after 17 min
//	                                           if it may have been posted; other chats are not affected
//	the history is refused, or a refusal       tried 5 times in a row, then Failed, or Uncertain if it may have been posted
//	other than 401 or 403 has no API error code
//	any other 4xx, or a 2xx with status ERROR  Failed, with the server's details
//	and details
//	database down                              retried; nothing is sent meanwhile; Run returns the error if the store
//	                                           fails for about half a minute when Run starts
//
// In an outage, each process makes at most 12 attempts a minute on average in the chats that have
// failed, until an item is sent. The outage thus does not use up the hourly quota, however many
// chats are waiting. At other times, the same limit applies to the chats that have failed at least
// twice in a row, until an item of one of them is sent. Half of the attempts for such chats are for
// those that failed most recently. Chats that have not failed are not delayed.
//
// If a send is refused without an API error code, the refusal may come from a gateway, and does not
// prove that the item was not posted. The history is therefore searched before the next attempt,
// and before the item becomes Failed. Of several such refusals in a row with status 401, or with
// status 403, only the first is followed by a search.
//
// A 403 may concern only one chat. To find out, the outbox requests the list of chats (getChats).
// While these requests succeed, each worker makes at most one a minute; otherwise there is one for
// every 403. [Item].NotAfter limits how long the outbox tries to post an item. The quota is shared
// fairly: the chat that has waited longest since its last post is next, and a chat whose post was
// refused because of the quota keeps its turn. A new [Outbox], for example after a restart, begins
// with the chats whose items were put first.
package outbox
