package distribution_test

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"artifactstore/registry/identity"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestManifestByTag(t *testing.T) {
	s := newServer(t)
	manifest := s.image("a", 1, "")
	d := sha256Of(manifest)
	at := "/v2/a/manifests/" + d
	s.do("GET", "/v2/a/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
	s.putManifest("a", "v1", manifest).want(201, "Location: "+at, "Docker-Content-Digest: "+d, `Etag: "`+d+`"`, "OCI-Subject:", "OCI-Tag:")
	for _, path := range []string{"/v2/a/manifests/v1", at} {
		want := []string{"Content-Type: " + imageType, "Docker-Content-Digest: " + d, `Etag: "` + d + `"`, "Content-Length: " + itoa(len(manifest))}
		s.do("GET", path, nil, "Accept: text/plain").want(200, want...).bytes(manifest)
		s.do("HEAD", path, nil).want(200, want...).bytes(nil)
	}
	// Again is no change, and parameters of the type do not matter.
	s.do("PUT", "/v2/a/manifests/v1", manifest, "Content-Type: "+imageType+"; charset=utf-8").want(201)
	s.do("GET", "/v2/a/manifests/v1", nil).want(200, "Content-Type: "+imageType)
}

func TestManifestByDigestWithTags(t *testing.T) {
	s := newServer(t)
	for i, algorithm := range []identity.Algorithm{identity.SHA256, identity.SHA512, identity.BLAKE3} {
		manifest := s.image("a", i, "")
		d := digestOf(algorithm, manifest)
		var tags []string
		query := url.Values{}
		for j := range 12 {
			tags = append(tags, fmt.Sprintf("t%d-%d", i, j))
			query.Add("tag", tags[j])
		}
		r := s.putManifest("a", d+"?"+query.Encode(), manifest).want(201, "Docker-Content-Digest: "+d, "Location: /v2/a/manifests/"+d)
		if got := r.header.Values("OCI-Tag"); !slices.Equal(got, tags) {
			t.Errorf("OCI-Tag is %q", got)
		}
		for _, tag := range tags {
			s.do("HEAD", "/v2/a/manifests/"+tag, nil).want(200, "Docker-Content-Digest: "+d)
		}
		for _, other := range []identity.Algorithm{identity.SHA256, identity.BLAKE3} {
			s.do("GET", "/v2/a/manifests/"+digestOf(other, manifest), nil).want(200, "Docker-Content-Digest: "+digestOf(other, manifest)).bytes(manifest)
		}
		s.putManifest("a", digestOf(algorithm, []byte("other")), manifest).refused(400, "DIGEST_INVALID")
		s.putManifest("a", d+"?tag=good&tag=.bad", manifest).refused(400, "TAG_INVALID")
		s.do("HEAD", "/v2/a/manifests/good", nil).want(404)
	}
}

func TestManifestSizeLimit(t *testing.T) {
	s := newServer(t)
	padded := func(size int) []byte {
		short := s.image("a", 1, `,"annotations":{"a":""}`)
		return bytes.Replace(short, []byte(`{"a":""}`), []byte(`{"a":"`+strings.Repeat("x", size-len(short))+`"}`), 1)
	}
	largest := padded(4 << 20)
	s.putManifest("a", "v1", largest).want(201)
	s.do("GET", "/v2/a/manifests/v1", nil).want(200).bytes(largest)
	s.putManifest("a", "v2", padded(4<<20+1)).refused(413, "MANIFEST_TOO_LARGE")
	s.send("PUT", "/v2/a/manifests/v2", struct{ *bytes.Reader }{bytes.NewReader(padded(4<<20 + 1))}, "Content-Type: "+imageType).
		refused(413, "MANIFEST_TOO_LARGE")
	s.do("HEAD", "/v2/a/manifests/v2", nil).want(404)
}

func TestConditionalPush(t *testing.T) {
	s := newServer(t)
	first, second, third := s.image("a", 1, ""), s.image("a", 2, ""), s.image("a", 3, "")
	is := func(data []byte) string { return `"` + sha256Of(data) + `"` }
	names := func(data []byte) {
		t.Helper()
		s.do("HEAD", "/v2/a/manifests/v1", nil).want(200, "Docker-Content-Digest: "+sha256Of(data))
	}
	s.putManifest("a", "v1", first, "If-Match: "+is(first)).refused(412, "PRECONDITION_FAILED")
	s.putManifest("a", "v1", first, "If-None-Match: *").want(201)
	r := s.putManifest("a", "v1", second, "If-None-Match: *").refused(412, "PRECONDITION_FAILED")
	if !strings.Contains(string(r.body), sha256Of(first)) {
		t.Errorf("the refusal does not name the winner: %s", r.body)
	}
	names(first)
	s.putManifest("a", "v1", second, "If-Match: "+is(third)).refused(412, "PRECONDITION_FAILED")
	s.putManifest("a", "v1", second, "If-Match: W/"+is(first)).refused(412, "PRECONDITION_FAILED")
	names(first)
	s.putManifest("a", "v1", second, "If-Match: "+is(third)+", "+is(first)).want(201)
	s.putManifest("a", "v1", second, "If-Match: "+is(first)).want(201) // the answer was lost
	names(second)
	s.putManifest("a", "v1", third, "If-Match: *").want(201)
	names(third)
	for _, bad := range []string{"If-Match: x", `If-Match: "`, `If-None-Match: "x"`, "If-None-Match: x", "If-Match: "} {
		s.putManifest("a", "v1", first, bad).refused(400, "UNSUPPORTED")
	}
	// All tags or none.
	s.putManifest("a", sha256Of(first)+"?tag=new&tag=v1", first, "If-None-Match: *").refused(412, "PRECONDITION_FAILED")
	s.do("HEAD", "/v2/a/manifests/new", nil).want(404)
	names(third)
}

func TestDeleteManifest(t *testing.T) {
	s := newServer(t)
	manifest := s.pushImage("a", "v1", 1)
	s.putManifest("a", "v2", manifest).want(201)
	d := sha256Of(manifest)
	s.do("DELETE", "/v2/a/manifests/v1", nil, "If-Match: "+`"x"`).refused(400, "UNSUPPORTED")
	s.do("DELETE", "/v2/a/manifests/v1", nil).want(202)
	s.do("GET", "/v2/a/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("DELETE", "/v2/a/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("GET", "/v2/a/manifests/"+d, nil).want(200)
	s.do("DELETE", "/v2/a/manifests/"+d, nil).want(202)
	s.do("GET", "/v2/a/manifests/v2", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("GET", "/v2/a/manifests/"+d, nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("DELETE", "/v2/no/manifests/v1", nil).refused(404, "NAME_UNKNOWN")
	s.do("DELETE", "/v2/a/manifests/.bad", nil).refused(400, "TAG_INVALID")
}

func TestManifestNeedsItsBlobs(t *testing.T) {
	s := newServer(t)
	manifest := bytes.Replace(s.image("a", 1, ""), []byte(sha256Of(content(1, 20))), []byte(sha256Of([]byte("absent"))), 1)
	s.putManifest("a", "v1", manifest).refused(400, "MANIFEST_BLOB_UNKNOWN")
	s.putManifest("a", "v1", []byte("{")).refused(400, "MANIFEST_INVALID")
	s.do("PUT", "/v2/a/manifests/v1", s.image("a", 1, ""), "Content-Type: "+indexType).refused(400, "MANIFEST_INVALID")
	s.do("PUT", "/v2/a/manifests/v1?tag=%zz", s.image("a", 1, ""), "Content-Type: "+imageType).refused(400, "MANIFEST_INVALID")
}

func TestBodyThatEndsEarlyIsTheClientsFault(t *testing.T) {
	s := newServer(t)
	manifest := s.image("a", 1, "")
	c := s.raw(fmt.Sprintf("PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%s\r\nx\r\n", imageType, manifest[:5]))
	data := make([]byte, 12)
	if _, err := c.Read(data); err != nil || string(data) != "HTTP/1.1 400" {
		t.Errorf("answered %q, %v", data, err)
	}
}
