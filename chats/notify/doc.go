// Package notify receives what Market pushes to the shop: a new chat, a new
// message, a dispute begun or ended.
//
//	handler, err := notify.NewHandler("shop", "1.0", func(ctx context.Context, event notify.Event) error {
//		if sent, ok := event.(notify.MessageSent); ok {
//			return queue.Put(ctx, sent.Chat)
//		}
//		return nil
//	}, notify.WithAllowedNetworks(notify.MarketNetworks()...))
//
// # Everyone is let in
//
// Without [WithAllowedNetworks] everyone on the internet may post events: a
// notification carries neither signature nor token, and the sender's network is
// the only thing there is to check. Take an event as a hint to look at the chat
// through the API, not as the truth.
//
// # Where to mount it
//
// Market appends /notification to the address given in the seller's cabinet. The
// handler does not look at the path: mount it at the address and at the address
// with /notification behind it, over https with a certificate of a public
// authority.
//
// # What Market expects
//
// An answer within 10 seconds, 1 second for PING. Until a notification is
// answered 200 or 400, Market sends it again and sends nothing else: each minute
// for an hour, each quarter of an hour for a day, then each hour; after 14 days it
// switches the subscription off. So put the event aside and return; return an
// error only where another try may help. The handler answers for the function
// when it does not return in time.
//
// The same event may come several times, in any order: [WithDedupe] drops copies.
// Not everything is announced (stickers are not), so a look at the histories from
// time to time belongs to a correct program.
//
// The facts are those of the page "push-notifications" of the Partner API's
// documentation and of api/notifications.yaml.
package notify
