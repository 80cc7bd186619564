package harness

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// FaultProxy stands between clients of S3 and a server, and does to requests
// what a network and a busy server do. It is safe for concurrent use.
type FaultProxy struct {
	server *httptest.Server
	ended  chan struct{}

	mu    sync.Mutex
	rule  Rule
	count map[string]int
}

// Rule says what happens to a request. It is called for one request at a time.
type Rule func(r *http.Request) Fault

// Fault is what happens to a request; the zero value lets it pass.
type Fault struct {
	// Delay is waited before anything else.
	Delay time.Duration
	// Status, if not 0, is answered with an S3 error of this Code, and the
	// server is not asked.
	Status int
	Code   string
	// Reset resets the connection, and the server is not asked.
	Reset bool
	// Lose lets the server do what it is asked, and resets the connection
	// instead of answering.
	Lose bool
	// Err lets the server do what it is asked, and answers with status 200
	// and an S3 error of this code, as CompleteMultipartUpload may.
	Err string
	// Cut, if not 0, breaks the connection after so many bytes of the answer's body.
	Cut int64
}

// SlowDown is what S3 answers when it is asked too often.
var SlowDown = Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}

// StartFaultProxy starts a proxy before a server, given as "http://host:port".
// It ends with the test.
func StartFaultProxy(t testing.TB, endpoint string) *FaultProxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	Must(t, err)
	p := &FaultProxy{count: map[string]int{}, ended: make(chan struct{})}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	p.server = httptest.NewServer(p.handler(target, transport))
	t.Cleanup(func() {
		close(p.ended)
		p.server.CloseClientConnections()
		p.server.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// URL is the proxy's address, as "http://127.0.0.1:port".
func (p *FaultProxy) URL() string { return p.server.URL }

// Set replaces the rule; nil lets everything pass.
func (p *FaultProxy) Set(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Counts returns how often each operation was asked for since Reset, by name
// as Operation gives it, also those that met a fault.
func (p *FaultProxy) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[string]int, len(p.count))
	for name, n := range p.count {
		counts[name] = n
	}
	return counts
}

// Reset sets all counts to 0.
func (p *FaultProxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.count)
}

// Share returns a rule that gives a share of all requests, between 0 and 1, a
// fault, by a seed that the caller prints.
func Share(seed uint64, share float64, fault Fault) Rule {
	random := rand.New(rand.NewPCG(seed, seed))
	return func(*http.Request) Fault {
		if random.Float64() < share {
			return fault
		}
		return Fault{}
	}
}

// Once returns a rule that gives the first n requests for an operation a fault.
func Once(operation string, n int, fault Fault) Rule {
	return func(r *http.Request) Fault {
		if n == 0 || Operation(r) != operation {
			return Fault{}
		}
		n--
		return fault
	}
}

// Operation names what a request asks of S3 for, as its documentation does.
func Operation(r *http.Request) string {
	query, object := r.URL.Query(), strings.Contains(strings.Trim(r.URL.Path, "/"), "/")
	kind := "Bucket"
	switch {
	case query.Has("uploads") && r.Method == http.MethodGet:
		return "ListMultipartUploads"
	case query.Has("uploads"):
		return "CreateMultipartUpload"
	case query.Has("partNumber"):
		return "UploadPart"
	case query.Has("uploadId"):
		return map[string]string{
			http.MethodGet: "ListParts", http.MethodPost: "CompleteMultipartUpload", http.MethodDelete: "AbortMultipartUpload",
		}[r.Method]
	case query.Has("delete"):
		return "DeleteObjects"
	case object && r.Header.Get("X-Amz-Copy-Source") != "":
		return "CopyObject"
	case object:
		kind = "Object"
	case r.Method == http.MethodGet:
		return "ListObjects"
	}
	return r.Method[:1] + strings.ToLower(r.Method[1:]) + kind
}

// handler applies the rule, and passes on what is to be passed on.
func (p *FaultProxy) handler(target *url.URL, transport http.RoundTripper) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := p.decide(r)
		if fault.Delay > 0 {
			select {
			case <-time.After(fault.Delay):
			case <-r.Context().Done():
				return
			case <-p.ended: // while a body is unread, nobody sees the client go
				return
			}
		}
		switch {
		case fault.Reset:
			reset(w)
		case fault.Status != 0:
			_, _ = io.Copy(io.Discard, r.Body) // as servers do, so that the client reads the answer
			answer(w, fault.Status, fault.Code)
		default:
			pass(w, r, fault, target, transport)
		}
	})
}

func (p *FaultProxy) decide(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[Operation(r)]++
	if p.rule == nil {
		return Fault{}
	}
	return p.rule(r)
}

var errFault = errors.New("the fault proxy was told to")

// pass asks the server and does to its answer what the fault says. The Host
// stays that of the client, whose signature covers it.
func pass(w http.ResponseWriter, r *http.Request, fault Fault, target *url.URL, transport http.RoundTripper) {
	proxy := httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // so that a cut comes after what was let through
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.Out.Host = pr.In.Host
		},
		ModifyResponse: func(resp *http.Response) error {
			if fault.Cut > 0 {
				resp.Body = &cutBody{resp.Body, fault.Cut}
			}
			if !fault.Lose && fault.Err == "" {
				return nil
			}
			_, err := io.Copy(io.Discard, resp.Body) // then it is done
			return errors.Join(errFault, err)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if fault.Err != "" && errors.Is(err, errFault) {
				answer(w, http.StatusOK, fault.Err)
				return
			}
			reset(w)
		},
	}
	proxy.ServeHTTP(w, r)
}

// answer sends an error as S3 writes it.
func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>%s</Code><Message>The fault proxy was told to.</Message><RequestId>1</RequestId></Error>`, code)
}

// reset closes the client's connection so that it gets a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// cutBody is a body whose connection breaks.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errFault
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
