//go:build unix

package postgres

import (
	"net"
	"testing"
	"time"
)

// TestPeekDoesNotWaitForAReader: whoever reads from the connection may do so for
// as long as the server is silent.
func TestPeekDoesNotWaitForAReader(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	reading := make(chan struct{})
	go func() {
		close(reading)
		_, _ = client.Read(make([]byte, 1)) // ends with the connection
	}()
	<-reading
	time.Sleep(50 * time.Millisecond) // it is blocked now
	look := func() (open bool) {
		answer := make(chan bool, 1)
		go func() {
			open, _ := peek(client)
			answer <- open
		}()
		select {
		case open = <-answer:
		case <-time.After(20 * time.Second):
			t.Fatal("peek waits for the reader")
		}
		return open
	}
	if !look() {
		t.Error("a connection that stands looks closed")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for look() {
		time.Sleep(time.Millisecond) // the end arrives soon
	}
}
