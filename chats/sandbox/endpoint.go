package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
)

// Limits of the page's endpoints.
const (
	maxJSON     = 64 << 10
	maxForm     = maxAttached*chats.MaxFileSize + 1<<20
	maxAttached = 4 // files per message
	maxName     = 100
	maxListed   = 100 // items per response
)

// problem is an error that the page shows.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func invalid(format string, values ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, values...)}
}

var errNotFound = &problem{http.StatusNotFound, "not found"}

// endpoint handles a request and returns a value to be encoded as JSON.
type endpoint func(r *http.Request) (any, error)

// ServeHTTP implements [http.Handler].
func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	limit := int64(maxJSON)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		limit = maxForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	value, err := e(r)
	if err != nil {
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{http.StatusInternalServerError, err.Error()}
		}
		w.WriteHeader(p.status)
		value = map[string]string{"error": p.text}
	}
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // it fails only if the client is gone
}

// decode reads the JSON of a request.
func decode(r *http.Request, into any) error {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "application/json" {
		return &problem{http.StatusUnsupportedMediaType, "the request must be JSON"}
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return invalid("the request cannot be read: %v", err)
	}
	return nil
}

func checkName(what, name string) error {
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName {
		return invalid("%s: must have at most %d characters", what, maxName)
	}
	return nil
}

func number[T int | int64](text string, standard, maximum T) (T, error) {
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > int64(maximum) {
		return 0, invalid("%q: must be a number from 0 to %d", cut(text, 30), maximum)
	}
	return T(n), nil
}
