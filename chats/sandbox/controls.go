package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// settings is what the page shows about the sandbox itself.
type settings struct {
	BaseURL    string            `json:"baseURL"`
	Business   chats.BusinessID  `json:"business"`
	Key        string            `json:"key"`
	Operations []chats.Operation `json:"operations"`
	FaultKinds []string          `json:"faultKinds"`
	Faults     []rule            `json:"faults"`
	Aspects    []settingsAspect  `json:"aspects"`
	Chosen     map[string]string `json:"chosen"`
	Push       pushSettings      `json:"push"`
	Kept       bool              `json:"kept"` // in a file
}

type settingsAspect struct {
	Name    string   `json:"name"`
	Choices []string `json:"choices"`
}

func (s *sandbox) settings() settings {
	list := settings{
		BaseURL: s.config.baseURL, Business: s.business(), Key: s.key(), FaultKinds: faultNames(), Faults: s.faults.all(),
		Chosen: s.behaviour.all(), Push: s.push.current(), Kept: s.config.state != "",
		Operations: []chats.Operation{
			chats.OpGetChats, chats.OpGetChat, chats.OpGetChatHistory, chats.OpGetChatMessage, chats.OpCreateChat,
			chats.OpSendMessageToChat, chats.OpSendFileToChat, chats.OpDownload,
		},
	}
	for _, a := range aspects {
		names := make([]string, len(a.Choices))
		for i, c := range a.Choices {
			names[i] = c.name
		}
		list.Aspects = append(list.Aspects, settingsAspect{a.Name, names})
	}
	return list
}

func (s *sandbox) getSettings(*http.Request) (any, error) { return s.settings(), nil }

func (s *sandbox) listExchanges(*http.Request) (any, error) {
	return map[string]any{"exchanges": s.exchanges.summaries(maxListed)}, nil
}

func (s *sandbox) getExchange(r *http.Request) (any, error) {
	n, err := strconv.Atoi(r.PathValue("n"))
	e, found := s.exchanges.get(n)
	if err != nil || !found {
		return nil, errNotFound
	}
	return e, nil
}

func (s *sandbox) clearExchanges(r *http.Request) (any, error) {
	if err := decode(r, &struct{}{}); err != nil {
		return nil, err
	}
	s.exchanges.clear()
	s.hub.publish("exchanges", nil)
	return s.listExchanges(r)
}

func (s *sandbox) changed() (any, error) {
	list := s.settings()
	s.hub.publish("settings", list)
	return list, nil
}

func (s *sandbox) addFault(r *http.Request) (any, error) {
	var body rule
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if err := s.faults.add(body); err != nil {
		return nil, invalid("%s", cut(err.Error(), 200))
	}
	return s.changed()
}

// removeFault removes one fault, or all if the ID is 0.
func (s *sandbox) removeFault(r *http.Request) (any, error) {
	var body struct {
		ID int `json:"id"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	s.faults.remove(body.ID)
	return s.changed()
}

// choose sets one aspect of the behaviour. If the aspect is empty, it resets all of them.
func (s *sandbox) choose(r *http.Request) (any, error) {
	var body struct {
		Aspect string `json:"aspect"`
		Choice string `json:"choice"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.Aspect == "" {
		s.behaviour.reset()
	} else if err := s.behaviour.choose(body.Aspect, body.Choice); err != nil {
		return nil, invalid("%s", cut(err.Error(), 200))
	}
	s.current().apply()
	return s.changed()
}

func (s *sandbox) listDeliveries(*http.Request) (any, error) {
	list := s.push.deliveries()
	return map[string]any{"deliveries": list[:min(len(list), maxListed)]}, nil
}

func (s *sandbox) configurePush(r *http.Request) (any, error) {
	var body pushSettings
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if err := s.push.configure(body); err != nil {
		return nil, invalid("%s", cut(err.Error(), 200))
	}
	return s.changed()
}

func (s *sandbox) ping(r *http.Request) (any, error) {
	if err := decode(r, &struct{}{}); err != nil {
		return nil, err
	}
	if s.push.current().URL == "" {
		return nil, invalid("there is no URL for notifications")
	}
	s.push.announce(r.Context(), s.current().market, notify.Ping{At: time.Now()})
	return s.listDeliveries(r)
}

func (s *sandbox) changeDelivery(r *http.Request) (any, error) {
	if err := decode(r, &struct{}{}); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	switch do := r.PathValue("do"); {
	case err != nil:
		return nil, errNotFound
	case do == "retry":
		s.push.retry(n)
	case do == "drop":
		s.push.drop(n)
	default:
		return nil, errNotFound
	}
	return s.listDeliveries(r)
}

func (s *sandbox) postReset(r *http.Request) (any, error) {
	var body struct {
		Empty bool `json:"empty"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	s.faults.remove(0)
	s.behaviour.reset()
	s.exchanges.clear()
	if err := s.reset(context.WithoutCancel(r.Context()), body.Empty); err != nil {
		return nil, err
	}
	return s.changed()
}

// serveTest exports a conversation.
func (s *sandbox) serveTest(w http.ResponseWriter, r *http.Request) {
	world, c, err := s.chatOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	source, err := export(c, world.market.Messages(c.ID), s.behaviour.selected())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=chat_%d_test.go", c.ID))
	_, _ = w.Write(source)
}
