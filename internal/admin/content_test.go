package admin_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"artifactstore/internal/admin"
	"artifactstore/registry/manifest"
)

func TestWhatWasPushedIsTold(t *testing.T) {
	s := newServer(t)
	image := s.pushImage("team/app", "v1", 1)
	config, layer := content(1, 20), content(1001, 200)

	var repository admin.Repository
	s.get(at("team/app", "")).want(200).json(&repository)
	if repository.Name != "team/app" || repository.Sequence != 2 || repository.Created.IsZero() {
		t.Errorf("repository %+v", repository)
	}
	var tag admin.Tag
	s.get(at("team/app", "/tags/v1")).want(200).json(&tag)
	if tag.Repository != "team/app" || tag.Name != "v1" || tag.Digest != sha256Of(image) || tag.MediaType != imageType ||
		tag.ArtifactType != configType || tag.Size != int64(len(image)) || tag.Actor != "anonymous" {
		t.Errorf("tag %+v", tag)
	}
	if tags := all[admin.Tag](s, at("team/app", "/tags"), 10, nil); !reflect.DeepEqual(tags, []admin.Tag{tag}) {
		t.Errorf("tags %+v, and one of them %+v", tags, tag)
	}
	info := s.info("team/app", "v1")
	if info.Digest != sha256Of(image) || !slices.Equal(info.Digests, []string{blake3Of(image), sha256Of(image)}) || info.Size != int64(len(image)) ||
		info.MediaType != imageType || info.Subject != "" || info.Class != "permanent-record" || info.Expires != nil || !slices.Equal(info.Tags, []string{"v1"}) {
		t.Errorf("manifest %+v", info)
	}
	if list := all[admin.Manifest](s, at("team/app", "/manifests"), 10, nil); !reflect.DeepEqual(list, []admin.Manifest{info}) {
		t.Errorf("manifests %+v, and one of them %+v", list, info)
	}
	references := all[admin.Reference](s, at("team/app", "/manifests/v1/references"), 10, nil)
	if want := []admin.Reference{
		{Role: "config", Digest: sha256Of(config), MediaType: configType, Size: 20, Held: true},
		{Role: "layer", Digest: sha256Of(layer), MediaType: "a/layer", Size: 200, Held: true},
	}; !reflect.DeepEqual(references, want) {
		t.Errorf("references %+v", references)
	}
	var usage admin.Usage
	s.get(at("team/app", "/usage")).want(200).json(&usage)
	bytes := 220 + int64(len(image))
	if want := (admin.Usage{Repository: "team/app", Tags: 1, Manifests: 1, Blobs: 2, Bytes: bytes, Exclusive: bytes}); usage != want {
		t.Errorf("usage %+v, want %+v", usage, want)
	}
	var total admin.TotalUsage
	s.get("/usage").want(200).json(&total)
	native := len(s.get(at("team/app", "/manifests/v1"), "Accept: application/cbor").body)
	if want := (admin.TotalUsage{Repositories: 1, Tags: 1, Manifests: 1, Stores: []admin.StoreUsage{
		{Name: "content", Blobs: 4, Bytes: 220 + int64(len(image)+native)}}}); !reflect.DeepEqual(total, want) {
		t.Errorf("usage in all %+v, want %+v", total, want)
	}
}

