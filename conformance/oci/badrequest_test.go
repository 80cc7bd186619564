package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// bad is one request that the server must refuse without a trace. Path,
// header values and body may use the placeholders of the fixture.
type bad struct {
	name   string // reads as a sentence: what is wrong
	method string
	path   string
	header header
	body   string
	status int
	code   string // first OCI error code; empty if the answer is no error
}

type header map[string]string

// fixture is the state that bad requests meet.
type fixture struct {
	server *harness.Server
	client *harness.Client
	fill   *strings.Replacer
	// session is an upload of the repository good/repo with staged bytes.
	session string
}

const staged = 100 // bytes in the fixture's upload session

// newFixture pushes two images into good/repo, of which v1 is tagged, another
// one into other/repo, deletes a blob, and opens an upload session.
func newFixture(t *testing.T, s *harness.Server) *fixture {
	t.Helper()
	ctx, c := t.Context(), s.Client()
	t.Cleanup(c.Close)
	image, second, other := harness.NewImage(1, 2, 500), harness.NewImage(2, 1, 500), harness.NewImage(3, 1, 500)
	harness.Must(t, image.Push(ctx, c, "good/repo", "v1"))
	harness.Must(t, second.Push(ctx, c, "good/repo", "v2"))
	harness.Must(t, other.Push(ctx, c, "other/repo", "v1"))
	loose, gone := harness.Random(10, 300), harness.Random(11, 300)
	harness.Must(t, c.PushBlob(ctx, "good/repo", harness.SHA256(loose), loose))
	session, err := c.StartUpload(ctx, "good/repo")
	harness.Must(t, err)
	reply, err := c.SendChunk(ctx, session, 0, harness.Random(12, staged))
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusAccepted))
	session = reply.Header.Get("Location")
	f := &fixture{server: s, client: c, session: session}
	f.fill = strings.NewReplacer(
		"{manifest}", image.Digest, "{second}", second.Digest,
		"{blob}", harness.SHA256(image.Config), "{foreign}", harness.SHA256(other.Config),
		"{loose}", harness.SHA256(loose), "{gone}", harness.SHA256(gone),
		"{absent}", harness.SHA256([]byte("absent")),
		"{body}", string(image.Manifest),
		"{session}", session, "{foreign-session}", strings.Replace(session, "good/repo", "other/repo", 1),
		"{forged-session}", forge(session),
		"{config}", fmt.Sprintf(`"config":{"mediaType":%q,"digest":%q,"size":%d}`,
			harness.ImageConfig, harness.SHA256(image.Config), len(image.Config)),
		"{layer}", fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`,
			harness.ImageLayer, harness.SHA256(image.Layers[0]), len(image.Layers[0])),
		"{child}", fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`,
			harness.ImageManifest, image.Digest, len(image.Manifest)),
		"{misnamed-child}", fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`,
			harness.ImageIndex, image.Digest, len(image.Manifest)),
	)
	return f
}

// deleteGone pushes and deletes a blob. It is no part of newFixture because a
// server with deletion switched off would refuse it.
func (f *fixture) deleteGone(t *testing.T) {
	t.Helper()
	gone := harness.Random(11, 300)
	harness.Must(t, f.client.PushBlob(t.Context(), "good/repo", harness.SHA256(gone), gone))
	reply, err := f.client.Do(t.Context(), harness.Request{
		Method: http.MethodDelete, Path: "/v2/good/repo/blobs/" + harness.SHA256(gone)})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusAccepted))
}

// forge changes one character in the middle of a session's opaque part.
func forge(session string) string {
	i := strings.LastIndex(session, "/") + 12
	with := byte('A')
	if session[i] == with {
		with = 'B'
	}
	return session[:i] + string(with) + session[i+1:]
}

// trace is what a request could leave behind.
type trace struct {
	events uint64
	files  []string // of the store, with their sizes
	offset int64    // of the upload session
}

func (f *fixture) trace(ctx context.Context, since uint64) (trace, error) {
	events, err := f.server.Events(since)
	if err != nil {
		return trace{}, err
	}
	now := trace{events: since + uint64(len(events))}
	status, err := f.client.Get(ctx, f.session)
	if err != nil {
		return trace{}, err
	}
	if err := status.Expect(http.StatusNoContent); err != nil {
		return trace{}, fmt.Errorf("status of the upload session: %w", err)
	}
	if now.offset, err = status.UploadOffset(); err != nil {
		return trace{}, err
	}
	root := filepath.Join(f.server.Data(), "store")
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			now.files = append(now.files, fmt.Sprintf("%s (%d bytes)", path, info.Size()))
		}
		return err
	})
	return now, err
}

func (a trace) equal(b trace) bool {
	return a.events == b.events && a.offset == b.offset && slices.Equal(a.files, b.files)
}

// run sends every request of a table and checks the answer and that nothing
// was stored.
func (f *fixture) run(t *testing.T, table []bad) {
	t.Helper()
	before, err := f.trace(t.Context(), 0)
	harness.Must(t, err)
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			reply, err := f.client.Do(t.Context(), f.request(test))
			harness.Must(t, err)
			f.checkReply(t, test, reply)
			after, err := f.trace(t.Context(), before.events)
			harness.Must(t, err)
			if !after.equal(before) {
				t.Errorf("the request left a trace:\nbefore %v\nafter  %v", before, after)
				before = after
			}
		})
	}
}

func (f *fixture) request(test bad) harness.Request {
	r := harness.Request{Method: test.method, Path: f.fill.Replace(test.path), Header: map[string]string{}}
	for name, value := range test.header {
		r.Header[name] = f.fill.Replace(value)
	}
	if test.body != "" {
		r.Body = []byte(f.fill.Replace(test.body))
	}
	return r
}

// leaks are what no answer may contain, besides the data folder.
var leaks = []string{".go:", "goroutine", "panic", "sqlite", "SQL", "/store/", "/tmp/", "/etc/passwd", "no such file"}

func (f *fixture) checkReply(t *testing.T, test bad, reply harness.Reply) {
	t.Helper()
	if reply.Status != test.status {
		t.Errorf("status %d, want %d: %.300s", reply.Status, test.status, reply.Body)
	}
	for _, leak := range append([]string{f.server.Data()}, leaks...) {
		if bytes.Contains(reply.Body, []byte(leak)) {
			t.Errorf("the answer tells %q: %.300s", leak, reply.Body)
		}
	}
	if test.code == "" || test.method == http.MethodHead {
		return
	}
	if err := ociForm(reply); err != nil {
		t.Error(err)
	} else if reply.Code() != test.code {
		t.Errorf("code %s, want %s: %.300s", reply.Code(), test.code, reply.Body)
	}
}

// ociForm checks the body of a refusal against the section "Error Codes" of
// the distribution specification.
func ociForm(reply harness.Reply) error {
	if kind := reply.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return fmt.Errorf("content type %q is not JSON: %.300s", kind, reply.Body)
	}
	var body struct {
		Errors []struct {
			Code    string          `json:"code"`
			Message string          `json:"message"`
			Detail  json.RawMessage `json:"detail"`
		} `json:"errors"`
	}
	decoder := json.NewDecoder(bytes.NewReader(reply.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return fmt.Errorf("not in the OCI form: %w: %.300s", err, reply.Body)
	}
	if len(body.Errors) == 0 || body.Errors[0].Code == "" || body.Errors[0].Message == "" {
		return fmt.Errorf("an error without code or message: %.300s", reply.Body)
	}
	return nil
}

// TestBadRequests sends every request that the grammar rules and the mistakes
// of other registries suggest.
func TestBadRequests(t *testing.T) {
	tables := [][]bad{
		badNames(), badTags(), badDigests(), badRanges(), badChunks(), badPages(), badMounts(),
		badSessions(), badManifests(), badReferences(), badConditions(), badRoutes(), badDeletes(),
	}
	f := newFixture(t, harness.Start(t))
	f.deleteGone(t)
	total := 0
	for _, table := range tables {
		total += len(table)
		f.run(t, table)
	}
	const atLeast = 100
	if total < atLeast {
		t.Errorf("%d bad requests, want at least %d", total, atLeast)
	}
	fmt.Printf("bad requests: %d refused without a trace\n", total)
}

// TestDeleteSwitchedOff holds every form of deletion to the switch.
func TestDeleteSwitchedOff(t *testing.T) {
	f := newFixture(t, harness.Start(t, "ARTIFACTSTORE_DELETE_ENABLED=false"))
	f.run(t, []bad{
		{"a tag is deleted though deletion is switched off", "DELETE", "/v2/good/repo/manifests/v1", nil, "", 405, "UNSUPPORTED"},
		{"a manifest is deleted though deletion is switched off", "DELETE", "/v2/good/repo/manifests/{manifest}", nil, "", 405, "UNSUPPORTED"},
		{"a blob is deleted though deletion is switched off", "DELETE", "/v2/good/repo/blobs/{loose}", nil, "", 405, "UNSUPPORTED"},
	})
}
