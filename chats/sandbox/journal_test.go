package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

// content returns everything in a sandbox, as programs read it.
func content(t *testing.T, s *sandbox) (list []chats.Chat, messages map[chats.ChatID][]chats.Message, files map[string]string) {
	t.Helper()
	messages, files = map[chats.ChatID][]chats.Message{}, map[string]string{}
	list = s.current().market.Chats()
	for _, c := range list {
		for _, m := range s.current().market.Messages(c.ID) {
			for i, f := range m.Files {
				resp, err := s.current().open(t.Context(), f.URL)
				require.NoError(t, err)
				data, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				files[f.Name] = string(data)
				m.Files[i].URL = ""
			}
			messages[c.ID] = append(messages[c.ID], m)
		}
	}
	return list, messages, files
}

func TestState_SurvivesARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sandbox.state")
	s := start(t, "-state", file)
	id := s.current().market.Chats()[0].ID
	status, text := s.do(t, http.MethodPost, "/sandbox/chats/"+idOf(id)+"/messages", message(t, map[string]string{"sender": "CUSTOMER", "text": "Ещё фото\nи вопрос"}, "фото 1.png", "b?.txt"))
	require.Equal(t, http.StatusOK, status, text)
	require.NoError(t, s.client(t).SendFile(t.Context(), id, "invoice.pdf", strings.NewReader("an invoice")))
	placed := mustDo[order](t, s, http.MethodPost, "/sandbox/orders", order{Customer: "Ева", Title: "Чай"})
	mustDo[pageChat](t, s, http.MethodPost, "/sandbox/chats/"+idOf(id)+"/act", map[string]string{"act": "startDispute"})
	opened, err := s.client(t).OpenChat(t.Context(), chats.AboutOrder(placed.ID))
	require.NoError(t, err)
	s.current().market.FinishChat(opened)
	list, messages, files := content(t, s)

	// The sandbox is killed: the file is not closed.
	eventually(t, "everything is written", func() bool {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		return strings.Contains(string(data), `"FINISHED","subject":{"Kind":"ORDER","Order":`+idOf(placed.ID)) && strings.Contains(string(data), "invoice.pdf")
	})
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	for name, text := range map[string]string{"whole": string(data), "within a line": string(data) + `{"chat":{"id":`} {
		again := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(again, []byte(text), 0o600))
		restarted := start(t, "-state", again)
		gotList, gotMessages, gotFiles := content(t, restarted)
		assert.ElementsMatch(t, list, gotList, name)
		assert.Equal(t, messages, gotMessages, name)
		assert.Equal(t, files, gotFiles, name)
		assert.Equal(t, s.current().allOrders(), restarted.current().allOrders())
		assert.Equal(t, "an invoice", gotFiles["invoice.pdf"])
		found, err := restarted.client(t).OpenChat(t.Context(), chats.AboutOrder(placed.ID))
		require.NoError(t, err)
		assert.Equal(t, opened, found)
		next, err := restarted.current().placeOrder(order{Title: "next"})
		require.NoError(t, err)
		assert.Greater(t, next.ID, placed.ID)
	}
}

func TestState_ResetReplacesTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sandbox.state")
	s := start(t, "-state", file)
	require.Len(t, s.current().market.Chats(), len(scenes))
	require.NoError(t, s.faults.add(rule{Fault: "html502", Left: -1}))
	mustDo[settings](t, s, http.MethodPost, "/sandbox/reset", map[string]bool{"empty": true})
	assert.Empty(t, s.current().market.Chats())
	assert.Empty(t, s.faults.all())
	s.current().market.AddChat(chats.Chat{ID: 5, Customer: chats.Customer{Name: "после"}})
	eventually(t, "it is written", func() bool {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		return strings.Contains(string(data), "после")
	})
	again := start(t, "-state", file)
	require.Len(t, again.current().market.Chats(), 1)
	mustDo[settings](t, again, http.MethodPost, "/sandbox/reset", map[string]bool{"empty": false})
	assert.Len(t, again.current().market.Chats(), len(scenes))
	leftovers, err := filepath.Glob(file + ".*")
	require.NoError(t, err)
	assert.Empty(t, leftovers)
}

func TestState_CannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	s := start(t, "-state", filepath.Join(dir, "sandbox.state"))
	require.NoError(t, os.RemoveAll(dir))
	status, text := s.do(t, http.MethodPost, "/sandbox/reset", map[string]bool{"empty": true})
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, text, "no such file")
	mustDo[pageChat](t, s, http.MethodPost, "/sandbox/chats", map[string]string{"kind": "DIRECT", "customer": "Ева"})
	assert.Len(t, s.current().market.Chats(), 1, "it goes on without the file")
	require.Error(t, run(t.Context(), []string{"-addr", "127.0.0.1:0", "-state", filepath.Join(dir, "sandbox.state")}, io.Discard))
}

func TestState_IsNotReadFromAnotherFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(file, []byte("shopping list\nbread\n"), 0o600))
	err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-state", file}, io.Discard)
	require.ErrorContains(t, err, "line 1 is not the state of a sandbox")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "shopping list\nbread\n", string(data), "it is not touched")
}

// Only the page's files are limited: what programs have sent must not keep the sandbox from
// starting again.
func TestState_OfManyFilesIsRestored(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sandbox.state")
	s := start(t, "-state", file)
	id := s.current().market.Chats()[0].ID
	require.NoError(t, s.client(t).SendFile(t.Context(), id, "invoice.pdf", strings.NewReader("an invoice")))
	eventually(t, "it is written", func() bool {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		return strings.Contains(string(data), `"message":{"chat":`+idOf(id)) && strings.Contains(string(data), "invoice.pdf")
	})
	w := newWorld(newHub(), newPusher(newHub()), s.options)
	w.fileBytes = maxFileBytes
	loaded, err := w.load(file)
	require.NoError(t, err)
	assert.True(t, loaded)
	assert.Len(t, w.market.Chats(), len(scenes))
}