// A manifest in the database, and one whose forms are files.
func TestAllFormsOfAManifest(t *testing.T) {
	s := newServer(t)
	for name, extra := range map[string]string{"small": "", "large": `,"annotations":{"padding":"` + strings.Repeat("p", 3*inlineLimit) + `"}`} {
		t.Run(name, func(t *testing.T) {
			pushed := s.image("a", 1, extra)
			s.putManifest("a", name, imageType, pushed).want(201)
			path := at("a", "/manifests/"+name)
			info := s.info("a", name)

			s.get(path+"/pushed").want(200, "Content-Type: "+imageType, `Etag: "`+sha256Of(pushed)+`"`).bytes(pushed)
			cbor := s.get(path, "Accept: application/cbor").want(200, "Content-Type: application/cbor", "Vary: Accept", `Etag: "`+info.Native+`"`).body
			if blake3Of(cbor) != info.Native {
				t.Errorf("the native form has the digest %s, not %s", blake3Of(cbor), info.Native)
			}
			text := s.get(path).want(200, "Content-Type: application/json", "Vary: Accept", `Etag: W/"`+info.Native+`"`).body
			canonical, err := jcs.Transform(text)
			must(t, err)
			if !bytes.Equal(canonical, text) {
				t.Error("the JSON is not canonical")
			}
			native, err := manifest.FromJCS(text)
			must(t, err)
			again, err := native.Encode()
			must(t, err)
			if !bytes.Equal(again, cbor) {
				t.Error("the JSON and the CBOR are not the same manifest")
			}
		})
	}
}

func TestFormIsNegotiated(t *testing.T) {
	s := newServer(t)
	s.pushImage("a", "v1", 1)
	const cbor, json = "application/cbor", "application/json"
	for accept, want := range map[string]string{
		"":                                      json,
		"*/*":                                   json,
		"application/*":                         json,
		"application/json":                      json,
		"text/html":                             json,
		"application/cbor":                      cbor,
		"Application/CBOR":                      cbor,
		"application/cbor;q=0.1":                cbor,
		"application/cbor; q=1.0":               cbor,
		"application/cbor;q=0":                  json,
		"application/cbor;q=0.000, */*":         json,
		"application/cbor, */*":                 cbor,
		"*/*;q=0.1, application/cbor;q=0.5":     cbor,
		"text/html,application/cbor;q=0.9":      cbor,
		"application/json,application/cbor":     json,
		"application/json;q=0.5,":               json,
		"application/cbor,application/json;q=0": cbor,
		"application/json;q=0.4, application/cbor;q=0.5": cbor,
		"application/json, application/cbor;q=0.5":       json,
		"application/cbor;q=many":                        json,
		"application/cbor;q=NaN":                         json,
		"application/cbor;q=7":                           json,
		";;;,,":                                          json,
	} {
		s.get(at("a", "/manifests/v1"), "Accept: "+accept).want(200, "Content-Type: "+want)
	}
	s.get(at("a", "/manifests/v1"), "Accept: text/html", "Accept: application/cbor").want(200, "Content-Type: "+cbor)
	for accept, want := range map[string]string{
		"": "application/x-ndjson", "*/*": "application/x-ndjson", "text/event-stream;q=0": "application/x-ndjson",
		"application/x-ndjson, text/event-stream;q=0.5": "application/x-ndjson",
		"text/event-stream":                             "text/event-stream", "text/event-stream, */*": "text/event-stream",
	} {
		s.get("/events?n=1", "Accept: "+accept).want(200, "Content-Type: "+want, "Vary: Accept")
	}
}

func TestEveryDigestFindsTheBytes(t *testing.T) {
	s := newServer(t)
	for name, data := range map[string][]byte{"in the database": content(1, 100), "in a file": content(2, 3*inlineLimit)} {
		t.Run(name, func(t *testing.T) {
			s.client("POST", "/v2/a/blobs/uploads/?digest="+sha512Of(data), data).want(201)
			var first admin.Digest
			for _, digest := range []string{sha256Of(data), sha512Of(data), blake3Of(data)} {
				var d admin.Digest
				s.get("/digests/" + digest).want(200).json(&d)
				s.get("/digests/" + strings.Replace(digest, ":", "%3A", 1)).want(200)
				if !slices.Equal(d.Digests, []string{blake3Of(data), sha256Of(data), sha512Of(data)}) || d.Size != int64(len(data)) || d.Native != nil {
					t.Errorf("%+v", d)
				}
				if first.Digests != nil && !reflect.DeepEqual(d, first) {
					t.Errorf("%+v by one digest, %+v by another", d, first)
				}
				first = d
			}
		})
	}
	data := content(3, 100)
	s.pushBlob("a", data)
	s.get("/digests/"+sha512Of(data)).refused(404, "BLOB_UNKNOWN") // nobody asked for it
	s.get("/digests/"+sha256Of([]byte("none"))).refused(404, "BLOB_UNKNOWN")
	for _, bad := range []string{"v1", "sha256", "sha256:", "sha256:zz", "md5:d41d8cd98f00b204e9800998ecf8427e", "SHA256:" + sha256Of(data)[7:], "%00"} {
		s.get("/digests/"+bad).refused(400, "DIGEST_INVALID")
	}
}

