package bench_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// The server responds at once and does as little as possible, so that the client is
// what is measured. The chat's id selects what it does.
const (
	chatPlain   = 9021 // one page of 100 messages
	chatChunked = 2    // the same without a Content-Length
	chatSlow    = 3    // slowMessages in pages, each after pageLatency
	chatLong    = 4    // longMessages in pages
)

const (
	pageSize     = 100
	chatsPage    = 20
	slowMessages = 10_000
	longMessages = 1_000_000
	pageLatency  = 8 * time.Millisecond
	chatLatency  = 2 * time.Millisecond
)

// Over TLS the business identifies the caller.
const (
	ours = 1 + iota
	oursECDSA
	byHand
	businesses
)

// serverInfo is what the server prints when it is ready. Over TLS it closes the
// connection after every response, as Market does.
type serverInfo struct {
	HTTP        string
	RSA, ECDSA  string // by the kind of the certificates
	Authorities string // PEM
}

// serve runs until stdin ends.
func serve(stdin io.Reader, stdout io.Writer) error {
	mux := newMux()
	plain, err := listen()
	if err != nil {
		return err
	}
	go func() { _ = newServer(mux).Serve(plain) }()
	info := serverInfo{HTTP: "http://" + plain.Addr().String()}

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if info.RSA, err = info.serveTLS(mux, rsaKey); err != nil {
		return err
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if info.ECDSA, err = info.serveTLS(mux, ecdsaKey); err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(info); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

func (i *serverInfo) serveTLS(h http.Handler, key crypto.Signer) (address string, err error) {
	authority, certificate, err := newCertificate(key)
	if err != nil {
		return "", err
	}
	i.Authorities += authority
	listener, err := listen()
	if err != nil {
		return "", err
	}
	server := newServer(h)
	server.SetKeepAlivesEnabled(false)
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	return "https://" + listener.Addr().String(), nil
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
}

func newMux() *http.ServeMux {
	chat, list, history := oneChat(), pageOfChats(), appendMessages(nil, 0, pageSize, "")
	counts := &handshakes{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/businesses/{business}/chats", func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		respond(w, list)
	})
	mux.HandleFunc("GET /v2/businesses/{business}/chat", func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			counts.add(r)
		} else {
			latency(chatLatency)
		}
		respond(w, chat)
	})
	mux.HandleFunc("POST /v2/businesses/{business}/chats/history", func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		respondHistory(w, r, history)
	})
	mux.HandleFunc("POST /v2/businesses/{business}/chats/message", func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		respond(w, []byte(`{"status":"OK"}`))
	})
	mux.HandleFunc("POST /v2/businesses/{business}/chats/file/send", func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		respond(w, []byte(`{"status":"OK"}`))
	})
	mux.HandleFunc("GET /handshakes", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(counts.snapshot())
	})
	return mux
}

