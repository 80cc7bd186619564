package upgrade_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// asThere are the settings that the golden stores were made under: uploads live
// for a century, and an index may name what is elsewhere.
var asThere = []string{"ARTIFACTSTORE_UPLOADS_EXPIRE=876000h", "ARTIFACTSTORE_MANIFESTS_ALLOW_SPARSE=true"}

// TestServeTakesAnOldStoreAsItIs: today's server does, without being told
// anything. This is the place for what else must hold for what was there before
// a change.
func TestServeTakesAnOldStoreAsItIs(t *testing.T) {
	t.Parallel()
	eachGolden(t, func(t *testing.T, g *golden) {
		s := harness.StartIn(t, harness.Config{Data: g.unpack(t), Env: asThere})
		c := s.Client()
		defer c.Close()
		g.check(t, c)
		g.isPermanent(t, s)
		g.finishUploads(t, c)
		g.use(t, c)
		events := g.goesOn(t, s)
		if len(events) == 0 {
			t.Error("nothing that was pushed is in the log")
		}
		harness.Must(t, s.Restart())
		g.check(t, c)
	})
}

// isPermanent finds that nothing from before there were policies ever expires.
func (g *golden) isPermanent(t *testing.T, s *harness.Server) {
	t.Helper()
	c := harness.NewClient(s.AdminURL())
	defer c.Close()
	for path := range g.Content {
		repository, digest, isManifest := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/manifests/")
		if !isManifest {
			continue
		}
		reply, err := c.Get(t.Context(), "/admin/v1/repositories/"+url.PathEscape(repository)+"/manifests/"+digest+"/info")
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusOK))
		var info struct{ Class, Expires string }
		harness.Must(t, json.Unmarshal(reply.Body, &info))
		if info.Class != "permanent-record" || info.Expires != "" {
			t.Errorf("%s is %+v", path, info)
		}
	}
}

// finishUploads goes on with the uploads that the old server had begun.
func (g *golden) finishUploads(t *testing.T, c *harness.Client) {
	t.Helper()
	for _, u := range g.Uploads {
		whole := pattern("open upload", u.Size)
		status, err := c.Get(t.Context(), u.Location)
		harness.Must(t, err)
		harness.Must(t, status.Expect(http.StatusNoContent))
		if has, err := status.UploadOffset(); err != nil || has != u.Has {
			t.Fatalf("an upload has %d bytes, not %d; %v", has, u.Has, err)
		}
		reply, err := c.SendChunk(t.Context(), u.Location, u.Has, whole[u.Has:])
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusAccepted))
		reply, err = c.Do(t.Context(), harness.Request{Method: http.MethodPut, Path: harness.AddQuery(reply.Header.Get("Location"), "digest", u.Digest)})
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusCreated))
	}
}

// use pushes to the repositories that are there, and deletes, moves and mounts,
// leaving what is expected of them as it was.
func (g *golden) use(t *testing.T, c *harness.Client) {
	t.Helper()
	seed := uint64(0)
	for repository, tags := range g.Tags {
		seed++
		image := harness.NewImage(seed, 2, 70_000)
		harness.Must(t, image.Push(t.Context(), c, repository, "new"))
		for tag, digest := range tags {
			old, err := c.Get(t.Context(), "/v2/"+repository+"/manifests/"+digest)
			harness.Must(t, err)
			mediaType := old.Header.Get("Content-Type")
			// Moved away and back again; pushed as it was, to another tag.
			harness.Must(t, c.PutManifest(t.Context(), repository, tag, harness.ImageManifest, image.Manifest))
			harness.Must(t, c.PutManifest(t.Context(), repository, tag, mediaType, old.Body))
			harness.Must(t, c.PutManifest(t.Context(), repository, "new", mediaType, old.Body))
		}
		for _, reference := range []string{"new", image.Digest} {
			reply, err := c.Do(t.Context(), harness.Request{Method: http.MethodDelete, Path: "/v2/" + repository + "/manifests/" + reference})
			harness.Must(t, err)
			harness.Must(t, reply.Expect(http.StatusAccepted))
		}
	}
	for path, digest := range g.Content {
		repository, digestOf, isBlob := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/blobs/")
		if !isBlob {
			continue
		}
		mount := harness.AddQuery(harness.AddQuery("/v2/mounted/blobs/uploads/", "mount", digestOf), "from", repository)
		reply, err := c.Do(t.Context(), harness.Request{Method: http.MethodPost, Path: mount})
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusCreated))
		got, err := c.Get(t.Context(), "/v2/mounted/blobs/"+digestOf)
		harness.Must(t, err)
		if harness.SHA256(got.Body) != digest {
			t.Errorf("%s was mounted as %d %s", path, got.Status, harness.SHA256(got.Body))
		}
	}
}

// TestMigrateTakesAnOldStore: the verb does what serve would, once.
func TestMigrateTakesAnOldStore(t *testing.T) {
	t.Parallel()
	eachGolden(t, func(t *testing.T, g *golden) {
		data := g.unpack(t)
		run := func(verb string, args ...string) string {
			t.Helper()
			binary, err := harness.Binary()
			harness.Must(t, err)
			return harness.Tool{Path: binary}.Run(t, append([]string{verb, "--data", data}, args...)...)
		}
		var steps struct{ Steps []struct{ Name string } }
		harness.Must(t, json.Unmarshal([]byte(run("migrate", "--json")), &steps))
		t.Logf("migrations: %v", steps.Steps)
		if again := run("migrate"); !strings.Contains(again, "up to date") {
			t.Errorf("migrated again: %s", again)
		}
		run("rebuild", "--check")
		run("rebuild")
		s := harness.StartIn(t, harness.Config{Data: data})
		c := s.Client()
		defer c.Close()
		g.check(t, c)
		// Nothing was decided about what is there because the program is newer.
		for _, e := range g.goesOn(t, s) {
			// The store has been nowhere for a month, and the test itself pulls.
			if e.Kind == "v1.clock.jumped" || e.Kind == "v1.manifest.pulled" {
				continue
			}
			t.Errorf("event %d, %s of %s, came by itself", e.Sequence, e.Kind, e.Subject)
		}
	})
}

// TestAnOldBackupGoesOn: a copy that an older program made is brought up to date
// by today's, from a store that is in use, and served.
func TestAnOldBackupGoesOn(t *testing.T) {
	t.Parallel()
	eachGolden(t, func(t *testing.T, g *golden) {
		s := harness.StartIn(t, harness.Config{Data: g.unpack(t)})
		c := s.Client()
		defer c.Close()
		image := harness.NewImage(1, 2, 70_000)
		harness.Must(t, image.Push(t.Context(), c, "team/later", "v1"))
		copied := g.unpack(t)
		_, err := s.Run("backup", "--to", copied)
		harness.Must(t, err)
		restored := harness.StartIn(t, harness.Config{Data: copied})
		r := restored.Client()
		defer r.Close()
		g.check(t, r)
		reply, err := r.Get(t.Context(), "/v2/team/later/manifests/v1")
		harness.Must(t, err)
		if harness.SHA256(reply.Body) != image.Digest {
			t.Errorf("what came later is %d %s", reply.Status, reply.Body)
		}
		g.goesOn(t, restored)
	})
}
