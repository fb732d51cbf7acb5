// Package notify receives the push notifications that Market sends to a shop about new chats, new
// messages, and disputes that are opened or closed.
//
//	handler, err := notify.NewHandler("shop", "1.0", func(ctx context.Context, event notify.Event) error {
//		if sent, ok := event.(notify.MessageSent); ok {
//			return queue.Put(ctx, sent.Chat)
//		}
//		return nil
//	}, notify.WithAllowedNetworks(notify.MarketNetworks()...))
//
// # Senders are not authenticated by default
//
// Without [WithAllowedNetworks] anyone on the internet can post events. A
// notification has neither a signature nor a token; the sender's network is the
// only thing that can be checked. Treat an event as a hint to read the chat through
// the API, not as the truth.
//
// # Where to mount the handler
//
// Market appends /notification to the URL that was entered in the seller's cabinet (the seller's
// account on Market's website). The URL must use HTTPS, with a certificate from a public
// certificate authority. [Handler.Mount] registers the handler for every path to which Market may
// then post:
//
//	mux := http.NewServeMux()
//	server := &http.Server{Addr: ":8080", Handler: handler.Mount(mux, "/market")}
//
// The handler itself ignores the path. If there is a proxy in front of it, name the proxy
// with [WithTrustedProxies]; otherwise WithAllowedNetworks refuses every push.
//
// # What Market expects
//
// Market waits 10 seconds for a response, or 1 second for a PING. Until a notification gets a 200
// or 400, Market sends nothing else. It retries the notification every minute for an hour, every 15
// minutes for a day, then every hour. After 14 days it disables the subscription. So store the
// event and return promptly; return an error only if a retry may help. If the function passed to
// [NewHandler] does not return in time, the handler responds with 500, and Market retries.
//
// An event may arrive several times, and events may arrive in any order. The handler drops
// duplicates of events from the last two hours (see [WithDedupe]), so a function that takes longer
// than Market waits, but less than a minute, is not called again for every retry. Not everything is
// announced (stickers are not), so a correct program also polls the chats.
//
// This section is based on the "push-notifications" page of the Partner API's
// documentation and on api/notifications.openapi.yaml.
package notify
