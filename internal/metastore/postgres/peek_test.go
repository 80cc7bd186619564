package postgres_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/internal/metastore/postgres"
)

// TestLookingAtAConnectionDoesNotWaitForItsReader: after a write that took long
// pgx leaves a goroutine that reads until the server says something, which
// it does not while nothing is asked of it.
func TestLookingAtAConnectionDoesNotWaitForItsReader(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	client, err := net.Dial("tcp", listener.Addr().String())
	must(t, err)
	server, err := listener.Accept()
	must(t, err)
	ended := make(chan error)
	go func() {
		_, err := io.ReadFull(client, make([]byte, 1))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond) // it mostly has begun to read by then
	var late atomic.Bool
	guard := time.AfterFunc(10*time.Second, func() {
		late.Store(true)
		_, _ = server.Write([]byte("x")) // or the test would never end
	})
	open, arrived := postgres.Peek(client)
	guard.Stop()
	if !open || arrived || late.Load() {
		t.Errorf("open %v, arrived %v, only after the reader %v", open, arrived, late.Load())
	}
	must(t, server.Close())
	if err := <-ended; err == nil && !late.Load() {
		t.Error("the reader has read something")
	}
	if open, _ := postgres.Peek(client); open {
		t.Error("the end that another reader has seen is not seen")
	}
	must(t, errors.Join(client.Close(), listener.Close()))
	if open, _ := postgres.Peek(client); open {
		t.Error("a closed connection is open")
	}
}
