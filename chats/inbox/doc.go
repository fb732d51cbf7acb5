// Package inbox delivers every message of a business's chats to a handler, at least once, across
// restarts and machines.
//
//	in, err := inbox.New(client, store)
//	...
//	err = in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
//		return crm.Save(ctx, d.Chat, d.Message)
//	})
//
// This page is about what a caller can rely on. The schedules, the rarer cases and the costs are
// described in chats/docs/inbox.md, in the repository.
//
// # Guarantees
//
// Every new message (see First run) reaches the handler at least once, unless [WithSenders] or
// [WithFilter] excludes it. The messages of a chat are delivered one at a time, in ascending order.
// A message that becomes visible late, with an ID below those of messages already handled, is still
// delivered, unless too many handled messages are above it (see Polls). A message counts as handled
// when the handler has returned nil or, with [Inbox.Messages], when the loop has asked for the next
// message. The [Store] records the message as handled before the next message of the chat is
// delivered. From then on the message is not delivered again, on any machine that shares the store,
// with two exceptions: the server lists messages too far out of order (see Polls), or the store
// loses the record, for example in a restore from a backup or a failover to a replica that lags
// behind. A message that is not recorded yet may be delivered again after an error, a panic, a
// crash, or the loss of the lease, so handlers must be idempotent.
//
// # State
//
// The state of a chat is one row, [ChatState]. It holds the checkpoint up to which every message is
// handled, the IDs of the messages handled above it, the time of the next poll, and the last error.
// The state of a business is also one row, [BusinessState]. It holds the start (see First run), the
// progress of the sweeps, and how much of the quota has been used. An inbox can be killed at any
// point; its successor continues from the rows, even on another machine. An inbox never loads all
// rows at once. A quiet chat costs its row, its share of the sweeps and, if it is listed without an
// UpdatedAt, regular polls (see Rechecks).
//
// # First run
//
// Messages that were in the chats before the start are old and are not delivered. The start is the
// time at which an inbox first tried to list the chats of the business, or the time set by
// [WithStartTime]. Without that option, messages from the last seconds before the start are
// delivered as well.
//
// # Polls
//
// A poll reads a chat's history from the checkpoint on, usually in one request. The checkpoint
// stays [WithLookback] messages behind the newest handled message. A message that becomes visible
// late is therefore found if at most that many handled messages are above it. If the server lists
// messages so far out of order that [chats.Client.History] has already yielded later messages,
// handled messages are delivered again: those above the checkpoint at which the poll began, except
// the newest 1,000.
//
// # Rechecks
//
// A chat is polled when a sweep lists it with a changed UpdatedAt or status, or when a push names
// it. It is polled several more times within a day, because messages may become visible late. A
// message that becomes visible after that day, without a change in the list, is found when the chat
// is next active. A chat that is listed without an UpdatedAt is polled every 10 min, or every 2 h
// if it is FINISHED, its status is unknown, or the filter has Statuses.
//
// # Sweeps
//
// Incremental sweeps list the chats that are not FINISHED; full sweeps list all chats. Each starts
// once per [WithPollInterval], or less often if the quota requires it. In a small shop, or if the
// filter has Statuses, all sweeps are full. Apart from rechecks, a message in a chat that stays
// FINISHED, or has a status unknown to this library, is found only by a full sweep or a push. The
// same holds for the last message of a chat that has just become FINISHED, if several processes
// take turns serving a large shop, as in chats/fleet, or if the process is restarted during a
// sweep.
//
// # Quota
//
// The inbox stays within its share of Market's hourly quotas; see [WithQuotaReserve]. Work that
// exceeds the share waits for the next quota window.
//
// # Failures
//
// The inbox retries after failures of Market, the store, the network and the handler. A message
// whose handler fails is delivered again after 1 s, with the delay doubling up to 5 min, even
// across restarts; after ten failures, it may have to wait for the next quota window.
// [WithMaxAttempts] limits the number of attempts. Later messages in the chat wait; other chats do
// not.
//
// A circuit breaker opens if the handler fails for three chats in a row, counting only first
// attempts at a message, or if the histories of three chats in a row cannot be read. Chats are then
// tried one at a time, about 120 an hour, until one succeeds. In an outage of Market, reading one
// chat may take up to twelve requests, because the client retries them. If reading a chat has been
// refused for three days, most recently with 404 or 403, the chat is not polled again until a push
// names it or a sweep lists it.
//
// # Leases
//
// Of all processes that share a store, only the one that holds a business's lease serves that
// business:
//
//	            Acquire              Renew every second
//	standby ---------------> leader ---------------------.
//	   ^                       |  ^                       |
//	   |                       |  '-----------------------'
//	   | Release: immediately  |
//	   '-----------------------'
//	       not renewed for the lease duration (5 s by default): expired
//
// The lease is a row that expires by the store's clock, and every Save checks the lease in the
// transaction that writes the rows. A leader that has not renewed its lease for the lease duration,
// by its own clock, stops and cancels the contexts of its handlers before another process can
// acquire the lease. So only one process at a time can save. But a running handler cannot be
// stopped: a handler that ignores its context, or whose process was frozen, may still be running
// when the next leader delivers the same message. A leader that can renew its lease but cannot save
// gives up the lease.
package inbox