func drain(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

func latency(d time.Duration) {
	time.Sleep(d) // the network's latency, in a process of its own
}

func respond(w http.ResponseWriter, body []byte) {
	setHeaders(w.Header())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func setHeaders(h http.Header) {
	h.Set("Content-Type", "application/json;charset=utf-8")
	h.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	h.Set("X-RateLimit-Resource-Limit", "10000")
	h.Set("X-RateLimit-Resource-Remaining", "9990")
	h.Set("X-RateLimit-Resource-Until", "Mon, 02 Mar 2026 12:00:00 GMT")
}

func respondHistory(w http.ResponseWriter, r *http.Request, page []byte) {
	query := r.URL.Query()
	switch query.Get("chatId") {
	case strconv.Itoa(chatChunked):
		setHeaders(w.Header())
		_, _ = w.Write(page[:len(page)/2])
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(page[len(page)/2:])
	case strconv.Itoa(chatSlow):
		latency(pageLatency)
		respond(w, pageFrom(query.Get("pageToken"), slowMessages))
	case strconv.Itoa(chatLong):
		respond(w, pageFrom(query.Get("pageToken"), longMessages))
	default:
		respond(w, page)
	}
}

// pageFrom returns the page of a history of so many messages, oldest first, that
// begins at the token.
func pageFrom(token string, messages int) []byte {
	from, _ := strconv.Atoi(token)
	next := ""
	if from+pageSize < messages {
		next = strconv.Itoa(from + pageSize)
	}
	return appendMessages(make([]byte, 0, 64<<10), from, pageSize, next)
}

// text is a typical message of 160 letters.
const text = "Здравствуйте! Заказ приехал вовремя, но в коробке не оказалось крепления для стены. " +
	"Подскажите, пожалуйста, можно ли получить его отдельно, и сколько придётся ждать?"

const firstMessage = 1_772_440_800_000_000

func appendMessages(b []byte, from, n int, next string) []byte {
	b = append(b, `{"status":"OK","result":{"context":{"type":"ORDER","orderId":513427,"campaignId":2104,`+
		`"customer":{"name":"Анна","publicId":"ad6k2p"}},"orderId":513427,"messages":[`...)
	for i := from; i < from+n; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = append(b, `{"messageId":`...)
		b = strconv.AppendInt(b, firstMessage+int64(i)*1000, 10)
		b = append(b, `,"createdAt":"2026-03-02T11:40:00+03:00","sender":"`...)
		b = append(b, [...]string{"CUSTOMER", "PARTNER"}[i%2]...)
		b = append(append(append(b, `","message":"`...), text...), '"')
		if i%20 == 0 {
			b = append(b, `,"payload":[{"name":"photo.jpg","url":"https://files.messenger.yandex.net/files/5f1c0a2b","size":204800}]`...)
		}
		b = append(b, '}')
	}
	b = append(b, `],"paging":{`...)
	if next != "" {
		b = append(append(append(b, `"nextPageToken":"`...), next...), '"')
	}
	return append(b, `}}}`...)
}

const chat = `{"chatId":9021,"orderId":513427,"context":{"type":"ORDER","orderId":513427,"campaignId":2104,` +
	`"customer":{"name":"Анна Смирнова","publicId":"ad6k2p"}},"type":"CHAT","status":"WAITING_FOR_PARTNER",` +
	`"createdAt":"2026-03-02T09:15:00+03:00","updatedAt":"2026-03-02T11:40:00+03:00"}`

func oneChat() []byte { return []byte(`{"status":"OK","result":` + chat + `}`) }

func pageOfChats() []byte {
	b := []byte(`{"status":"OK","result":{"chats":[`)
	for i := range chatsPage {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, chat...)
	}
	return append(b, `],"paging":{"nextPageToken":"eyJvcCI6Ij4iLCJrIjoxfQ"}}}`...)
}

// handshakes counts the connections over TLS, full and resumed, by business.
type handshakes struct{ full, resumed [businesses]atomic.Int64 }

// handshakeCounts are by business.
type handshakeCounts struct{ Full, Resumed [businesses]int64 }

func (h *handshakes) add(r *http.Request) {
	business, _ := strconv.Atoi(r.PathValue("business"))
	if r.TLS.DidResume {
		h.resumed[business].Add(1)
		return
	}
	h.full[business].Add(1)
}

func (h *handshakes) snapshot() (counts handshakeCounts) {
	for i := range h.full {
		counts.Full[i], counts.Resumed[i] = h.full[i].Load(), h.resumed[i].Load()
	}
	return counts
}

// newCertificate returns a chain as public servers have it: root, intermediate and
// server. One key serves all three.
func newCertificate(key crypto.Signer) (authority string, _ tls.Certificate, err error) {
	root, err := sign(template("authority", true), nil, key)
	if err != nil {
		return "", tls.Certificate{}, err
	}
	middle, err := sign(template("intermediate", true), root, key)
	if err != nil {
		return "", tls.Certificate{}, err
	}
	leaf := template("server", false)
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server, err := sign(leaf, middle, key)
	if err != nil {
		return "", tls.Certificate{}, err
	}
	certificate := tls.Certificate{Certificate: [][]byte{server.Raw, middle.Raw}, PrivateKey: key, Leaf: server}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})), certificate, nil
}

func template(name string, authority bool) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "bench " + name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  authority,
		// They share a key: without IDs of their own they would be confused.
		SubjectKeyId: []byte(name),
	}
	if authority {
		t.KeyUsage = x509.KeyUsageCertSign
	}
	return t
}

// sign creates a certificate; without a parent it is self-signed.
func sign(t, parent *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = t
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
