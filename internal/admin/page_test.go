package admin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/admin"
)

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	must(t, json.Unmarshal([]byte(a), &x))
	must(t, json.Unmarshal([]byte(b), &y))
	return reflect.DeepEqual(x, y)
}

// shared has the layer of seed 1 in many repositories, in some as a blob alone,
// and the image of seed 1 in some as a blob and a manifest.
func shared(s *server) (layer, image string) {
	s.t.Helper()
	manifest := s.pushImage("r0", "v1", 1)
	for i := range 9 {
		name := fmt.Sprintf("r%d", i)
		s.pushBlob(name, content(1001, 200))
		if i%3 == 0 {
			s.pushImage(name, "v1", 1)
			s.pushImage(name, "v2", 100+i)
			s.putManifest(name, "v3", imageType, s.image(name, 1, `,"annotations":{"i":"`+fmt.Sprint(i)+`"}`)).want(201)
		}
		if i%2 == 0 {
			s.pushBlob(name, manifest)
		}
	}
	return sha256Of(content(1001, 200)), sha256Of(manifest)
}

func samePages[T any](t *testing.T, s *server, path string) []T {
	t.Helper()
	whole := all[T](s, path, 1000, nil)
	for _, n := range []int{1, 2, 3} {
		if got := all[T](s, path, n, nil); !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: by %d\n%+v\nwhole\n%+v", path, n, got, whole)
		}
	}
	return whole
}

func TestPagesOfEverySizeAddUpToTheList(t *testing.T) {
	s := newServer(t)
	layer, image := shared(s)
	s.attach("r0", 7, s.pushImage("r0", "v9", 9))
	for i := range 5 {
		s.upload("r0", content(50+i, 100))
	}
	if n := len(samePages[admin.Repository](t, s, "/repositories")); n != 9 {
		t.Errorf("%d repositories", n)
	}
	samePages[admin.Tag](t, s, at("r0", "/tags"))
	samePages[admin.Manifest](t, s, at("r0", "/manifests"))
	samePages[admin.Reference](t, s, at("r0", "/manifests/v1/references"))
	if n := len(samePages[admin.Upload](t, s, "/uploads")); n != 5 {
		t.Errorf("%d uploads", n)
	}
	holders := samePages[admin.Holder](t, s, "/digests/"+layer+"/repositories")
	if len(holders) != 9 || holders[1] != (admin.Holder{Repository: "r1", Blob: true}) {
		t.Errorf("holders of a layer: %+v", holders)
	}
	var want []admin.Holder
	for i := range 9 {
		if i%3 == 0 || i%2 == 0 {
			want = append(want, admin.Holder{Repository: fmt.Sprintf("r%d", i), Blob: i%2 == 0, Manifest: i%3 == 0})
		}
	}
	if holders := samePages[admin.Holder](t, s, "/digests/"+image+"/repositories"); !reflect.DeepEqual(holders, want) {
		t.Errorf("holders of a manifest: %+v", holders)
	}
	if users := samePages[admin.User](t, s, "/digests/"+layer+"/references"); len(users) != 6 || users[0].Repository != "r0" || users[0].Role != "layer" {
		t.Errorf("users of a layer: %+v", users)
	}
}

