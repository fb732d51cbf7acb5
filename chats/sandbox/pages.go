package main

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var pageFiles embed.FS

func (s *sandbox) pageRoutes(mux *http.ServeMux) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err)
	}
	static := http.FileServerFS(files)
	mux.HandleFunc("GET /{$}", s.servePage(static))
	for _, name := range []string{"/app.css", "/app.js", "/words.js", "/icon.svg"} {
		mux.HandleFunc("GET "+name, s.servePage(static))
	}
	mux.Handle("GET /sandbox/events", s.hub)
	mux.HandleFunc("GET /sandbox/files/{path...}", s.serveFile)
	mux.HandleFunc("GET /sandbox/chats/{id}/test", s.serveTest)
	for pattern, endpoint := range map[string]endpoint{
		"GET /sandbox/settings":                  s.getSettings,
		"GET /sandbox/chats":                     s.listChats,
		"POST /sandbox/chats":                    s.openChat,
		"GET /sandbox/chats/{id}":                s.getChat,
		"GET /sandbox/chats/{id}/messages":       s.listMessages,
		"POST /sandbox/chats/{id}/messages":      s.postMessage,
		"POST /sandbox/chats/{id}/act":           s.act,
		"GET /sandbox/orders":                    s.listOrders,
		"POST /sandbox/orders":                   s.postOrder,
		"GET /sandbox/exchanges":                 s.listExchanges,
		"GET /sandbox/exchanges/{n}":             s.getExchange,
		"POST /sandbox/exchanges/clear":          s.clearExchanges,
		"POST /sandbox/faults":                   s.addFault,
		"POST /sandbox/faults/remove":            s.removeFault,
		"POST /sandbox/behaviour":                s.choose,
		"GET /sandbox/push":                      s.listDeliveries,
		"POST /sandbox/push":                     s.configurePush,
		"POST /sandbox/push/ping":                s.ping,
		"POST /sandbox/push/deliveries/{n}/{do}": s.changeDelivery,
		"POST /sandbox/reset":                    s.postReset,
	} {
		mux.Handle(pattern, endpoint)
	}
}

// servePage serves a part of the page. The page may load only its own parts.
func (s *sandbox) servePage(static http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "+
			"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	}
}
