package integration

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pooler stands between PostgreSQL and its clients as PgBouncer does in transaction mode:
// each transaction gets one of the server's sessions at random.
type pooler struct {
	server string

	mu    sync.Mutex
	idle  []*session
	conns map[net.Conn]struct{}
}

// session is one of the server's.
type session struct {
	conn     net.Conn
	greeting []byte // what the server said until it was ready
}

// startPooler returns the database behind a pooler.
func startPooler(t *testing.T, d database) database {
	t.Helper()
	address, err := url.Parse(d.dsn)
	require.NoError(t, err)
	p := &pooler{server: address.Host, conns: make(map[net.Conn]struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.track(client)
			clients.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.closeAll()
		clients.Wait()
	})
	address.Host = listener.Addr().String()
	d.dsn = address.String()
	return d
}

func (p *pooler) track(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = struct{}{}
}

func (p *pooler) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *pooler) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	startup, err := readMessage(client, 0)
	if err != nil {
		return
	}
	s, err := p.acquire(startup)
	if err != nil {
		return
	}
	p.release(s)
	if _, err := client.Write(s.greeting); err != nil {
		return
	}
	for err == nil {
		err = p.transaction(client, startup)
	}
}

// transaction serves a client until its transaction has ended.
func (p *pooler) transaction(client net.Conn, startup []byte) error {
	message, err := readMessage(client, 1)
	if err != nil || message[0] == 'X' {
		return io.EOF
	}
	s, err := p.acquire(startup)
	if err != nil {
		return err
	}
	for {
		if _, err := s.conn.Write(message); err != nil {
			return err
		}
		if message[0] == 'Q' || message[0] == 'S' {
			response, err := s.untilReady()
			if err != nil {
				return err
			}
			inTransaction := response[len(response)-1] != 'I'
			if !inTransaction {
				p.release(s)
			}
			if _, err := client.Write(response); err != nil || !inTransaction {
				return err
			}
		}
		if message, err = readMessage(client, 1); err != nil {
			_ = s.conn.Close() // which rolls back
			return err
		}
	}
}

// acquire returns a session. There are three at least, so that two statements of one
// client rarely have the same.
func (p *pooler) acquire(startup []byte) (*session, error) {
	p.mu.Lock()
	if n := len(p.idle); n >= 3 {
		i := rand.IntN(n)
		s := p.idle[i]
		p.idle[i], p.idle = p.idle[n-1], p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	conn, err := net.Dial("tcp", p.server)
	if err != nil {
		return nil, err
	}
	p.track(conn)
	s := &session{conn: conn}
	if _, err := conn.Write(startup); err != nil {
		return nil, err
	}
	s.greeting, err = s.untilReady()
	return s, err
}

func (p *pooler) release(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, s)
}

// untilReady reads until the server is ready for the next statement.
func (s *session) untilReady() (all []byte, err error) {
	for {
		message, err := readMessage(s.conn, 1)
		if err != nil {
			return nil, err
		}
		if all = append(all, message...); message[0] == 'Z' {
			return all, nil
		}
	}
}

// readMessage reads a message of the PostgreSQL protocol: its type, except for the first
// one of a client, its length without that, and the rest.
func readMessage(conn net.Conn, typeBytes int) ([]byte, error) {
	head := make([]byte, typeBytes+4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	message := append(head, make([]byte, binary.BigEndian.Uint32(head[typeBytes:])-4)...) //nolint:gocritic // head is full
	_, err := io.ReadFull(conn, message[len(head):])
	return message, err
}
