package main

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// sandbox is the server: the API for programs, and the page with its endpoints.
type sandbox struct {
	config    config
	handler   http.Handler
	hub       *hub
	exchanges *exchangeLog
	faults    *faultPlan
	behaviour *behaviour
	push      *pusher

	ctx  context.Context //nolint:containedctx // of the goroutines; close ends it
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.RWMutex // guards world, which a reset replaces
	world *world
}

func newSandbox(ctx context.Context, c config) (*sandbox, error) {
	s := &sandbox{
		config: c, hub: newHub(), exchanges: &exchangeLog{}, faults: &faultPlan{}, behaviour: newBehaviour(),
	}
	ctx = context.WithoutCancel(ctx)
	s.ctx, s.stop = context.WithCancel(ctx)
	s.push = newPusher(s.hub)
	w, err := s.openWorld(ctx)
	if err != nil {
		return nil, err
	}
	s.world = w
	if err := s.push.configure(pushSettings{URL: c.push, Speed: 1}); err != nil {
		return nil, errors.Join(err, w.close())
	}
	s.done.Go(func() { s.push.run(s.ctx) })
	s.done.Go(func() { w.watch(s.ctx) })
	s.handler = s.guarded(s.routes())
	return s, nil
}

// close stops the goroutines and closes the state file.
func (s *sandbox) close() error {
	s.stop()
	s.done.Wait()
	return s.current().close()
}

// ServeHTTP implements [http.Handler].
func (s *sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// current returns the world, which is valid until the next reset.
func (s *sandbox) current() *world {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.world
}

func (s *sandbox) key() string { return s.current().market.Key() }

// openWorld restores the state, or creates the example conversations.
func (s *sandbox) openWorld(ctx context.Context) (*world, error) {
	w := newWorld(s.hub, s.push, s.options)
	loaded, err := w.load(s.config.state)
	if err != nil {
		return nil, err
	}
	if !loaded && !s.config.empty {
		seed(w)
	}
	return w, w.begin(ctx, s.config.state)
}

// reset starts over, with or without the example conversations, and replaces the state file.
func (s *sandbox) reset(ctx context.Context, empty bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.world
	old.retire()
	w := newWorld(s.hub, s.push, s.options)
	if !empty {
		seed(w)
	}
	err := errors.Join(old.close(), w.begin(ctx, s.config.state))
	s.world = w // even if it cannot be written to the state file
	s.push.clear()
	s.done.Go(func() { w.watch(s.ctx) })
	s.hub.publish("reset", nil)
	return err
}

// options returns the options of the Market.
func (s *sandbox) options() []chatstest.Option {
	return append([]chatstest.Option{
		chatstest.WithBusiness(s.business()), chatstest.WithFileBase(s.config.baseURL),
	}, s.behaviour.options()...)
}

func (s *sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	s.pageRoutes(mux)
	mux.Handle("/v2/", http.HandlerFunc(s.serveAPI))
	mux.Handle("GET /files/", http.HandlerFunc(s.serveAPI))
	return mux
}

// operations maps the method and the path below the business to the operation.
var operations = map[string]chats.Operation{
	"POST /chats":           chats.OpGetChats,
	"GET /chat":             chats.OpGetChat,
	"POST /chats/history":   chats.OpGetChatHistory,
	"GET /chats/message":    chats.OpGetChatMessage,
	"POST /chats/new":       chats.OpCreateChat,
	"POST /chats/message":   chats.OpSendMessageToChat,
	"POST /chats/file/send": chats.OpSendFileToChat,
}
