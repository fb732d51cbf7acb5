package chatstest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ymchats/ymchats-go/chats"
)

// filesPath is the path below which the Market serves files.
const filesPath = "/files/"

func (s *store) addFile(name, contentType string, data []byte) chats.File {
	path := fmt.Sprintf("%s%d/%s", filesPath, s.nextID(), name)
	s.files[path] = storedFile{contentType, bytes.Clone(data)}
	return chats.File{
		Name: name,
		URL:  s.settings.fileBase + (&url.URL{Path: path}).EscapedPath(),
		Size: int64(len(data)),
	}
}

func (s *store) serveFile(r *request) response {
	isToken := r.header.Get("Authorization") == "OAuth "+fakeToken // what chats.AttachmentOAuth sends
	if !s.settings.openFiles && !isToken && s.authenticate(r.header) != nil {
		return newResponse(http.StatusForbidden, "text/plain; charset=utf-8", []byte("Forbidden\n"))
	}
	file, ok := s.files[r.path]
	if !ok {
		return newResponse(http.StatusNotFound, "text/plain; charset=utf-8", []byte("Not Found\n"))
	}
	return newResponse(http.StatusOK, file.contentType, file.data)
}
