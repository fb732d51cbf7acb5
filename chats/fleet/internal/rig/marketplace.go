// Package rig runs fleets in separate processes, for tests and measurements: a Market of many
// shops, and workers that can be killed, frozen and stopped.
package rig

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// FirstBusiness is the ID of a marketplace's first shop; the others follow.
const FirstBusiness = 1000

// Marketplace is the Market of many shops. Its own requests begin with /marketplace/.
type Marketplace struct {
	config  MarketplaceConfig
	markets []*chatstest.Market
	chats   [][]chats.ChatID
	key     string

	mu       sync.Mutex
	seconds  map[int64]int // requests by second
	requests atomic.Int64
}

// MarketplaceConfig configures a [Marketplace].
type MarketplaceConfig struct {
	Shops, Chats int
	Latency      time.Duration
}

// NewMarketplace returns a marketplace with its chats.
func NewMarketplace(c MarketplaceConfig) *Marketplace {
	t := &Marketplace{config: c, seconds: map[int64]int{}}
	for n := range c.Shops {
		options := []chatstest.Option{chatstest.WithBusiness(FirstBusiness + chats.BusinessID(n))}
		if c.Latency > 0 {
			options = append(options, chatstest.WithLatency(c.Latency))
		}
		market := chatstest.NewMarket(options...)
		ids := make([]chats.ChatID, c.Chats)
		for i := range ids {
			ids[i] = market.AddChat(chats.Chat{CreatedAt: time.Now().AddDate(0, -1, 0)})
		}
		t.markets, t.chats, t.key = append(t.markets, market), append(t.chats, ids), market.Key()
	}
	return t
}

// Market returns the Market of a shop.
func (t *Marketplace) Market(business chats.BusinessID) *chatstest.Market {
	n := int(business - FirstBusiness)
	if n < 0 || n >= len(t.markets) {
		return nil
	}
	return t.markets[n]
}

// Chats returns the chats of a shop.
func (t *Marketplace) Chats(business chats.BusinessID) []chats.ChatID {
	return t.chats[business-FirstBusiness]
}

// ServeHTTP implements [http.Handler].
func (t *Marketplace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/marketplace/"); ok {
		t.control(w, r, name)
		return
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/v2/businesses/")
	id, _, _ := strings.Cut(rest, "/")
	business, _ := strconv.ParseInt(id, 10, 64)
	market := t.Market(chats.BusinessID(business))
	if market == nil {
		http.NotFound(w, r)
		return
	}
	t.requests.Add(1)
	t.mu.Lock()
	t.seconds[time.Now().Unix()]++
	t.mu.Unlock()
	market.ServeHTTP(w, r)
}

// MarketplaceStats is what /marketplace/stats returns.
type MarketplaceStats struct {
	Requests int64
	Seconds  map[int64]int
}

// SayResult is what /marketplace/say returns.
type SayResult struct {
	Chat    chats.ChatID
	Message chats.MessageID
}

func (t *Marketplace) control(w http.ResponseWriter, r *http.Request, name string) {
	query := r.URL.Query()
	number := func(key string) int { n, _ := strconv.Atoi(query.Get(key)); return n }
	business := chats.BusinessID(number("business"))
	var result any
	switch name {
	case "say":
		ids := t.Chats(business)
		id := ids[number("chat")%len(ids)]
		for range max(1, number("times")) - 1 {
			t.Market(business).CustomerSays(id, "Где мой заказ?")
		}
		result = SayResult{id, t.Market(business).CustomerSays(id, "Здравствуйте! Где мой заказ?")}
	case "key":
		t.Market(business).SetKey(query.Get("key"))
		result = true
	case "posts":
		texts := map[string]int{}
		for _, id := range t.Chats(business) {
			for _, m := range t.Market(business).Messages(id) {
				if m.Sender == chats.SenderPartner {
					texts[fmt.Sprint(id, " ", m.Text)]++
				}
			}
		}
		result = texts
	case "stats":
		t.mu.Lock()
		defer t.mu.Unlock()
		result = MarketplaceStats{t.requests.Load(), t.seconds}
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(result)
}
