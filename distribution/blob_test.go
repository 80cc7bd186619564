package distribution_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"artifactstore/registry/identity"
)

func TestEveryDigestFindsABlob(t *testing.T) {
	s := newServer(t)
	for _, size := range []int{0, 100, 70_000} {
		data := content(size, size)
		s.do("POST", "/v2/a/blobs/uploads/?digest="+digestOf(identity.SHA512, data), data).want(201)
		for _, algorithm := range []identity.Algorithm{identity.BLAKE3, identity.SHA256, identity.SHA512} {
			d := digestOf(algorithm, data)
			for _, path := range []string{"/v2/a/blobs/" + d, "/v2/a/blobs/" + strings.Replace(d, ":", "%3A", 1)} {
				want := []string{"Docker-Content-Digest: " + d, `Etag: "` + d + `"`, "Content-Type: application/octet-stream",
					"Accept-Ranges: bytes", "Content-Length: " + itoa(size)}
				s.do("GET", path, nil).want(200, want...).bytes(data)
				s.do("HEAD", path, nil).want(200, want...).bytes(nil)
			}
		}
		// SHA-512 was not computed for other blobs.
		s.do("HEAD", "/v2/a/blobs/"+digestOf(identity.SHA512, []byte("absent")), nil).want(404)
	}
}

func TestBlobOfAnotherRepositoryIsNotServed(t *testing.T) {
	s := newServer(t)
	d := s.pushBlob("a", content(1, 100))
	s.pushBlob("b", content(2, 100))
	s.do("GET", "/v2/b/blobs/"+d, nil).refused(404, "BLOB_UNKNOWN")
	s.do("HEAD", "/v2/b/blobs/"+d, nil).want(404).bytes(nil)
	s.do("GET", "/v2/c/blobs/"+d, nil).refused(404, "NAME_UNKNOWN")
}

func TestRanges(t *testing.T) {
	s := newServer(t)
	for _, size := range []int{2048, 200_000} { // in the database, and in a file
		data := content(size, size)
		d := s.pushBlob("a", data)
		at, last := "/v2/a/blobs/"+d, itoa(size-1)
		of := "/" + itoa(size)
		s.do("GET", at, nil, "Range: bytes=500-1499").want(206, "Content-Range: bytes 500-1499"+of, "Content-Length: 1000", "Docker-Content-Digest: "+d).bytes(data[500:1500])
		s.do("GET", at, nil, "Range: bytes=500-").want(206, "Content-Range: bytes 500-"+last+of).bytes(data[500:])
		s.do("GET", at, nil, "Range: bytes=-500").want(206, "Content-Length: 500").bytes(data[size-500:])
		s.do("GET", at, nil, "Range: bytes=2000-5000000").want(206, "Content-Range: bytes 2000-"+last+of).bytes(data[2000:])
		s.do("GET", at, nil, "Range: bytes=0-0").want(206, "Content-Range: bytes 0-0"+of).bytes(data[:1])
		s.do("GET", at, nil, "Range: bytes=0-9,20-29").want(200, "Content-Range:").bytes(data)
		s.do("GET", at, nil, "Range: bytes=0-9", "Range: bytes=20-29").want(200, "Content-Range:").bytes(data)
		s.do("GET", at, nil, "Range: pages=1-2").want(200, "Content-Range:").bytes(data)
		s.do("HEAD", at, nil, "Range: bytes=0-9").want(200, "Content-Range:", "Content-Length: "+itoa(size))
		for _, bad := range []string{"bytes=500-0", "bytes=5000000-", "bytes=-0", "bytes=x"} {
			s.do("GET", at, nil, "Range: "+bad).refused(416, "RANGE_INVALID", "Content-Range: bytes *"+of, "Accept-Ranges:", "Etag:")
		}
		s.do("GET", at, nil, "Range: bytes=0-9", `If-Range: "`+d+`"`).want(206).bytes(data[:10])
		s.do("GET", at, nil, "Range: bytes=0-9", `If-Range: W/"`+d+`"`).want(200).bytes(data)
		s.do("GET", at, nil, "Range: bytes=0-9", `If-Range: "sha256:00"`).want(200).bytes(data)
		s.do("GET", at, nil, "Range: bytes=x", "If-Range: Mon, 01 Jan 2024 00:00:00 GMT").want(200).bytes(data)
	}
}

func TestNotModified(t *testing.T) {
	s := newServer(t)
	manifest := s.pushImage("a", "v1", 1)
	blob := s.pushBlob("a", content(5, 5000))
	for path, d := range map[string]string{
		"/v2/a/blobs/" + blob: blob, "/v2/a/manifests/v1": sha256Of(manifest), "/v2/a/manifests/" + sha256Of(manifest): sha256Of(manifest),
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, match := range []string{`"` + d + `"`, `W/"` + d + `"`, `"x", "` + d + `"`, "*"} {
				s.do(method, path, nil, "If-None-Match: "+match).want(304, `Etag: "`+d+`"`, "Docker-Content-Digest: "+d, "Content-Type:").bytes(nil)
			}
			for _, other := range []string{`"x"`, d, `"`} {
				s.do(method, path, nil, "If-None-Match: "+other).want(200)
			}
		}
	}
	s.do("GET", "/v2/a/manifests/v2", nil, "If-None-Match: *").refused(404, "MANIFEST_UNKNOWN")
}

