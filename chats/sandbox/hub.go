package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	maxPages   = 64  // open at once
	maxPending = 256 // events that a page has not read yet
)

// hub passes events to the open pages.
type hub struct {
	mu    sync.Mutex
	pages map[chan []byte]bool
}

func newHub() *hub { return &hub{pages: map[chan []byte]bool{}} }

// publish sends an event to every page. A page that does not read is disconnected: its
// browser reconnects, and the page then reloads everything.
func (h *hub) publish(kind string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		return // a time after the year 9999
	}
	event := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, data)
	h.mu.Lock()
	defer h.mu.Unlock()
	for page := range h.pages {
		select {
		case page <- event:
		default:
			delete(h.pages, page)
			close(page)
		}
	}
}

func (h *hub) open() (chan []byte, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pages) >= maxPages {
		return nil, false
	}
	page := make(chan []byte, maxPending)
	h.pages[page] = true
	return page, true
}

func (h *hub) close(page chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pages, page)
}

// ServeHTTP streams events to one page.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, ok := h.open()
	if !ok {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer h.close(page)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	event := []byte("event: hello\ndata: null\n\n")
	for {
		if _, err := w.Write(event); err != nil || control.Flush() != nil {
			return
		}
		select {
		case next, open := <-page:
			if !open {
				return
			}
			event = next
		case <-alive.C:
			event = []byte(": alive\n\n")
		case <-r.Context().Done():
			return
		}
	}
}
