package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzPages sends arbitrary requests to the endpoints of the page. None may panic, fail with
// a 500, or return a body that is unbounded or not JSON.
func FuzzPages(f *testing.F) {
	s := start(f)
	s.push.client.Transport = &shopServer{} // nothing leaves the process
	id := s.current().market.Chats()[0].ID
	const jsonType = "application/json"
	form := "--b\r\nContent-Disposition: form-data; name=\"sender\"\r\n\r\nCUSTOMER\r\n--b\r\n" +
		"Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\nxx\r\n--b--\r\n"
	f.Add("POST", fmt.Sprintf("chats/%d/messages", id), "multipart/form-data; boundary=b", form)
	f.Add("GET", fmt.Sprintf("chats/%d/messages?before=1&limit=5", id), "", "")
	f.Add("GET", fmt.Sprintf("chats/%d/test", id), "", "")
	f.Add("POST", fmt.Sprintf("chats/%d/act", id), jsonType, `{"act":"startDispute"}`)
	f.Add("GET", "chats?status=NEW&search=a&offset=1&limit=2", "", "")
	f.Add("POST", "chats", jsonType, `{"kind":"DIRECT","customer":"a"}`)
	f.Add("POST", "chats", jsonType, `{"kind":"RETURN","order":55210017}`)
	f.Add("POST", "orders", jsonType, `{"customer":"a","title":"b","id":5}`)
	f.Add("POST", "faults", jsonType, `{"operation":"getChat","fault":"html502","left":10}`)
	f.Add("POST", "faults/remove", jsonType, `{"id":1}`)
	f.Add("POST", "behaviour", jsonType, `{"aspect":"order","choice":"newestFirst"}`)
	f.Add("POST", "push", jsonType, `{"speed":60,"own":true,"next":"lost"}`)
	f.Add("POST", "push/deliveries/1/drop", jsonType, `{}`)
	f.Add("POST", "push/ping", jsonType, `{}`)
	f.Add("GET", "exchanges", "", "")
	f.Add("GET", "exchanges/1", "", "")
	f.Add("POST", "exchanges/clear", jsonType, `{}`)
	f.Add("GET", "files/1/%D0%BA.png", "", "")
	f.Add("POST", "reset", jsonType, `{"empty":false}`)
	f.Fuzz(func(t *testing.T, method, path, contentType, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1/sandbox/"+path, strings.NewReader(body))
		if err != nil || r.URL.Host != "127.0.0.1" || strings.HasPrefix(r.URL.Path, "/sandbox/events") || len(path) > 2000 {
			return // not a request, or one that never ends
		}
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.NotEqual(t, http.StatusInternalServerError, w.Code, "%s", w.Body)
		assert.Less(t, w.Body.Len(), 8<<20)
		if w.Header().Get("Content-Type") == "application/json" {
			require.True(t, json.Valid(w.Body.Bytes()), "%s", w.Body)
		}
		status, _ := s.do(t, http.MethodGet, "/sandbox/chats", nil)
		require.Equal(t, http.StatusOK, status)
	})
}
