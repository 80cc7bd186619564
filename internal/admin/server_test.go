package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/distribution"
	"artifactstore/eventlog"
	"artifactstore/internal/admin"
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

// server is both doors over real stores in a folder of the test: clients push
// through one, operators look through the other. When the test ends, replaying
// its log must give its views.
type server struct {
	t       testing.TB
	dir     string
	log     *logBuffer
	ledger  *metastore.Store
	handler http.Handler // the operators' door, behind web.Wrap
	push    *httptest.Server
	admin   *httptest.Server
	doc     *description
}

type settings struct {
	registry registry.Options
	admin    admin.Options
	web      web.Options
	reader   func(eventlog.Reader) eventlog.Reader
	now      func() time.Time
}

func newServer(t testing.TB, change ...func(*settings)) *server {
	t.Helper()
	var o settings
	for _, f := range change {
		f(&o)
	}
	s := &server{t: t, dir: t.TempDir(), log: new(logBuffer), doc: describe(t)}
	ctx := t.Context()
	var err error
	s.ledger, err = metastore.Open(ctx, filepath.Join(s.dir, "artifactstore.db"), metastore.Options{Log: slog.New(slog.DiscardHandler), Now: o.now})
	must(t, err)
	must(t, s.ledger.Migrate(ctx, nil))
	driver, err := filesystem.Open(filepath.Join(s.dir, "store"), filesystem.Options{})
	must(t, err)
	memory := budget.New(64 << 20)
	plane, err := dataplane.New(map[string]storagedriver.Driver{"files": driver}, "files", s.ledger,
		dataplane.Options{InlineLimit: inlineLimit, Budget: memory})
	must(t, err)
	o.registry.Budget = memory
	reg, err := registry.New(ctx, s.ledger, plane, o.registry)
	must(t, err)
	o.admin.Registry, o.admin.Log = reg, s.ledger.Events()
	if o.reader != nil {
		o.admin.Log = o.reader(o.admin.Log)
	}
	if o.admin.Health == nil {
		o.admin.Health = func(ctx context.Context) []admin.StoreHealth { return healthOf(plane.Health(ctx)) }
	}
	o.web.Log = slog.New(slog.NewJSONHandler(s.log, nil))
	s.push = httptest.NewServer(web.Wrap(distribution.New(reg, distribution.Options{}), web.Options{Failure: distribution.Failure}))
	o.web.Failure = admin.Failure
	s.handler = web.Wrap(admin.New(o.admin), o.web)
	s.admin = httptest.NewServer(s.handler)
	t.Cleanup(func() {
		s.admin.Close()
		s.push.Close()
		// The test's context has ended by now.
		if _, err := s.ledger.Check(context.WithoutCancel(ctx), nil); err != nil {
			t.Errorf("check of the store: %v", err)
		}
		must(t, s.ledger.Close())
		must(t, driver.Close())
	})
	return s
}

func healthOf(all []dataplane.Health) (health []admin.StoreHealth) {
	for _, h := range all {
		health = append(health, admin.StoreHealth{Name: h.Store, FreeBytes: h.Free, TotalBytes: h.Total,
			FreeFiles: h.FreeFiles, TotalFiles: h.TotalFiles, KeptBytes: h.Kept, Err: h.Err})
	}
	return health
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

// get asks the operators' door. path follows admin.Prefix unless it begins with
// it; header fields are given as "Name: value".
func (s *server) get(path string, fields ...string) *reply {
	s.t.Helper()
	return s.do("GET", path, fields...)
}

// do sends a request to the operators' door, and checks the answer against the
// description of the API.
func (s *server) do(method, path string, fields ...string) *reply {
	s.t.Helper()
	return s.ask(method, path, nil, fields...)
}

// change sends a request with a body to the operators' door.
func (s *server) change(method, path, body string) *reply {
	s.t.Helper()
	return s.ask(method, path, []byte(body), "Content-Type: application/json")
}

func (s *server) ask(method, path string, body []byte, fields ...string) *reply {
	s.t.Helper()
	if !strings.HasPrefix(path, admin.Prefix) && path != "/metrics" {
		path = admin.Prefix + path
	}
	r := s.send(s.admin, method, path, body, fields...)
	s.doc.check(s.t, method, path, body, r)
	if bytes.Contains(r.body, []byte(s.dir)) || strings.Contains(fmt.Sprint(r.header), s.dir) {
		s.t.Errorf("%s tells where the store is: %.300s", r.what, r.body)
	}
	return r
}

func (s *server) send(to *httptest.Server, method, path string, body []byte, fields ...string) *reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, to.URL+path, bytes.NewReader(body))
	must(s.t, err)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		if value = strings.TrimPrefix(value, " "); name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	res, err := to.Client().Do(r)
	must(s.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(s.t, err)
	return &reply{s.t, method + " " + path, res.StatusCode, res.Header, data}
}

