package web_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"artifactstore/internal/web"
)

// tap counts the bytes that reach the connection as a file, which is the form
// that the kernel sends by itself.
type tap struct {
	net.Listener
	files atomic.Int64
}

func (l *tap) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapConn{c, l}, nil
}

type tapConn struct {
	net.Conn
	tap *tap
}

func (c *tapConn) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if ok {
		_, ok = limited.R.(interface{ Fd() uintptr })
	}
	n, err := c.Conn.(io.ReaderFrom).ReadFrom(src)
	if ok {
		c.tap.files.Add(n)
	}
	return n, err
}

func TestFileReachesTheConnectionAsAFile(t *testing.T) {
	const size = 5<<20 + 123
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]func(*os.File) io.Reader{
		"whole": func(f *os.File) io.Reader { return struct{ io.Reader }{io.LimitReader(f, size)} }, // hidden: copied
		"file":  func(f *os.File) io.Reader { return f },
		"part":  func(f *os.File) io.Reader { return io.LimitReader(f, size-1000) },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				n := int64(size)
				if name == "part" {
					n -= 1000
				}
				w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
				io.Copy(w, source(f))
			}), web.Options{}))
			l := &tap{Listener: s.Listener}
			s.Listener = l
			s.Start()
			defer s.Close()
			res, err := http.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			n, err := io.Copy(io.Discard, res.Body)
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			files := l.files.Load()
			if name == "whole" && files != 0 || name != "whole" && files < n-512 {
				t.Errorf("%d of %d bytes reached the connection as a file", files, n)
			}
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	// httptest makes the certificate.
	donor := httptest.NewTLSServer(nil)
	defer donor.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
		io.WriteString(w, r.Proto)
	})
	o := web.Options{TLS: &tls.Config{Certificates: donor.TLS.Certificates, MinVersion: tls.VersionTLS10}}
	go web.Serve(t.Context(), l, handler, o)
	if c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
	client := donor.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	res, err := client.Get("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if data, err := io.ReadAll(res.Body); err != nil || string(data) != "HTTP/2.0" {
		t.Errorf("read %q, %v", data, err)
	}
}
