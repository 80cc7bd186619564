package admin_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"artifactstore/internal/admin"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

type ctx = context.Context

func created(repository string) fact.Fact { return &fact.RepositoryCreated{Repository: repository} }

// furnish fills a server that accepts sparse manifests with some of everything:
// team/app has tags, referrers and a manifest in a file, team/all an index and
// lists, kept/short a manifest that expires, and every kind of event occurred.
func (s *server) furnish() {
	s.t.Helper()
	app := s.pushImage("team/app", "v1", 1)
	s.startEpoch()
	s.pushImage("team/app", "moving", 2)
	s.putManifest("team/app", "moving", imageType, app).want(201)
	for i := range 12 {
		s.putManifest("team/app", fmt.Sprintf("also-%02d", i), imageType, app).want(201)
	}
	s.client("DELETE", "/v2/team/app/manifests/moving", nil).want(202)
	s.pushImage("team/app", "moving", 3)
	s.attach("team/app", 4, app)
	s.attach("team/app", 5, app)
	s.putManifest("team/app", "large", imageType, s.image("team/app", 6, `,"annotations":{"padding":"`+strings.Repeat("p", 3*inlineLimit)+`"}`)).want(201)

	s.pushList("team/all", "index")
	s.putManifest("team/all", "docker", dockerType, s.docker("team/all", 7)).want(201)

	// A blob gains a digest, is mounted, is deleted; a manifest is deleted; a
	// damaged object is healed.
	blob := content(8, 3*inlineLimit)
	d := s.pushBlob("team/app", blob)
	s.client("POST", "/v2/a/tags/blobs/uploads/?digest="+sha512Of(blob), blob).want(201)
	s.client("POST", "/v2/a/tags/blobs/uploads/?mount="+d+"&from=team/app", nil).want(201)
	s.client("POST", "/v2/manifests/blobs/uploads/?mount="+d+"&from=team/app", nil).want(201)
	s.client("DELETE", "/v2/a/tags/blobs/"+d, nil).want(202)
	s.damage(d, func([]byte) []byte { return nil })
	s.pushBlob("team/app", blob)
	s.pushImage("a/tags", "gone", 9)
	s.client("DELETE", "/v2/a/tags/manifests/"+s.digest("a/tags", "gone"), nil).want(202)
	s.expiring("team/app", "v1", "kept/short")
	s.upload("team/app", content(10, 100))
	s.upload("team/app", content(11, 100))
	s.everyKind()
}

// upload begins an upload that stays unfinished.
func (s *server) upload(repository string, data []byte) {
	s.t.Helper()
	session := s.client("POST", "/v2/"+repository+"/blobs/uploads/", nil).want(202).header.Get("Location")
	s.client("PATCH", session, data).want(202)
}

