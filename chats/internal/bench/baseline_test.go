package bench_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// baseline is what a careful developer would write by hand: net/http,
// encoding/json into structs with the required fields, io.ReadAll. Its http.Client
// has the settings of the library's except for the TLS session cache, which
// hand-written code forgets. It neither retries nor observes limits.
type baseline struct {
	address string
	client  *http.Client
}

func newBaseline(address string) *baseline {
	return &baseline{address, &http.Client{Transport: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
	}}}
}

type (
	reply[T any] struct {
		Status string `json:"status"`
		Result T      `json:"result"`
	}
	pager struct {
		NextPageToken string `json:"nextPageToken"`
	}
	message struct {
		ID        int64     `json:"messageId"`
		CreatedAt time.Time `json:"createdAt"`
		Sender    string    `json:"sender"`
		Text      string    `json:"message"`
		Files     []struct {
			Name string `json:"name"`
			URL  string `json:"url"`
			Size int64  `json:"size"`
		} `json:"payload"`
	}
	history struct {
		Messages []message `json:"messages"`
		Paging   pager     `json:"paging"`
	}
	conversation struct {
		ID      int64 `json:"chatId"`
		Context struct {
			Type       string `json:"type"`
			OrderID    int64  `json:"orderId"`
			CampaignID int64  `json:"campaignId"`
			Customer   struct {
				Name     string `json:"name"`
				PublicID string `json:"publicId"`
			} `json:"customer"`
		} `json:"context"`
		Type      string    `json:"type"`
		Status    string    `json:"status"`
		CreatedAt time.Time `json:"createdAt"`
		UpdatedAt time.Time `json:"updatedAt"`
	}
	conversations struct {
		Chats  []conversation `json:"chats"`
		Paging pager          `json:"paging"`
	}
)

func (b *baseline) historyPage(ctx context.Context, chat int64, token string) (*history, error) {
	query := url.Values{"chatId": {strconv.FormatInt(chat, 10)}, "limit": {strconv.Itoa(pageSize)}}
	if token != "" {
		query.Set("pageToken", token)
	}
	return call[history](ctx, b, http.MethodPost, "/chats/history", query, struct{}{})
}

func (b *baseline) chatsPage(ctx context.Context) (*conversations, error) {
	query := url.Values{"limit": {strconv.Itoa(chatsPage)}}
	return call[conversations](ctx, b, http.MethodPost, "/chats", query, struct{}{})
}

func (b *baseline) chat(ctx context.Context, chat int64) (*conversation, error) {
	query := url.Values{"chatId": {strconv.FormatInt(chat, 10)}}
	return call[conversation](ctx, b, http.MethodGet, "/chat", query, nil)
}

func (b *baseline) sendText(ctx context.Context, chat int64, text string) error {
	query := url.Values{"chatId": {strconv.FormatInt(chat, 10)}}
	body := struct {
		Message string `json:"message"`
	}{text}
	_, err := call[struct{}](ctx, b, http.MethodPost, "/chats/message", query, body)
	return err
}

func call[T any](ctx context.Context, b *baseline, method, path string, query url.Values, body any) (*T, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := b.request(ctx, method, path, query, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return do[T](b, req)
}

func (b *baseline) request(
	ctx context.Context, method, path string, query url.Values, content io.Reader,
) (*http.Request, error) {
	address := fmt.Sprintf("%s/v2/businesses/%d%s?%s", b.address, byHand, path, query.Encode())
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Api-Key", key)
	req.Header.Set("Accept", "application/json")
	return req, nil
}

func do[T any](b *baseline, req *http.Request) (*T, error) {
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, data)
	}
	var r reply[T]
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Status != "OK" {
		return nil, fmt.Errorf("status %s", r.Status)
	}
	return &r.Result, nil
}

// sendFile writes the form to a pipe, as is usual.
func (b *baseline) sendFile(ctx context.Context, chat int64, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() {
		part, err := form.CreateFormFile("file", "photo.jpg")
		if err == nil {
			_, err = io.Copy(part, file)
		}
		if err == nil {
			err = form.Close()
		}
		_ = writer.CloseWithError(err)
	}()
	query := url.Values{"chatId": {strconv.FormatInt(chat, 10)}}
	req, err := b.request(ctx, http.MethodPost, "/chats/file/send", query, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	_, err = do[struct{}](b, req)
	return err
}
