package distribution_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"artifactstore/storagedriver"
)

// linking is a driver whose larger objects clients fetch from a server of
// plain files.
type linking struct {
	storagedriver.Driver
	url   string
	above int64
}

func (d *linking) Link(_ context.Context, l storagedriver.Link) (string, error) {
	if l.Size <= d.above {
		return "", nil
	}
	return d.url + "/" + l.Locator + "?signature=secret", nil
}

// bucket serves the objects of the driver to whoever has the secret.
func (d *linking) bucket(t *testing.T) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("signature") != "secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		rc, err := d.Open(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), 0, -1)
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		defer rc.Close()
		http.ServeContent(w, r, "", time.Time{}, rc.(io.ReadSeeker))
	}))
}

// newLinking starts a server over such a driver, and a client that follows no redirect.
func newLinking(t *testing.T, change ...func(*settings)) (*server, *linking) {
	t.Helper()
	d := &linking{above: 100_000}
	s := newServer(t, append(change, func(o *settings) {
		o.wrap = func(inner storagedriver.Driver) storagedriver.Driver { d.Driver = inner; return d }
	})...)
	bucket := d.bucket(t)
	t.Cleanup(bucket.Close)
	d.url = bucket.URL
	s.http.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, d
}

func TestLargeBlobsAreFetchedFromTheStore(t *testing.T) {
	s, d := newLinking(t)
	data := content(1, 200_000)
	blob := s.pushBlob("a", data)
	at := "/v2/a/blobs/" + blob
	for _, fields := range [][]string{nil, {"Range: bytes=100-1099"}, {"Range: bytes=0-1,5-6"}, {`If-None-Match: "x"`}} {
		r := s.do("GET", at, nil, fields...).want(307, "Docker-Content-Digest: "+blob, "Cache-Control: no-store",
			"Content-Length: 0", "Content-Type:", "Content-Range:", "Etag:", "Accept-Ranges:").bytes(nil)
		if !strings.HasPrefix(r.location(), d.url+"/") {
			t.Errorf("%v: sent to %q", fields, r.location())
		}
	}
	s.do("HEAD", at, nil).want(200, "Location:", "Content-Length: 200000", "Accept-Ranges: bytes")
	s.do("HEAD", at, nil, "Range: bytes=0-9").want(200, "Location:")
	for _, method := range []string{"GET", "HEAD"} {
		s.do(method, at, nil, `If-None-Match: "`+blob+`"`).want(304, "Location:", `Etag: "`+blob+`"`)
	}
	s.do("GET", at, nil, "Range: bytes=200000-").refused(416, "RANGE_INVALID", "Location:", "Content-Range: bytes */200000")
	// What the store would judge by tags and times of its own is served here.
	s.do("GET", at, nil, "Range: bytes=0-9", `If-Range: "`+blob+`"`).want(206, "Location:").bytes(data[:10])
	s.do("GET", at, nil, "If-Modified-Since: "+time.Now().UTC().Format(http.TimeFormat)).want(200, "Location:").bytes(data)
	s.do("GET", at, nil, `If-Match: "x"`).want(200, "Location:").bytes(data)
	if strings.Contains(s.log.String(), "secret") || strings.Contains(s.log.String(), d.url) {
		t.Errorf("the log has a URL of the store:\n%s", s.log)
	}
}

func TestClientsThatFollowGetTheBytes(t *testing.T) {
	s, _ := newLinking(t)
	data := content(2, 150_000)
	at := s.url + "/v2/a/blobs/" + s.pushBlob("a", data)
	for field, want := range map[string][]byte{"": data, "bytes=1000-1999": data[1000:2000], "bytes=-5": data[149_995:]} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", at, nil)
		must(t, err)
		if field != "" {
			r.Header.Set("Range", field)
		}
		res, err := new(http.Client).Do(r)
		must(t, err)
		got, err := io.ReadAll(res.Body)
		must(t, errors.Join(err, res.Body.Close()))
		if !bytes.Equal(got, want) || strings.HasPrefix(res.Request.URL.String(), s.url) {
			t.Errorf("%q: %d with %d bytes from %s", field, res.StatusCode, len(got), res.Request.URL.Host)
		}
	}
}

func TestWhatIsNotLinkedIsServed(t *testing.T) {
	s, d := newLinking(t)
	for _, size := range []int{0, 1000, 50_000} { // in the database, and in a file that the driver makes no link to
		data := content(size, size)
		s.do("GET", "/v2/a/blobs/"+s.pushBlob("a", data), nil).want(200, "Location:").bytes(data)
	}
	manifest := s.pushImage("a", "v1", 1)
	s.do("GET", "/v2/a/manifests/v1", nil).want(200, "Location:").bytes(manifest)
	d.above = 0
	s.do("GET", "/v2/a/blobs/"+s.pushBlob("a", content(3, 1000)), nil).want(200, "Location:")
	s.do("GET", "/v2/a/blobs/"+sha256Of([]byte("absent")), nil).refused(404, "BLOB_UNKNOWN", "Location:")
}

func TestADoorWithoutRedirectsHasNone(t *testing.T) {
	s, _ := newLinking(t, func(o *settings) { o.door.NoRedirect = true })
	data := content(4, 200_000)
	at := "/v2/a/blobs/" + s.pushBlob("a", data)
	s.do("GET", at, nil).want(200, "Location:").bytes(data)
	s.do("GET", at, nil, "Range: bytes=0-9").want(206, "Location:").bytes(data[:10])
}