// pushList pushes an index of sparse descriptors that say all that can be said,
// or, by the tag "list", a Docker manifest list, and returns it.
func (s *server) pushList(repository, tag string) []byte {
	s.t.Helper()
	platform := `{"architecture":"arm","os":"linux","os.version":"1","os.features":["f"],"variant":"v7","features":["g"]}`
	entry := `{"mediaType":%q,"digest":%q,"size":%d,"platform":%s%s}`
	one := s.pushImage(repository, "one", 20)
	mediaType, extra := indexType, `,"urls":["https://example.org/x"],"annotations":{"a":"b"},"artifactType":"a/type"`
	tail := `,"artifactType":"a/list","annotations":{"c":"d"},"subject":` + fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, imageType, sha256Of(one), len(one))
	if tag == "list" {
		mediaType, extra, tail = listType, "", ""
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s,%s]%s}`, mediaType,
		fmt.Sprintf(entry, imageType, sha256Of(one), len(one), platform, extra),
		fmt.Sprintf(entry, imageType, sha256Of(content(21, 30)), 30, platform, extra), tail)
	s.putManifest(repository, tag, mediaType, manifest).want(201)
	return manifest
}

// docker returns a manifest of Docker's own form.
func (s *server) docker(repository string, seed int) []byte {
	s.t.Helper()
	const config, layer = "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"
	return []byte(strings.NewReplacer(imageType, dockerType, configType, config, "a/layer", layer).Replace(string(s.image(repository, seed, ""))))
}

// expiring puts a manifest of one repository into another with an end.
func (s *server) expiring(from, reference, to string) {
	s.t.Helper()
	info := s.info(from, reference)
	must(s.t, s.ledger.Update(s.t.Context(), registry.Caller{Actor: "system"}, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
		d, err := registry.ParseDigest(info.Digest)
		if err != nil {
			return nil, err
		}
		m, _, err := v.Manifest(from, d)
		if err != nil {
			return nil, err
		}
		c := new(registry.Change)
		c.Add(created(to))
		c.Add(&fact.ManifestPut{Repository: to, Manifest: m.Blob.Digests.Primary(), Native: m.Native, Digest: m.Digest, MediaType: m.MediaType,
			Size: m.Blob.Size, References: []fact.Reference{}, Class: "transient", Expires: time.Now().Add(time.Hour).UnixMicro()})
		return c, nil
	}))
}

func (s *server) info(repository, reference string) (m admin.Manifest) {
	s.t.Helper()
	s.get(at(repository, "/manifests/"+reference+"/info")).want(200).json(&m)
	return m
}

func (s *server) digest(repository, reference string) string {
	return s.info(repository, reference).Digest
}
func (s *server) native(repository, reference string) string {
	return s.info(repository, reference).Native
}

// damage changes the object that holds a byte sequence; nil removes it.
func (s *server) damage(digest string, change func([]byte) []byte) {
	s.t.Helper()
	var d admin.Digest
	s.get("/digests/" + digest).want(200).json(&d)
	if d.Locator == "" {
		s.t.Fatalf("%s is in %s", digest, d.Store)
	}
	var found string
	must(s.t, filepath.WalkDir(filepath.Join(s.dir, "store"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(filepath.ToSlash(path), d.Locator) {
			found = path
		}
		return err
	}))
	data, err := os.ReadFile(found)
	must(s.t, err)
	must(s.t, os.Remove(found)) // the file itself may be read only
	if data = change(data); data != nil {
		must(s.t, os.WriteFile(found, data, 0o640))
	}
}

// everyPath has each endpoint with each kind of answer that furnish gives rise to.
func (s *server) everyPath() []string {
	s.t.Helper()
	app, index, native := s.digest("team/app", "v1"), s.digest("team/all", "index"), s.native("team/app", "v1")
	paths := []string{"/openapi.json", "/status", "/usage", "/storage", "/uploads", "/uploads?n=1", "/events", "/repositories", "/repositories?n=1"}
	for _, repository := range []string{"team/app", "team/all", "a/tags", "manifests", "kept/short"} {
		for _, rest := range []string{"", "/usage", "/tags", "/tags?n=1", "/manifests", "/manifests?n=1"} {
			paths = append(paths, at(repository, rest))
		}
	}
	for _, reference := range []string{"v1", app, "large", "moving"} {
		for _, rest := range []string{"", "/info", "/pushed", "/references", "/references?n=1", "/referrers", "/referrers?n=1"} {
			paths = append(paths, at("team/app", "/manifests/"+reference+rest))
		}
	}
	for _, reference := range []string{"index", "docker", index} {
		for _, rest := range []string{"", "/info", "/pushed", "/references", "/referrers"} {
			paths = append(paths, at("team/all", "/manifests/"+reference+rest))
		}
	}
	for _, rest := range []string{"/tags/v1", "/tags/moving/history", "/tags/moving/history?n=1", "/tags/never/history"} {
		paths = append(paths, at("team/app", rest))
	}
	for _, digest := range []string{app, native, s.native("team/app", "large"), sha256Of(content(1001, 200)), sha512Of(content(8, 3*inlineLimit))} {
		for _, rest := range []string{"", "/repositories", "/repositories?n=1", "/references", "/references?n=1"} {
			paths = append(paths, "/digests/"+digest+rest)
		}
	}
	return paths
}

// startEpoch writes the event of an operator who has restored the store.
func (s *server) startEpoch() {
	s.t.Helper()
	head, err := s.ledger.Events().Head(s.t.Context())
	must(s.t, err)
	must(s.t, s.ledger.Update(s.t.Context(), registry.System, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		return &registry.Change{Entries: []registry.Entry{{Reason: "restored", Fact: &fact.EpochStarted{
			Log: head.Log, Sequence: uint64(head.Sequence), Chain: head.Chain.String()}}}}, nil
	}))
}
