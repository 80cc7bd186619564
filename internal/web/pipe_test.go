package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"artifactstore/internal/web"
)

// pipes is a listener whose connections are pipes, so that a server can run
// inside a synctest bubble, where time costs nothing.
type pipes struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.accept <- server
	return client
}

// server is a running web.Serve.
type server struct {
	*pipes
	log  *lines
	stop func()     // begins the drain
	done chan error // what Serve returned
}

func serve(t *testing.T, handler http.HandlerFunc, o web.Options) *server {
	t.Helper()
	s := &server{pipes: newPipes(), log: new(lines), done: make(chan error, 1)}
	o.Log = slog.New(slog.NewJSONHandler(s.log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() { s.done <- web.Serve(ctx, s.pipes, handler, o) }()
	return s
}

// request sends a request on a connection of its own and returns its response.
func (s *server) request(t *testing.T, text string) (*http.Response, net.Conn) {
	t.Helper()
	c := s.dial()
	go io.WriteString(c, text)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("read response: %v", err)
	}
	return res, c
}

// lines collects a JSON log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// requests returns the lines of requests.
func (l *lines) requests(t *testing.T) (entries []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry["msg"] == "request" {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
