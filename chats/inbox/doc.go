// Package inbox delivers every message of a business's chats to a handler, at least once, across
// restarts and machines. A message recorded as handled is delivered again only if the server lists
// messages too far out of order (see Polls) or the store loses the record.
//
//	in, err := inbox.New(client, store)
//	...
//	err = in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
//		return crm.Save(ctx, d.Chat, d.Message)
//	})
//
// # Guarantees
//
// Every new message (see First run) in every chat that matches the filter reaches the handler at
// least once. The messages of a chat are delivered one at a time, in ascending order. A message
// that becomes visible late, with an ID below those of messages already handled, is delivered after
// it has become visible, unless too many handled messages are above it (see Polls). A message
// counts as handled when the handler has returned nil or, with [Inbox.Messages], when the loop has
// asked for the next message. The [Store] records the message as handled before the next message of
// the chat is delivered. From then on the message is not delivered again, on any machine that
// shares the store, unless the server lists messages too far out of order (see Polls), or the store
// loses the record, as after a restore from a backup or a failover to a replica that lags behind.
// Until it has been recorded, a message may be delivered again after an error, a panic, a crash, or
// the loss of the lease, so handlers must be idempotent.
//
// Failures of Market, the store, the network and the handler are retried. [Inbox.Run] returns an
// error if the credential is refused for a minute, or if the store fails for about half a minute
// when Run starts.
//
// # State
//
// The state of a chat is one row, [ChatState]. It holds the checkpoint up to which every message is
// handled, the IDs of the messages handled above it, the time of the next poll, and the last error.
// The state of a business is also one row, [BusinessState]. It holds the StartTime (see First run),
// the progress of the sweeps, and how much of the quota has been used. An inbox does the work that
// is due according to the rows, one step at a time. It can be killed at any point; its successor
// continues from the rows, even on another machine. An inbox never loads all rows at once. A quiet
// chat costs its row, its share of the sweeps and, if it is listed without an UpdatedAt, regular
// polls (see Rechecks).
//
// # First run
//
// When an inbox serves a business for the first time, the messages already in the chats of the
// business are old and are not delivered, unless [WithStartTime] sets another start. Messages that
// arrive from then on are delivered. The start is the time of the first attempt to list the chats,
// successful or not. It is saved before that attempt, so it survives a crash. Once the first page
// has been listed, BusinessState.StartTime is set. It is the start by the local clock or by
// Market's (the Date of its responses), whichever is earlier, minus 1 s. It is truncated to whole
// seconds, because message times may be truncated, too. Messages from the last seconds before the
// start are therefore delivered as well. If the local clock is behind Market's, the start is
// earlier by the difference.
//
// Until a chat has been read to its end, a message created before the StartTime is old unless both
// of these are true: it was created after the UpdatedAt with which the chat was first listed, and
// the list or a push has reported activity since then. A message is never old if it has no time, or
// if its chat was created after the StartTime. A time before 1990 or more than a year ahead is
// treated as missing. Chats that were active in the 24 hours before the start are polled once, a
// few minutes after the start, to distinguish messages that become visible later from those that
// were already there.
//
// # Polls
//
// A poll reads a chat's history from the checkpoint on, usually in one request. The checkpoint
// stays [WithLookback] messages, 50 by default, behind the newest handled one. A message that
// becomes visible late is therefore found if at most that many handled messages are above it. If
// the server refuses the checkpoint because its message was deleted, or returns none of the handled
// messages above the checkpoint, the chat is read from its beginning. Items without a readable ID
// are skipped; this is logged once per chat.
//
// Until a history has been read to its end, up to 1,000 handled messages are kept above the
// checkpoint, so that a message listed out of order is found even if the read is interrupted. If a
// message is listed so late that [chats.Client.History] has already yielded later ones, the
// checkpoint moves back to where it was when the poll began, and the handled messages above that
// position, except the last 1,000, are delivered again.
//
// # Rechecks
//
// A chat becomes due when a sweep lists it with a changed UpdatedAt or status, or when a push names
// it. It is polled immediately, and again after 2 s, 10 min, 2 h, 12 h and 24 h. The poll after 2 s
// is needed because times may be in whole seconds, so another message in the same second does not
// change UpdatedAt; the later polls find messages that become visible late. If the newest message
// is older than UpdatedAt, or more than a second older than the push, the history may lag behind,
// and the delays are instead 1, 5 and 30 s, then 2, 10 and 30 min, then 2, 6, 12 and 24 h. New
// activity restarts the schedule. A message in an otherwise quiet chat thus costs six history
// requests within a day, and a message in a busy chat two or three. Either may cost up to eleven if
// UpdatedAt is later than the message, or if the push arrives more than a second after the message.
//
// A chat whose UpdatedAt or status has changed four times in a row without a new message is polled
// for such changes at most every 5 min, until a message is found. While less than a quarter of the
// inbox's quota is left, rechecks that are due a minute or more after the activity was first seen
// are postponed to the next quota window. A message that becomes visible late without a change in
// the list is found by the next recheck or, more than a day after the last activity, when the chat
// is next active. A chat that is listed without an UpdatedAt is polled every 10 min if incremental
// sweeps are expected to list it (see Sweeps). They are not expected to list a chat that is
// finished or has an unknown status, or any chat if the filter has Statuses; in these cases, a chat
// without an UpdatedAt is polled every 2 h.
//
// # Sweeps
//
// A sweep lists the chats, 20 per request. While nothing happens, the inbox makes no other
// requests, except for the polls of chats that are listed without an UpdatedAt. Incremental sweeps
// list the chats that are not FINISHED, by filtering on the other five statuses known today; full
// sweeps list all chats. The two take turns page by page, so that neither has to wait for the other
// to finish. Each starts once per [WithPollInterval] if its share of the quota allows it, and less
// often otherwise. Incremental sweeps get 78% of the inbox's quota and full sweeps 20%. With the
// default quota and 10,000 chats, 1,000 of them not finished, there is an incremental sweep every
// 92 s and a full one every hour. As long as a full sweep fits into the poll interval (with the
// default settings, up to 160 chats), only full sweeps are made. A message in a chat that stays
// FINISHED, or has a status unknown to this library, is found only by a full sweep or a push. Chats
// that have left the incremental list are polled once more, but at most 100 per sweep, or a quarter
// of the list, whichever is larger, and only after a sweep whose pages have all been listed by one
// Inbox. The IDs of the chats on those pages are the only sweep state that is not in the store. So
// if several processes take turns with a large shop, as in chats/fleet, or the process is restarted
// during a sweep, the last message of a chat that has just been closed may have to wait for a full
// sweep or a push.
//
// Inboxes that are started together list their first pages over 3 s and their second pages over
// another 10 s, and the next sweep of each kind is brought forward by up to half of its period. The
// sweeps of [Inbox.Step] are not spread: its caller decides when to call it.
//
// While sweeps take longer than the poll interval, the first page of the list is also fetched
// separately from time to time, followed by up to nine more for as long as every chat on a page has
// changed. If Market lists the most recent chats first, these pages show most new messages soon.
// Correctness does not depend on that order, which is not documented.
//
// A filter with Statuses makes every sweep a full one. If Market refuses the statuses in
// combination with the filter, one sweep lists all chats and the next one tries the statuses again.
// A sweep is cut short if the list repeats pages or has 250 empty pages in a row, or if one of its
// pages cannot be listed.
//
// # Quota
//
// The inbox counts its own requests, including retries, and uses at most half of Market's hourly
// quota for each operation ([WithQuotaReserve]), except for retries, and for the further pages of
// polls that have begun. Requests from other programs are not taken into account until the quota is
// exhausted. Work left over at the end of a quota window is done in the next one.
//
// # Failures
//
// A message whose handler fails is delivered again after 1 s, with the delay doubling up to 5 min.
// Delivery.Attempt counts the attempts, even across restarts. Later messages of the chat wait;
// other chats do not. [WithMaxAttempts] limits the number of attempts. If the handler fails for
// three chats in a row, not counting repeated attempts, only one chat at a time is tried, after
// 1 s, with the delay doubling up to 30 s, until the handler works again; a hung attempt blocks the
// others for at most a minute. An outage thus costs about 120 requests an hour, however many chats
// are waiting. A poll that finds no message for the handler counts neither as a failure nor as a
// success. Chats are taken in batches of about 100; within a batch, those that have not failed yet
// are tried first (those that a push has named, then those that have been due longest), then the
// others, the longest due first. The limit of one chat at a time and the order of the attempts also
// apply to histories that cannot be read, except that each attempt may take up to twelve requests,
// because the client retries it. When histories can be read again, all the waiting chats become due
// within minutes.
//
// A single chat whose history cannot be read is retried with growing delays, up to 5 min. If the
// handler has not failed for the chat, the maximum is 1 h if the history is refused, the response
// is not understood, or the chat is missing or forbidden. A push or a change in the list brings the
// next attempt forward, unless the handler has failed for the chat. A chat that has been refused
// for three days, most recently as missing or forbidden, is not polled again until a push names it
// or a sweep lists it.
//
// # Leases
//
// Of all processes that share a store, only the one that holds the lease serves a business:
//
//	            Acquire              Renew every second
//	standby ---------------> leader ---------------------.
//	   ^                       |  ^                       |
//	   |                       |  '-----------------------'
//	   | Release: immediately  |
//	   '-----------------------'
//	       not renewed for the lease duration (5 s): expired
//
// The lease is a row that expires by the store's clock, and every Save checks it in its own
// transaction. A leader that fails to renew its lease for the lease duration, by its own clock,
// stops before another process can acquire the lease, and cancels its handlers' contexts. So only
// one process at a time can save. But a running handler cannot be stopped: one that ignores its
// context, or whose process was frozen and resumes, may still be running when the next leader
// delivers the same message. A leader that can renew its lease but cannot save gives up the lease.
//
// Two programs that each need all messages of a business need separate stores, or separate
// table prefixes in sqlstore. If they share a store, the second one stands by, and logs this.
//
// # Operation
//
// [Inbox.Status] reports the role, backlog, failing chats and quota from the store, in any
// process. Log lines include the business and, where there is one, the chat.
package inbox
