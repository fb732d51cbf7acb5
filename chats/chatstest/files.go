package chatstest

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/ymchats/ymchats-go/chats"
)

// filesPath is where the Market serves files.
const filesPath = "/files/"

type servedFile struct {
	contentType string
	data        []byte
}

// AddFile lets the Market serve a file and returns it for
// [Market.CustomerSays]. It can be downloaded with the Market's credential only,
// unless there is [WithOpenFiles].
func (m *Market) AddFile(name string, data []byte) chats.File {
	m.lock()
	defer m.mu.Unlock()
	return m.store(name, http.DetectContentType(data), data)
}

func (m *Market) store(name, contentType string, data []byte) chats.File {
	path := fmt.Sprintf("%s%d/%s", filesPath, m.next(), name)
	m.files[path] = servedFile{contentType, data}
	return chats.File{
		Name: name,
		URL:  m.settings.fileURL((&url.URL{Path: path}).EscapedPath()),
		Size: int64(len(data)),
	}
}

func (m *Market) serveFile(r *request) reply {
	if !m.settings.openFiles && m.authorize(r.header) != nil {
		return plainReply(http.StatusForbidden, "text/plain; charset=utf-8", []byte("Forbidden\n"))
	}
	file, ok := m.files[r.path]
	if !ok {
		return plainReply(http.StatusNotFound, "text/plain; charset=utf-8", []byte("Not Found\n"))
	}
	return plainReply(http.StatusOK, file.contentType, file.data)
}
