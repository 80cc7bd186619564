// Package upgrade_test puts today's program on stores that earlier ones have
// left: data folders that are kept in testdata, each with what its own server
// said that it holds.
package upgrade_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// golden is a store that an older program has made; its folder's README says how.
type golden struct {
	folder string // below testdata

	// The end of its log.
	Log      string `json:"log"`
	Sequence uint64 `json:"sequence"`
	Chain    string `json:"chain"`

	// Tags are digests, by repository and tag.
	Tags map[string]map[string]string `json:"tags"`
	// Content is the sha256 of what is at a path, by every digest that it has.
	Content map[string]string `json:"content"`
	// Referrers are digests in order, by path.
	Referrers map[string][]string `json:"referrers"`
	// Gone are paths of what was deleted.
	Gone []string `json:"gone"`
	// Uploads were not finished. Their bytes are those of pattern.
	Uploads []struct {
		Location string `json:"location"`
		Has      int64  `json:"has"`
		Size     int64  `json:"size"`
		Digest   string `json:"digest"`
	} `json:"uploads"`
}

// pattern is content of the golden stores: distinct, and small when compressed.
func pattern(name string, size int64) []byte {
	line := harness.SHA256([]byte(name)) + " " + name + "\n"
	return []byte(strings.Repeat(line, int(size)/len(line)+1))[:size]
}

// eachGolden runs a test on every golden store.
func eachGolden(t *testing.T, test func(t *testing.T, g *golden)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*/expected.json")
	harness.Must(t, err)
	if len(files) == 0 {
		t.Fatal("there is no golden store")
	}
	for _, file := range files {
		g := &golden{folder: filepath.Dir(file)}
		text, err := os.ReadFile(file)
		harness.Must(t, err)
		harness.Must(t, json.Unmarshal(text, g))
		t.Run(filepath.Base(g.folder), func(t *testing.T) {
			t.Parallel()
			test(t, g)
		})
	}
}

// unpack makes a copy of the golden store and returns its data folder.
func (g *golden) unpack(t *testing.T) string {
	t.Helper()
	file, err := os.Open(filepath.Join(g.folder, "store.tar.gz"))
	harness.Must(t, err)
	packed, err := gzip.NewReader(file)
	harness.Must(t, err)
	data := filepath.Join(t.TempDir(), "data")
	for r := tar.NewReader(packed); ; {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		harness.Must(t, err)
		path := filepath.Join(data, filepath.Clean("/"+entry.Name))
		if entry.Typeflag == tar.TypeDir {
			harness.Must(t, os.MkdirAll(path, 0o750))
			continue
		}
		content, err := io.ReadAll(r)
		harness.Must(t, err)
		harness.Must(t, os.WriteFile(path, content, 0o640))
	}
	harness.Must(t, file.Close())
	return data
}

// check finds everything as the old server said it was.
func (g *golden) check(t *testing.T, c *harness.Client) {
	t.Helper()
	get := func(path string, status int) harness.Reply {
		t.Helper()
		reply, err := c.Get(t.Context(), path)
		harness.Must(t, err)
		if err := reply.Expect(status); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return reply
	}
	for path, digest := range g.Content {
		if got := harness.SHA256(get(path, http.StatusOK).Body); got != digest {
			t.Errorf("%s is %s, not %s", path, got, digest)
		}
		head, err := c.Do(t.Context(), harness.Request{Method: http.MethodHead, Path: path})
		harness.Must(t, err)
		if err := head.Expect(http.StatusOK); err != nil {
			t.Errorf("HEAD %s: %v", path, err)
		}
	}
	for _, path := range g.Gone {
		get(path, http.StatusNotFound)
	}
	for repository, tags := range g.Tags {
		var list struct{ Tags []string }
		harness.Must(t, json.Unmarshal(get("/v2/"+repository+"/tags/list", http.StatusOK).Body, &list))
		if len(list.Tags) != len(tags) {
			t.Errorf("%s has the tags %v", repository, list.Tags)
		}
		for tag, digest := range tags {
			if got := get("/v2/"+repository+"/manifests/"+tag, http.StatusOK).Header.Get("Docker-Content-Digest"); got != digest {
				t.Errorf("%s:%s is %s, not %s", repository, tag, got, digest)
			}
		}
	}
	for path, digests := range g.Referrers {
		var list harness.Index
		harness.Must(t, json.Unmarshal(get(path, http.StatusOK).Body, &list))
		var got []string
		for _, d := range list.Manifests {
			got = append(got, d.Digest)
		}
		if !slices.Equal(got, digests) {
			t.Errorf("%s are %v, not %v", path, got, digests)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// goesOn checks that the log of a store is that of the golden one and what came
// after, without a gap. It returns the events that came after.
func (g *golden) goesOn(t *testing.T, s *harness.Server) []harness.Event {
	t.Helper()
	events, err := s.Events(g.Sequence)
	harness.Must(t, err)
	// A place names the log, and the running hash there.
	place := fmt.Sprintf("%s:%d:%s", g.Log, g.Sequence, g.Chain)
	out, err := s.Run("events", "--json", "--after", place)
	harness.Must(t, err)
	if lines := strings.Count(out, "\n"); lines != len(events) {
		t.Errorf("%d events after %s, %d after its sequence", lines, place, len(events))
	}
	out, err = s.Run("rebuild", "--check", "--json")
	harness.Must(t, err)
	var end struct {
		Log      string
		Sequence uint64
	}
	harness.Must(t, json.Unmarshal([]byte(out), &end))
	if want := g.Sequence + uint64(len(events)); end.Log != g.Log || end.Sequence != want {
		t.Errorf("the log is %+v, not %s:%d", end, g.Log, want)
	}
	return events
}
