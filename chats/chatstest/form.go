package chatstest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"

	"github.com/ymchats/ymchats-go/chats"
)

// Upload is a file as it reached the Market in a sendFileToChat request.
type Upload struct {
	Name        string
	ContentType string // from the part's header
	Data        []byte
}

// upload reads the file of a complete form.
func (r *request) upload() (Upload, *problem) {
	contentType := r.header.Get("Content-Type")
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "multipart/form-data" {
		return Upload{}, unsupported(contentType)
	}
	if len(r.body) > maxFormBody {
		return Upload{}, badRequest("The file is larger than %d bytes", chats.MaxFileSize)
	}
	// The multipart reader treats a form that is truncated within a part's header as complete.
	if !bytes.HasSuffix(bytes.TrimSpace(r.body), []byte("--"+params["boundary"]+"--")) {
		return Upload{}, badRequest("The form is not complete")
	}
	var found []Upload
	form := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Upload{}, badRequest("The form cannot be read: %v", err)
		}
		upload, p := readPart(part)
		if p != nil {
			return Upload{}, p
		}
		if part.FormName() == "file" {
			found = append(found, upload)
		}
	}
	if len(found) != 1 {
		return Upload{}, badRequest("The form must have one part 'file', and has %d", len(found))
	}
	return found[0], found[0].check()
}

func readPart(part *multipart.Part) (Upload, *problem) {
	data, err := io.ReadAll(part)
	if err != nil {
		return Upload{}, badRequest("The form cannot be read: %v", err)
	}
	return Upload{Name: part.FileName(), ContentType: part.Header.Get("Content-Type"), Data: data}, nil
}

func (u Upload) check() *problem {
	switch {
	case u.Name == "":
		return badRequest("The file has no name")
	case len(u.Data) == 0:
		return badRequest("The file is empty")
	case len(u.Data) > chats.MaxFileSize:
		return badRequest("The file is larger than %d bytes", chats.MaxFileSize)
	}
	return nil
}