func TestNativeDigestLeadsToItsManifests(t *testing.T) {
	s := newServer(t)
	for i := range 11 { // one more than are shown
		s.pushImage(fmt.Sprintf("r%02d", i), "v1", 1)
	}
	image := sha256Of(s.pushImage("a", "v1", 1))
	var d admin.Digest
	s.get("/digests/" + s.native("a", "v1")).want(200).json(&d)
	if len(d.Native) != 10 || d.Native[0] != (admin.User{Repository: "r00", Manifest: image, MediaType: imageType, Role: "native"}) {
		t.Errorf("%d manifests, the first %+v", len(d.Native), d.Native)
	}
}

func TestHistoryOutlivesTheTag(t *testing.T) {
	s := newServer(t)
	one, two := sha256Of(s.pushImage("a", "v1", 1)), sha256Of(s.pushImage("a", "v1", 2))
	s.client("DELETE", "/v2/a/manifests/v1", nil).want(202)
	s.get(at("a", "/tags/v1")).refused(404, "MANIFEST_UNKNOWN")
	s.pushImage("a", "v1", 1)
	for _, n := range []int{1, 2, 1000} {
		var got [][2]string
		moves := all[admin.TagMove](s, at("a", "/tags/v1/history"), n, nil)
		for i, m := range moves {
			got = append(got, [2]string{m.From, m.To})
			if m.Repository != "a" || m.Tag != "v1" || m.Actor != "anonymous" || m.Time.IsZero() || i > 0 && m.Sequence >= moves[i-1].Sequence {
				t.Errorf("move %d is %+v", i, m)
			}
		}
		if want := [][2]string{{"", one}, {two, ""}, {one, two}, {"", one}}; !slices.Equal(got, want) {
			t.Errorf("n=%d: %q, want %q", n, got, want)
		}
	}
	s.get(at("a", "/tags/other/history")).want(200).bytes([]byte("{\"items\":[]}\n"))
	s.get(at("a", "/tags/.bad/history")).refused(400, "TAG_INVALID")
}

