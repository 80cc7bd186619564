package distribution_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"artifactstore/registry/identity"
)

// next reads the Link of a page, "" if there is none.
func (r *reply) next() string {
	r.t.Helper()
	link := r.header.Get("Link")
	if link == "" {
		return ""
	}
	path, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	if !ok || !strings.HasPrefix(path, "/v2/") {
		r.t.Fatalf("%s: Link is %q", r.what, link)
	}
	return path
}

func TestTags(t *testing.T) {
	s := newServer(t, func(o *settings) { o.door.PageSize = 5 })
	s.do("GET", "/v2/a/tags/list", nil).refused(404, "NAME_UNKNOWN")
	manifest := s.image("a", 1, "")
	if got := s.tags("/v2/a/tags/list"); len(got) != 0 {
		t.Errorf("no tags are %q", got)
	}
	want := []string{"1.0", "1.1", "A", "B", "_x", "a", "a-b", "a.b", "b", "latest", "z"}
	for _, tag := range []string{"z", "a", "B", "latest", "1.1", "a.b", "_x", "A", "b", "1.0", "a-b"} {
		s.putManifest("a", tag, manifest).want(201)
	}
	s.do("GET", "/v2/a/tags/list", nil).want(200, "Content-Type: application/json", `Link: </v2/a/tags/list?last=_x&n=5>; rel="next"`)
	for _, n := range []string{"", "?n=1", "?n=2", "?n=5", "?n=1000000", "?n=99999999999999999999"} {
		if got := s.tags("/v2/a/tags/list" + n); !slices.Equal(got, want) {
			t.Errorf("by %q: %q", n, got)
		}
	}
	for _, test := range []struct {
		query string
		want  []string
		more  bool
	}{
		{"n=0", []string{}, false},
		{"n=3", []string{"1.0", "1.1", "A"}, true},
		{"n=3&last=a-b", []string{"a.b", "b", "latest"}, true},
		{"n=3&last=a.b", []string{"b", "latest", "z"}, false},
		{"n=3&last=aa", []string{"b", "latest", "z"}, false}, // no tag, but could be
		{"n=3&last=z", []string{}, false},
		{"n=3&last=", []string{"1.0", "1.1", "A"}, true},
		{"last=b", []string{"latest", "z"}, false},
		{"ns=docker.io&n=1", []string{"1.0"}, true},
	} {
		r := s.do("GET", "/v2/a/tags/list?"+test.query, nil).want(200)
		var page struct {
			Name string
			Tags []string
		}
		r.json(&page)
		if page.Name != "a" || page.Tags == nil || !slices.Equal(page.Tags, test.want) || (r.next() != "") != test.more {
			t.Errorf("%s: %s, Link %q", test.query, r.body, r.next())
		}
	}
	for _, query := range []string{"n=-1", "n=x", "n=", "n=1&n=1", "n=1.0", "last=.bad", "last=sha256:" + hex64, "last=a&last=b", "n=%zz", "last=%00"} {
		s.do("GET", "/v2/a/tags/list?"+query, nil).refused(400, "PAGINATION_NUMBER_INVALID")
	}
	s.do("HEAD", "/v2/a/tags/list", nil).want(200).bytes(nil)
}

// tags follows the links of a list of tags to its end.
func (s *server) tags(path string) (all []string) {
	s.t.Helper()
	for path != "" {
		var page struct{ Tags []string }
		r := s.do("GET", path, nil).want(200)
		r.json(&page)
		all, path = append(all, page.Tags...), r.next()
	}
	return all
}

func TestCatalog(t *testing.T) {
	s := newServer(t)
	var empty struct{ Repositories []string }
	s.do("GET", "/v2/_catalog", nil).want(200).json(&empty)
	if empty.Repositories == nil || len(empty.Repositories) != 0 {
		t.Errorf("no repositories are %q", empty.Repositories)
	}
	want := []string{"a", "a/b", "a/b/c", "b", "blobs/uploads"}
	for i, name := range want {
		s.pushBlob(name, content(i, 10))
	}
	var all []string
	for path := "/v2/_catalog?n=2"; path != ""; {
		var page struct{ Repositories []string }
		r := s.do("GET", path, nil).want(200)
		r.json(&page)
		all, path = append(all, page.Repositories...), r.next()
	}
	if !slices.Equal(all, want) {
		t.Errorf("listed %q", all)
	}
	for _, query := range []string{"n=-1", "n=x", "last=UPPER", "last=a/../b"} {
		s.do("GET", "/v2/_catalog?"+query, nil).refused(400, "PAGINATION_NUMBER_INVALID")
	}
}

type index struct {
	SchemaVersion int
	MediaType     string
	Manifests     []struct {
		MediaType, Digest, ArtifactType string
		Size                            int
		Annotations                     map[string]string
	}
}

// referrers follows the links of a list of referrers and returns the digests.
func (s *server) referrers(path string) (digests []string, pages int) {
	s.t.Helper()
	for path != "" {
		var page index
		r := s.do("GET", path, nil).want(200, "Content-Type: "+indexType)
		r.json(&page)
		if page.SchemaVersion != 2 || page.MediaType != indexType || page.Manifests == nil {
			s.t.Errorf("%s: %.200s", path, r.body)
		}
		for _, m := range page.Manifests {
			digests = append(digests, m.Digest)
		}
		pages++
		path = r.next()
	}
	return digests, pages
}