func TestDeleteBlob(t *testing.T) {
	s := newServer(t)
	d := s.pushBlob("a", content(1, 100))
	s.pushBlob("b", content(1, 100))
	s.do("DELETE", "/v2/a/blobs/"+d, nil, "If-Match: *").refused(400, "UNSUPPORTED")
	s.do("DELETE", "/v2/a/blobs/"+d, nil).want(202)
	s.do("DELETE", "/v2/a/blobs/"+d, nil).refused(404, "BLOB_UNKNOWN")
	s.do("HEAD", "/v2/a/blobs/"+d, nil).want(404)
	s.do("GET", "/v2/b/blobs/"+d, nil).want(200)
	s.do("DELETE", "/v2/no/blobs/"+d, nil).refused(404, "NAME_UNKNOWN")

	manifest := s.pushImage("a", "v1", 1)
	used := sha256Of(content(1, 20))
	r := s.do("DELETE", "/v2/a/blobs/"+used, nil).refused(405, "DENIED", "Allow: GET, HEAD")
	if !strings.Contains(string(r.body), sha256Of(manifest)) {
		t.Errorf("the refusal does not name the manifest: %s", r.body)
	}
	s.do("DELETE", "/v2/a/manifests/"+sha256Of(manifest), nil).want(202)
	s.do("DELETE", "/v2/a/blobs/"+used, nil).want(202)
}

func TestDeletingCanBeSwitchedOff(t *testing.T) {
	s := newServer(t, func(o *settings) { o.registry.DeleteDisabled = true })
	manifest := s.pushImage("a", "v1", 1)
	for _, path := range []string{"/manifests/v1", "/manifests/" + sha256Of(manifest), "/blobs/" + sha256Of(content(1, 20))} {
		r := s.do("DELETE", "/v2/a"+path, nil).refused(405, "UNSUPPORTED")
		if allow := r.header.Get("Allow"); allow == "" || strings.Contains(allow, "DELETE") {
			t.Errorf("%s allows %q", path, allow)
		}
	}
	s.do("GET", "/v2/a/manifests/v1", nil).want(200).bytes(manifest)
	// An upload is not content yet.
	s.do("DELETE", s.start("a", ""), nil).want(204)
}

// tapped is how many bytes went as files, once there are so many: the client has
// the last of them before they are counted.
func (s *server) tapped(want int64) int64 {
	for range 1000 {
		if s.tap.files.Load() >= want {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return s.tap.files.Load()
}

func TestLargeBlobGoesToTheConnectionAsAFile(t *testing.T) {
	s := newServer(t)
	data := content(1, 3<<20+17)
	d := s.pushBlob("a", data)
	s.do("GET", "/v2/a/blobs/"+d, nil).want(200).bytes(data)
	if n := s.tapped(int64(len(data)) - 512); n < int64(len(data))-512 { // of which net/http writes the first itself
		t.Errorf("%d of %d bytes went as a file", n, len(data))
	}
	before := s.tap.files.Load()
	s.do("GET", "/v2/a/blobs/"+d, nil, "Range: bytes=1000000-2999999").want(206).bytes(data[1000000:3000000])
	if n := s.tapped(before+2000000-512) - before; n < 2000000-512 {
		t.Errorf("%d of 2000000 bytes of a range went as a file", n)
	}
}

func TestDamagedFileIsNeverACompleteAnswer(t *testing.T) {
	s := newServer(t)
	data := content(1, 200_000)
	d := s.pushBlob("a", data)
	var file string
	must(t, filepath.WalkDir(s.files, func(path string, entry fs.DirEntry, err error) error {
		if info, _ := entry.Info(); err == nil && info.Size() == int64(len(data)) {
			file = path
		}
		return err
	}))
	must(t, os.Truncate(file, 100_000))
	s.do("GET", "/v2/a/blobs/"+d, nil).refused(404, "BLOB_UNKNOWN", "Docker-Content-Digest:", "Etag:")
	s.do("GET", "/v2/a/blobs/"+d, nil, "Range: bytes=0-9").refused(404, "BLOB_UNKNOWN", "Content-Range:")
	must(t, os.Remove(file))
	s.do("GET", "/v2/a/blobs/"+d, nil).refused(404, "BLOB_UNKNOWN")
	// Pushing it again heals it.
	s.pushBlob("b", data)
	s.do("GET", "/v2/a/blobs/"+d, nil).want(200).bytes(data)
}