// raw sends a request as it is and returns the status of the answer.
func (s *server) raw(text string) int {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.admin.URL, "http://"))
	must(s.t, err)
	defer c.Close()
	_, err = io.WriteString(c, text)
	must(s.t, err)
	must(s.t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(s.t, err)
	must(s.t, res.Body.Close())
	return res.StatusCode
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

// refused checks the status and the code of a problem document.
func (r *reply) refused(status int, code string, fields ...string) *reply {
	r.t.Helper()
	r.want(status, append(fields, "Content-Type: application/problem+json", "Link:", "Etag:")...)
	var p admin.Problem
	r.json(&p)
	if string(p.Code) != code || p.Status != status {
		r.t.Errorf("%s: code %q and status %d, want %q and %d", r.what, p.Code, p.Status, code, status)
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

func (r *reply) json(into any) *reply {
	r.t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(r.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		r.t.Fatalf("%s: %v in %.300s", r.what, err, r.body)
	}
	return r
}

// all walks a list in pages of n entries by next, and checks that Link says the
// same. between, if it is not nil, runs before each page but the first.
func all[T any](s *server, path string, n int, between func()) (items []T) {
	s.t.Helper()
	after := ""
	for range 10_000 {
		query := url.Values{"n": {fmt.Sprint(n)}}
		if after != "" {
			query.Set("after", after)
		}
		var page admin.Page[T]
		r := s.get(path + "?" + query.Encode()).want(200).json(&page)
		if len(page.Items) > n {
			s.t.Fatalf("%s: %d entries, more than %d", r.what, len(page.Items), n)
		}
		items = append(items, page.Items...)
		link := r.header.Get("Link")
		if page.Next == "" {
			if link != "" {
				s.t.Errorf("%s: Link %s on the last page", r.what, link)
			}
			return items
		}
		query.Set("after", page.Next)
		if want := "<" + admin.Prefix + path + "?" + query.Encode() + `>; rel="next"`; link != want {
			s.t.Errorf("%s: Link is %s, want %s", r.what, link, want)
		}
		after = page.Next
		if between != nil {
			between()
		}
	}
	s.t.Fatalf("%s never ends", path)
	return nil
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
func blake3Of(data []byte) string { return digestOf(identity.BLAKE3, data) }
func sha512Of(data []byte) string { return digestOf(identity.SHA512, data) }

// client sends a request to the clients' door.
func (s *server) client(method, path string, body []byte, fields ...string) *reply {
	s.t.Helper()
	return s.send(s.push, method, path, body, fields...)
}

// pushBlob pushes in one request and returns the SHA-256 digest.
func (s *server) pushBlob(repository string, data []byte) string {
	s.t.Helper()
	d := sha256Of(data)
	s.client("POST", "/v2/"+repository+"/blobs/uploads/?digest="+d, data).want(201)
	return d
}

const (
	imageType  = "application/vnd.oci.image.manifest.v1+json"
	indexType  = "application/vnd.oci.image.index.v1+json"
	dockerType = "application/vnd.docker.distribution.manifest.v2+json"
	listType   = "application/vnd.docker.distribution.manifest.list.v2+json"
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
	s.putManifest(repository, reference, imageType, manifest).want(201)
	return manifest
}

func (s *server) putManifest(repository, reference, mediaType string, manifest []byte) *reply {
	s.t.Helper()
	return s.client("PUT", "/v2/"+repository+"/manifests/"+reference, manifest, "Content-Type: "+mediaType)
}

// attach pushes a manifest that refers to another one, and returns it.
func (s *server) attach(repository string, seed int, subject []byte) []byte {
	s.t.Helper()
	manifest := s.image(repository, seed, fmt.Sprintf(
		`,"artifactType":"a/signature","annotations":{"n":"%d"},"subject":{"mediaType":%q,"digest":%q,"size":%d}`, seed, imageType, sha256Of(subject), len(subject)))
	s.putManifest(repository, sha256Of(manifest), imageType, manifest).want(201)
	return manifest
}

// at is the path of a repository.
func at(repository, rest string) string {
	return "/repositories/" + strings.ReplaceAll(repository, "/", "%2F") + rest
}