func TestReferrers(t *testing.T) {
	s := newServer(t)
	subject := s.image("a", 1, "")
	d := sha256Of(subject)
	at := "/v2/a/referrers/" + d
	s.do("GET", "/v2/no/referrers/"+d, nil).want(200)
	if got, _ := s.referrers(at); len(got) != 0 {
		t.Errorf("nothing refers, but %q", got)
	}
	var all, sboms []string
	for i := range 7 {
		kind := "a/signature"
		if i%2 == 0 {
			kind = "a/sbom"
		}
		referrer := s.image("a", 10+i, fmt.Sprintf(`,"artifactType":%q,"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"n":"%d"}`,
			kind, imageType, d, len(subject), i))
		all = append(all, sha256Of(referrer))
		if kind == "a/sbom" {
			sboms = append(sboms, sha256Of(referrer))
		}
		s.putManifest("a", sha256Of(referrer), referrer).want(201, "OCI-Subject: "+d)
		if i == 3 { // a subject may come after what refers to it
			s.putManifest("a", "v1", subject).want(201, "OCI-Subject:")
		}
	}
	for _, test := range []struct {
		query string
		want  []string
		pages int
	}{
		{"", all, 1}, {"?n=3", all, 3}, {"?n=7", all, 1}, {"?n=1", all, 7},
		{"?artifactType=a/sbom", sboms, 1}, {"?artifactType=a/sbom&n=3", sboms, 2}, {"?artifactType=a/other", nil, 1},
		{"?artifactType=", all, 1}, {"?n=0", nil, 1},
	} {
		got, pages := s.referrers(at + test.query)
		if !slices.Equal(got, test.want) || pages != test.pages {
			t.Errorf("%s: %d pages of %q", test.query, pages, got)
		}
	}
	if got, _ := s.referrers("/v2/a/referrers/" + digestOf(identity.BLAKE3, subject)); !slices.Equal(got, all) {
		t.Errorf("by another digest of the subject: %q", got)
	}
	s.do("GET", at, nil).want(200, "OCI-Filters-Applied:")
	r := s.do("GET", at+"?artifactType=a/sbom&n=1", nil).want(200, "OCI-Filters-Applied: artifactType")
	var page index
	r.json(&page)
	if m := page.Manifests[0]; m.ArtifactType != "a/sbom" || m.MediaType != imageType || m.Annotations["n"] != "0" || m.Size == 0 {
		t.Errorf("the descriptor is %+v", m)
	}
	for _, query := range []string{"?n=x", "?after=x", "?after=-1", "?artifactType=a&artifactType=b", "?artifactType=%00", "?artifactType=%ff"} {
		s.do("GET", at+query, nil).refused(400, "PAGINATION_NUMBER_INVALID")
	}
	s.do("GET", "/v2/a/referrers/v1", nil).refused(400, "DIGEST_INVALID")
	s.do("DELETE", "/v2/a/manifests/"+all[0], nil).want(202)
	if got, _ := s.referrers(at); !slices.Equal(got, all[1:]) {
		t.Errorf("after a delete: %q", got)
	}
}

func TestPageOfReferrersIsBoundedInBytes(t *testing.T) {
	s := newServer(t, func(o *settings) { o.door.PageBytes = 3000 })
	subject := s.pushImage("a", "v1", 1)
	var all []string
	for i := range 6 {
		// The last one is larger than a page, and comes alone.
		note := strings.Repeat("x", 1000)
		if i == 5 {
			note = strings.Repeat("x", 5000)
		}
		referrer := s.image("a", 10+i, fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"note":%q}`,
			imageType, sha256Of(subject), len(subject), note))
		all = append(all, sha256Of(referrer))
		s.putManifest("a", all[i], referrer).want(201)
	}
	got, pages := s.referrers("/v2/a/referrers/" + sha256Of(subject))
	if !slices.Equal(got, all) || pages != 4 {
		t.Errorf("%d pages of %q", pages, got)
	}
}

func TestBase(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/v2/", "/v2"} {
		r := s.do("GET", path, nil, "X-Request-ID: mine").want(200, "Content-Type: application/json", "X-Request-ID: mine", "Content-Length: 2")
		if !json.Valid(r.body) {
			t.Errorf("%s: %q", path, r.body)
		}
		s.do("HEAD", path, nil).want(200, "Content-Length: 2").bytes(nil)
	}
}

func TestWhatIsNoPartOfTheAPI(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/", "/v1/", "/v2/a", "/v2/a/b/c", "/v2/a/nothing/x", "/v2/../etc/passwd", "/v2/a/tags/", "/v2%2F"} {
		s.do("GET", path, nil).refused(404, "UNSUPPORTED", "Location:")
	}
	for _, test := range []struct{ method, path, allow string }{
		{"POST", "/v2/", "GET, HEAD"},
		{"PUT", "/v2/_catalog", "GET, HEAD"},
		{"DELETE", "/v2/a/tags/list", "GET, HEAD"},
		{"POST", "/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"},
		{"PATCH", "/v2/a/blobs/sha256:" + hex64, "GET, HEAD, DELETE"},
		{"GET", "/v2/a/blobs/uploads/", "POST"},
		{"POST", "/v2/a/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"},
		{"OPTIONS", "/v2/a/referrers/sha256:" + hex64, "GET, HEAD"},
	} {
		s.do(test.method, test.path, nil).refused(405, "UNSUPPORTED", "Allow: "+test.allow)
	}
}
