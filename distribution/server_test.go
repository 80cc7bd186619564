package distribution_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"artifactstore/distribution"
	"artifactstore/internal/budget"
	"artifactstore/internal/dataplane"
	"artifactstore/internal/metastore"
	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
)

// inlineLimit is up to how many bytes the server of the tests keeps content in
// its database.
const inlineLimit = 4 << 10

// server is the whole stack over real stores in a folder of the test. When the
// test ends, replaying its log must give its views.
type server struct {
	t      *testing.T
	url    string
	files  string // the folder of the objects
	tap    *tap
	log    *logBuffer
	ledger *metastore.Store
	http   *httptest.Server
}

type settings struct {
	wrap     func(storagedriver.Driver) storagedriver.Driver
	registry registry.Options
	door     distribution.Options
}

func newServer(t *testing.T, change ...func(*settings)) *server {
	t.Helper()
	var o settings
	for _, f := range change {
		f(&o)
	}
	dir, ctx := t.TempDir(), t.Context()
	ledger, err := metastore.Open(ctx, filepath.Join(dir, "artifactstore.db"), metastore.Options{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, ledger.Migrate(ctx, func(metastore.Migration) {}))
	driver, err := filesystem.Open(filepath.Join(dir, "store"), filesystem.Options{})
	must(t, err)
	stored := storagedriver.Driver(driver)
	if o.wrap != nil {
		stored = o.wrap(driver)
	}
	plane, err := dataplane.New(map[string]storagedriver.Driver{"files": stored}, "files", ledger,
		dataplane.Options{InlineLimit: inlineLimit, Budget: budget.New(64 << 20)})
	must(t, err)
	reg, err := registry.New(ctx, ledger, plane, o.registry)
	must(t, err)
	s := &server{t: t, files: filepath.Join(dir, "store"), log: new(logBuffer), ledger: ledger}
	s.http = httptest.NewUnstartedServer(web.Wrap(distribution.New(reg, o.door), web.Options{
		Failure: distribution.Failure, Log: slog.New(slog.NewJSONHandler(s.log, nil)),
	}))
	s.tap = &tap{Listener: s.http.Listener}
	s.http.Listener = s.tap
	s.http.Start()
	s.url = s.http.URL
	t.Cleanup(func() {
		s.http.Close()
		// The test's context has ended by now.
		if _, err := ledger.Check(context.WithoutCancel(ctx), nil); err != nil {
			t.Errorf("check of the store: %v", err)
		}
		must(t, ledger.Close())
		must(t, driver.Close())
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tap counts the bytes that reach connections in the form in which the kernel
// sends files by itself.
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

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// reply is a response that was read to its end.
type reply struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// do sends a request. Header fields are given as "Name: value"; path may also
// be the Location of an earlier reply.
func (s *server) do(method, path string, body []byte, fields ...string) *reply {
	s.t.Helper()
	return s.send(method, path, bytes.NewReader(body), fields...)
}

// send is do with a body of any kind; one whose length is not known is sent in
// chunks.
func (s *server) send(method, path string, body io.Reader, fields ...string) *reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	must(s.t, err)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	res, err := s.http.Client().Do(r)
	must(s.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(s.t, err)
	reply := &reply{s.t, method + " " + path, res.StatusCode, res.Header, data}
	reply.common()
	return reply
}

// common checks what holds for every response.
func (r *reply) common() {
	r.t.Helper()
	for name, want := range map[string]string{
		"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff",
	} {
		if got := r.header.Get(name); got != want {
			r.t.Errorf("%s: %s is %q", r.what, name, got)
		}
	}
	if r.header.Get("X-Request-Id") == "" {
		r.t.Errorf("%s: no request id", r.what)
	}
	if r.status >= 500 {
		r.t.Errorf("%s: %d %s", r.what, r.status, r.body)
	}
	if r.status >= 400 && !strings.HasPrefix(r.what, "HEAD") {
		errorCode(r.t, bytes.NewReader(r.body))
	}
}

// want checks the status and header fields; an empty value means absent.
func (r *reply) want(status int, fields ...string) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d, want %d: %.300s", r.what, r.status, status, r.body)
	}
	for _, field := range fields {
		name, want, _ := strings.Cut(field, ": ")
		name = strings.TrimSuffix(name, ":")
		if got := strings.Join(r.header.Values(name), ", "); got != want {
			r.t.Errorf("%s: %s is %q, want %q", r.what, name, got, want)
		}
	}
	return r
}

// refused checks the status and the error code.
func (r *reply) refused(status int, code registry.Code, fields ...string) *reply {
	r.t.Helper()
	r.want(status, fields...)
	if got := errorCode(r.t, bytes.NewReader(r.body)); got != string(code) {
		r.t.Errorf("%s: code %q, want %q", r.what, got, code)
	}
	return r
}

func (r *reply) bytes(want []byte) *reply {
	r.t.Helper()
	if !bytes.Equal(r.body, want) {
		r.t.Errorf("%s: %d bytes of body differ from the %d wanted", r.what, len(r.body), len(want))
	}
	return r
}

func (r *reply) location() string { return r.header.Get("Location") }

func (r *reply) json(into any) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, into); err != nil {
		r.t.Fatalf("%s: %v in %.300s", r.what, err, r.body)
	}
}

// content returns bytes that no other seed gives.
func content(seed, size int) []byte {
	data := make([]byte, size)
	x := uint32(seed)*2654435761 + 1
	for i := range data {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		data[i] = byte(x)
	}
	return data
}

func digestOf(alg identity.Algorithm, data []byte) string {
	return identity.FromBytes(alg, data).String()
}

func sha256Of(data []byte) string { return digestOf(identity.SHA256, data) }

// pushBlob pushes in one request and returns the SHA-256 digest.
func (s *server) pushBlob(repository string, data []byte) string {
	s.t.Helper()
	d := sha256Of(data)
	s.do("POST", "/v2/"+repository+"/blobs/uploads/?digest="+d, data).want(201)
	return d
}

const (
	imageType  = "application/vnd.oci.image.manifest.v1+json"
	indexType  = "application/vnd.oci.image.index.v1+json"
	configType = "application/vnd.oci.image.config.v1+json"
)

// image pushes the config and the layer of an image and returns its manifest,
// which is not pushed; extra is more members of it.
func (s *server) image(repository string, seed int, extra string) []byte {
	s.t.Helper()
	config, layer := content(seed, 20), content(seed+1000, 200)
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":"a/layer","digest":%q,"size":%d}]%s}`,
		imageType, configType, s.pushBlob(repository, config), len(config), s.pushBlob(repository, layer), len(layer), extra)
}

// pushImage pushes an image by a tag or digest and returns its manifest.
func (s *server) pushImage(repository, reference string, seed int) []byte {
	s.t.Helper()
	manifest := s.image(repository, seed, "")
	s.putManifest(repository, reference, manifest).want(201)
	return manifest
}

func (s *server) putManifest(repository, reference string, manifest []byte, fields ...string) *reply {
	s.t.Helper()
	return s.do("PUT", "/v2/"+repository+"/manifests/"+reference, manifest, append(fields, "Content-Type: "+imageType)...)
}