func TestReferrersAreListedBothWays(t *testing.T) {
	s := newServer(t)
	image := s.pushImage("a", "v1", 1)
	first, second := s.attach("a", 2, image), s.attach("a", 3, image)
	for _, reference := range []string{"v1", sha256Of(image), blake3Of(image)} {
		for _, n := range []int{1, 100} {
			var got []string
			for _, r := range all[admin.Referrer](s, at("a", "/manifests/"+reference+"/referrers"), n, nil) {
				got = append(got, string(r.Descriptor))
			}
			var want []string
			for i, m := range [][]byte{first, second} {
				want = append(want, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"a/signature","annotations":{"n":"%d"}}`,
					imageType, sha256Of(m), len(m), i+2))
			}
			if len(got) != 2 || !sameJSON(t, got[0], want[0]) || !sameJSON(t, got[1], want[1]) {
				t.Errorf("%s, n=%d: %q", reference, n, got)
			}
		}
	}
	if info := s.info("a", sha256Of(first)); info.Subject != sha256Of(image) || info.ArtifactType != "a/signature" || len(info.Tags) != 0 {
		t.Errorf("referrer %+v", info)
	}
	s.get(at("a", "/manifests/"+sha256Of(first)+"/referrers")).want(200).bytes([]byte("{\"items\":[]}\n"))
}

// Names that look like the paths of the API are names.
func TestNamesThatLookLikePaths(t *testing.T) {
	s := newServer(t)
	names := []string{"manifests", "a/tags", "tags/v1/history", "a/b/c/d/manifests/v1", "repositories", "digests"}
	for i, name := range names {
		image := s.pushImage(name, "history", i+1)
		s.get(at(name, "")).want(200)
		if info := s.info(name, "history"); info.Repository != name || info.Digest != sha256Of(image) {
			t.Errorf("%s: %+v", name, info)
		}
		s.get(at(name, "/tags/history")).want(200)
		s.get(strings.ReplaceAll(at(name, "/tags/history/history"), "%2F", "%2f")).want(200)
	}
	var listed []string
	for _, r := range all[admin.Repository](s, "/repositories", 2, nil) {
		listed = append(listed, r.Name)
	}
	if slices.Sort(names); !slices.Equal(listed, names) {
		t.Errorf("listed %q", listed)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := newServer(t)
	s.pushImage("a", "v1", 1)
	none := sha256Of([]byte("none"))
	for _, test := range []struct {
		path   string
		status int
		code   string
	}{
		{"/", 404, "ENDPOINT_UNKNOWN"},
		{"/repositories/", 404, "ENDPOINT_UNKNOWN"},
		{"/repositories/a/", 404, "ENDPOINT_UNKNOWN"},
		{"/repositories/a/b/tags", 404, "ENDPOINT_UNKNOWN"},
		{"/repositories//tags", 404, "ENDPOINT_UNKNOWN"},
		{"/repositories/a/../a", 404, "ENDPOINT_UNKNOWN"},
		{"//status", 404, "ENDPOINT_UNKNOWN"},
		{"/Status", 404, "ENDPOINT_UNKNOWN"},
		{"/repositories/..", 400, "NAME_INVALID"},
		{"/repositories/A", 400, "NAME_INVALID"},
		{"/repositories/a%2F", 400, "NAME_INVALID"},
		{"/repositories/%2F..%2Fetc", 400, "NAME_INVALID"},
		{"/repositories/a%252Fb", 400, "NAME_INVALID"},
		{"/repositories/%00", 400, "NAME_INVALID"},
		{"/repositories/" + strings.Repeat("a", 300), 400, "NAME_INVALID"},
		{"/repositories/b", 404, "NAME_UNKNOWN"},
		{"/repositories/b/usage", 404, "NAME_UNKNOWN"},
		{"/repositories/b/tags", 404, "NAME_UNKNOWN"},
		{"/repositories/b/tags/v1", 404, "NAME_UNKNOWN"},
		{"/repositories/b/tags/v1/history", 404, "NAME_UNKNOWN"},
		{"/repositories/b/manifests", 404, "NAME_UNKNOWN"},
		{"/repositories/b/manifests/v1", 404, "NAME_UNKNOWN"},
		{"/repositories/a/tags/v2", 404, "MANIFEST_UNKNOWN"},
		{"/repositories/a/tags/a%2Fb", 400, "TAG_INVALID"},
		{"/repositories/a/manifests/v2/info", 404, "MANIFEST_UNKNOWN"},
		{"/repositories/a/manifests/" + none, 404, "MANIFEST_UNKNOWN"},
		{"/repositories/a/manifests/" + none + "/referrers", 404, "MANIFEST_UNKNOWN"},
		{"/repositories/a/manifests/.bad", 400, "TAG_INVALID"},
		{"/repositories/a/manifests/sha256:x", 400, "DIGEST_INVALID"},
		{"/digests/" + none + "/repositories", 404, "BLOB_UNKNOWN"},
		{"/digests/" + none + "/references", 404, "BLOB_UNKNOWN"},
	} {
		s.get(test.path).refused(test.status, test.code)
	}
	s.get("/metrics").refused(404, "ENDPOINT_UNKNOWN")
}
