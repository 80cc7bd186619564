package harness

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// WireProxy stands between nodes and PostgreSQL, and does to commits what a
// network does. It reads the protocol, so connections must not be encrypted. It
// is safe for concurrent use.
type WireProxy struct {
	listener net.Listener
	server   string
	ended    chan struct{}
	running  sync.WaitGroup

	mu      sync.Mutex
	rule    WireRule
	commits int
	faults  int
	open    map[*wire]struct{}
	dark    bool
	lit     chan struct{} // closed when it is not dark any more
}

// WireRule says what happens to a commit. It is called for one at a time, and
// only for those that have written something.
type WireRule func() WireFault

// WireFault is what happens to a commit; the zero value lets it pass.
type WireFault struct {
	// Delay is waited before the COMMIT is passed on.
	Delay time.Duration
	// Drop cuts the connection, and the server never sees the COMMIT.
	Drop bool
	// Lose lets the server commit, and cuts the connection when it answers.
	Lose bool
	// Blind cuts the connection to the client as soon as the COMMIT has been
	// passed on: nobody waits for the server, which may be at it still.
	Blind bool
	// Hang withholds the answer for so long, and then cuts the connection.
	Hang time.Duration
}

// StartWireProxy starts a proxy before a server, given as "host:port". It ends
// with the test.
func StartWireProxy(t testing.TB, server string) *WireProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Must(t, err)
	p := &WireProxy{listener: listener, server: server, ended: make(chan struct{}),
		open: map[*wire]struct{}{}, lit: make(chan struct{})}
	close(p.lit)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		close(p.ended)
		_ = listener.Close() // nothing was written
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Host is the proxy's address, as "127.0.0.1:port".
func (p *WireProxy) Host() string { return p.listener.Addr().String() }

// Set replaces the rule; nil lets everything pass.
func (p *WireProxy) Set(rule WireRule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Counts returns how many commits there were, and how many of them met a fault.
func (p *WireProxy) Counts() (commits, faults int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commits, p.faults
}

// Cut resets all connections.
func (p *WireProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.open {
		w.cut()
	}
}

// Darken makes the proxy swallow what is said, in both directions and without a
// word, until Light: so a network that has gone looks.
func (p *WireProxy) Darken() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dark {
		p.dark, p.lit = true, make(chan struct{})
	}
}

// Light ends Darken. What was swallowed is lost, and so are its connections.
func (p *WireProxy) Light() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dark {
		return
	}
	p.dark = false
	for w := range p.open {
		w.cut()
	}
	close(p.lit)
}

// wire is one connection from a client to the server.
type wire struct {
	client, server net.Conn

	mu    sync.Mutex
	fault WireFault // of the commit that is under way
}

// cut resets both ends.
func (w *wire) cut() {
	for _, c := range []net.Conn{w.client, w.server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (p *WireProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() {
			if p.wait() != nil {
				_ = client.Close()
				return
			}
			server, err := net.Dial("tcp", p.server)
			if err != nil {
				_ = client.Close() // as if nobody listened
				return
			}
			p.pass(&wire{client: client, server: server})
		})
	}
}

// wait waits while it is dark.
func (p *WireProxy) wait() error {
	p.mu.Lock()
	lit := p.lit
	p.mu.Unlock()
	select {
	case <-lit:
		return nil
	case <-p.ended:
		return net.ErrClosed
	}
}

// pass passes a connection on until either end closes it.
func (p *WireProxy) pass(w *wire) {
	p.mu.Lock()
	p.open[w] = struct{}{}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.answers(w)
		w.cut()
	}()
	p.requests(w)
	w.cut()
	<-done
	p.mu.Lock()
	delete(p.open, w)
	p.mu.Unlock()
}

// requests passes on what the client says, message by message.
func (p *WireProxy) requests(w *wire) {
	from, to := bufio.NewReader(w.client), bufio.NewWriter(w.server)
	startup, err := from.Peek(4)
	if err != nil {
		return
	}
	if _, err := io.CopyN(to, from, int64(binary.BigEndian.Uint32(startup))); err != nil {
		return
	}
	said := statements{commits: map[string]bool{}}
	for {
		if from.Buffered() == 0 && to.Flush() != nil {
			return
		}
		kind, body, err := message(from)
		if err != nil || p.wait() != nil {
			return
		}
		if said.hear(kind, body) && !p.begin(w) {
			return
		}
		if _, err := to.Write(body); err != nil {
			return
		}
		if kind == 'S' {
			if to.Flush() != nil || !w.goesOn() {
				return
			}
		}
	}
}

// begin applies the rule to a commit before it is passed on, and tells whether
// it is to be.
func (p *WireProxy) begin(w *wire) bool {
	p.mu.Lock()
	p.commits++
	var f WireFault
	if p.rule != nil {
		f = p.rule()
	}
	if f != (WireFault{}) {
		p.faults++
	}
	p.mu.Unlock()
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-p.ended:
			return false
		}
	}
	w.mu.Lock()
	w.fault = f
	w.mu.Unlock()
	return !f.Drop
}

// goesOn tells, once a commit was passed on, whether anybody waits for the answer.
func (w *wire) goesOn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.fault.Blind
}

// answers passes on what the server says. The answer to a commit ends with the
// message that says that it is ready for the next statement.
func (p *WireProxy) answers(w *wire) {
	from, to := bufio.NewReader(w.server), bufio.NewWriter(w.client)
	for {
		if from.Buffered() == 0 && to.Flush() != nil {
			return
		}
		kind, body, err := message(from)
		if err != nil || p.wait() != nil {
			return
		}
		w.mu.Lock()
		f := w.fault
		w.mu.Unlock()
		if !f.Lose && f.Hang == 0 {
			if _, err := to.Write(body); err != nil {
				return
			}
			continue
		}
		if kind == 'Z' {
			select {
			case <-time.After(f.Hang):
			case <-p.ended:
			}
			return
		}
	}
}

// message reads a message, and returns it with its kind and length.
func message(from *bufio.Reader) (kind byte, all []byte, err error) {
	const frame, largest = 5, 1 << 30
	head, err := from.Peek(frame)
	if err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > largest {
		return 0, nil, fmt.Errorf("a message of %d bytes", length)
	}
	all = make([]byte, 1+int(length))
	_, err = io.ReadFull(from, all)
	return head[0], all, err
}

// statements follow what a client asks for.
type statements struct {
	commits map[string]bool // which names are statements that commit
	asked   int             // since the last answer was asked for
}

// hear takes in a message and tells whether it is the COMMIT of a transaction
// that wrote something together with it, as the nodes do.
func (s *statements) hear(kind byte, message []byte) bool {
	const frame = 5
	body := message[frame:]
	switch kind {
	case 'P': // name, statement, types
		name, rest := text(body)
		statement, _ := text(rest)
		s.commits[name] = strings.EqualFold(statement, "COMMIT")
	case 'B': // portal, name, arguments
		_, rest := text(body)
		name, _ := text(rest)
		s.asked++
		return s.commits[name] && s.asked > 1
	case 'S':
		s.asked = 0
	}
	return false
}

// text reads a text that ends with a zero byte.
func text(data []byte) (string, []byte) {
	before, after, _ := bytes.Cut(data, []byte{0})
	return string(before), after
}
