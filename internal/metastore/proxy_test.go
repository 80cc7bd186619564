package metastore_test

import (
	"bytes"
	"net"
	"regexp"
	"sync"
	"testing"
	"time"
)

// fate is what becomes of a COMMIT on its way to the server.
type fate string

const (
	passed     fate = "is passed on"
	unheard    fate = "is lost" // and the server sees the connection end
	stuck      fate = "is lost, and the server is not told"
	unanswered fate = "is done, and its answer is lost"
	late       fate = "comes late"
)

// lateness is how late a COMMIT comes.
const lateness = 300 * time.Millisecond

// proxy stands between a node and PostgreSQL.
type proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns map[net.Conn]bool
	away  bool   // nobody gets through
	fates []fate // of the next commits of a writer
	met   int    // commits that had a fate
}

func startProxy(t testing.TB, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{listener: listener, server: server, conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.set(true)
		running.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// set takes the server away, which ends all connections, or lets it come back.
func (p *proxy) set(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	if away {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() { p.set(true); p.set(false) }

// next says what becomes of the next commits.
func (p *proxy) next(fates ...fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fates = append(p.fates, fates...)
}

func (p *proxy) fateOf() fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.fates) == 0 {
		return passed
	}
	f := p.fates[0]
	p.fates = p.fates[1:]
	p.met++
	return f
}

// left is how many of the fates have not come true yet.
func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fates)
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) end(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *proxy) serve(client net.Conn) {
	upstream, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	defer p.end(upstream)
	defer p.end(client)
	if !p.keep(client) || !p.keep(upstream) {
		return
	}
	mute := make(chan struct{}) // closed: answers are dropped
	var answers sync.WaitGroup
	answers.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := upstream.Read(buffer)
			select {
			case <-mute:
				return
			default:
			}
			if err == nil {
				_, err = client.Write(buffer[:n])
			}
			if err != nil {
				p.end(client)
				return
			}
		}
	})
	p.requests(client, upstream, mute, &answers)
	p.end(upstream)
	answers.Wait()
}

// prepared finds the name that a writer gives to its COMMIT.
var prepared = regexp.MustCompile(`(s[0-9]+)\x00COMMIT\x00`)

// requests passes on what a client says.
func (p *proxy) requests(client, upstream net.Conn, mute chan struct{}, answers *sync.WaitGroup) {
	buffer := make([]byte, 1<<20)
	var commit []byte // names it in a chunk
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		chunk := buffer[:n]
		if m := prepared.FindSubmatch(chunk); m != nil {
			commit = append(append([]byte{0}, m[1]...), 0)
		}
		if commit == nil || !bytes.Contains(chunk, commit) {
			if _, err := upstream.Write(chunk); err != nil {
				return
			}
			continue
		}
		switch f := p.fateOf(); f {
		case passed:
			if _, err := upstream.Write(chunk); err != nil {
				return
			}
			continue
		case stuck:
			p.end(client)
			answers.Wait() // until the server gives up
		case late:
			close(mute)
			p.end(client)
			time.Sleep(lateness)
			_, _ = upstream.Write(chunk)
			answers.Wait()
		case unanswered:
			close(mute)
			_, _ = upstream.Write(chunk)
			answers.Wait()
		}
		return
	}
}