// A manifest that names the same bytes by two digests uses them twice.
func TestUsersByEveryDigest(t *testing.T) {
	s := newServer(t)
	blob := content(1, 50)
	s.client("POST", "/v2/a/blobs/uploads/?digest="+sha512Of(blob), blob).want(201)
	d := func(digest string) string {
		return fmt.Sprintf(`{"mediaType":"a/layer","digest":%q,"size":50}`, digest)
	}
	s.putManifest("a", "v1", imageType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s,%s]}`,
		imageType, d(sha256Of(blob)), d(sha512Of(blob)), d(blake3Of(blob)))).want(201)
	for _, digest := range []string{sha256Of(blob), sha512Of(blob), blake3Of(blob)} {
		if users := samePages[admin.User](t, s, "/digests/"+digest+"/references"); len(users) != 3 {
			t.Errorf("%d users by %s", len(users), digest)
		}
	}
}

// Rows that come while a client walks the pages make no hole and no double: what
// was there at the start is seen once.
func TestPagesWhileRowsAreAdded(t *testing.T) {
	s := newServer(t)
	layer, _ := shared(s)
	next := 200
	push := func() {
		if next++; next > 230 {
			return
		}
		// Names before and behind those that are there.
		for _, name := range []string{fmt.Sprintf("a%d", next), fmt.Sprintf("z%d", next), "r3"} {
			s.putManifest(name, fmt.Sprintf("t%d", next), imageType, s.image(name, 1, fmt.Sprintf(`,"annotations":{"i":"%d"}`, next))).want(201)
			s.putManifest(name, fmt.Sprintf("T%d", next), imageType, s.image(name, 1, fmt.Sprintf(`,"annotations":{"i":"%d"}`, next))).want(201)
		}
	}
	walk(t, s, "/repositories", push, func(r admin.Repository) string { return r.Name })
	walk(t, s, at("r3", "/tags"), push, func(x admin.Tag) string { return x.Name })
	walk(t, s, at("r3", "/manifests"), push, func(m admin.Manifest) string { return m.Digest })
	walk(t, s, at("r3", "/tags/v1/history"), func() { s.pushImage("r3", "v1", next); push() }, func(m admin.TagMove) string { return fmt.Sprint(m.Sequence) })
	walk(t, s, "/digests/"+layer+"/repositories", push, func(h admin.Holder) string { return h.Repository })
	walk(t, s, "/digests/"+layer+"/references", push, func(u admin.User) string { return u.Repository + "@" + u.Manifest })
}

func walk[T any](t *testing.T, s *server, path string, between func(), key func(T) string) {
	t.Helper()
	before := all[T](s, path, 1000, nil)
	seen := make(map[string]int)
	for _, item := range all[T](s, path, 1, between) {
		if seen[key(item)]++; seen[key(item)] > 1 {
			t.Errorf("%s: %s came twice", path, key(item))
		}
	}
	for _, item := range before {
		if seen[key(item)] == 0 {
			t.Errorf("%s: %s was skipped", path, key(item))
		}
	}
}

func TestParametersAreReadStrictly(t *testing.T) {
	s := newServer(t)
	s.pushImage("a", "v1", 1)
	digest := "/digests/" + sha256Of(content(1, 20))
	lists := map[string]bool{ // and whether after is a number
		"/repositories": false, "/uploads": false, at("a", "/tags"): false, "/events": true,
		at("a", "/tags/v1/history"): true, at("a", "/manifests"): true, at("a", "/manifests/v1/references"): true,
		at("a", "/manifests/v1/referrers"): true, digest + "/repositories": true, digest + "/references": true,
	}
	for path, numbered := range lists {
		for _, bad := range []string{
			"n=0", "n=-1", "n=", "n=x", "n=1.5", "n=%201", "n=0x10", "n=99999999999999999999", "n=1&n=1", "after=&after=", "limit=10", "N=1", "n%00=1", "after=%00", "after=a%00b", "after=%ff",
			"last=v1", "n=1&x", "a;b", "n=%zz",
		} {
			s.get(path+"?"+bad).refused(400, "PARAMETER_INVALID")
		}
		for _, good := range []string{"", "n=1", "n=1000", "n=1000000", "after=", "n=10&after="} {
			s.get(path + "?" + good).want(200)
		}
		for _, after := range []string{"x", "-1", "1.5", "1.2.3", "1.2.3.4.5", "1...4", "18446744073709551615", "%01", "1.2.3.-4"} {
			if r := s.get(path + "?after=" + after); numbered {
				r.refused(400, "PARAMETER_INVALID")
			} else {
				r.want(200)
			}
		}
	}
	s.get(digest + "/references?after=99.9223372036854775807.9223372036854775807.9223372036854775807").want(200)
	for _, path := range []string{"/status", "/usage", "/storage", at("a", ""), at("a", "/usage"), at("a", "/tags/v1"), at("a", "/manifests/v1"),
		at("a", "/manifests/v1/info"), at("a", "/manifests/v1/pushed"), digest} {
		s.get(path).want(200)
		s.get(path+"?n=1").refused(400, "PARAMETER_INVALID")
		s.get(path+"?x").refused(400, "PARAMETER_INVALID")
	}
	s.get("/events?kind=v1.tag.moved&kind=v1.blob.stored").want(200)
	s.get("/events?kind=v9.tag.moved").refused(400, "PARAMETER_INVALID")
	s.get("/events?kind=").refused(400, "PARAMETER_INVALID")
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "n=1&after=2", "n=1000&after=1.2.3.4", "kind=a&kind=b", "n=%zz", "after=%31%2e2.3.4", "n=18446744073709551616", "a;b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/admin/v1/repositories", nil)
		r.URL.RawQuery = query
		n, sequence, place, err := admin.ParseQuery(r)
		if err != nil {
			return
		}
		if n < 1 || n > 1000 || sequence > 1<<63-1 {
			t.Errorf("n=%d, sequence %d", n, sequence)
		}
		for _, number := range place {
			if number < 0 {
				t.Errorf("place %v", place)
			}
		}
	})
}

// Whatever path is asked for, the answer is one that the description has, and
// never a failure.
func FuzzPath(f *testing.F) {
	s := newServer(f)
	image := s.pushImage("a/tags", "v1", 1)
	for _, path := range append([]string{"repositories/a%2Ftags/manifests/v1/info?n=1", "events?after=1&n=1&kind=v1.tag.moved", "repositories/%2e%2e/tags",
		"digests/" + sha256Of(image) + "/references?after=1.2.3.4", "repositories/a%252Ftags//", "repositories/;/tags?;", "uploads?n=%00"}, slices.Sorted(maps.Keys(admin.Routes()))...) {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		path = admin.Prefix + "/" + strings.TrimPrefix(path, admin.Prefix+"/")
		at, err := url.ParseRequestURI(path)
		if err != nil {
			return // the HTTP server refuses it
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, &http.Request{Method: "GET", URL: at, Host: "localhost", Header: http.Header{}, Body: http.NoBody})
		r := &reply{t, path, w.Code, w.Header(), w.Body.Bytes()}
		if s.doc.check(t, "GET", at.EscapedPath(), nil, r); w.Code >= 500 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	})
}
