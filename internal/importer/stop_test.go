package importer_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/importer"
	"artifactstore/internal/inproc"
	"artifactstore/registry"
)

// failing is a target that answers some requests with a status, and serves the
// others.
func failing(t *testing.T, h *home, status int, fails func(*http.Request) bool) *importer.Target {
	t.Helper()
	target, err := importer.NewTarget(importer.Endpoint{Host: "home", PlainHTTP: true, Transport: inproc.Transport(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if fails(r) {
				w.WriteHeader(status)
				return
			}
			h.handler.ServeHTTP(w, r)
		}))})
	must(t, err)
	return target
}

// TestATargetThatTakesNoMoreEndsTheImport, which then says how far it came, and
// reports nothing as refused that was not.
func TestATargetThatTakesNoMoreEndsTheImport(t *testing.T) {
	s := distributionStore{files{}}
	for i := range 30 {
		s.put("app", image(uint64(i), nil), fmt.Sprintf("v%d", i))
	}
	dir := s.folder(t)
	push := func(r *http.Request) bool { return r.Method == http.MethodPost }
	cases := []struct {
		name   string
		status int
	}{
		{"the disk is full", http.StatusInsufficientStorage},
		{"it wants a login", http.StatusUnauthorized},
		{"it stays unavailable", http.StatusServiceUnavailable},
		{"everything fails", http.StatusInternalServerError},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the pauses take a while
				h := newHome(t, registry.Options{})
				r, err := importer.Run(t.Context(), open(t, dir, ""), failing(t, h, c.status, push), importer.Options{Jobs: 2})
				if err == nil || r.Complete || !strings.Contains(err.Error(), fmt.Sprint(c.status)) {
					t.Errorf("complete %v, error %v", r.Complete, err)
				}
				if r.Failures() > 5 {
					t.Errorf("%d refusals: %+v", r.Failures(), r.Refused[0])
				}
			})
		})
	}
}

// TestOneManifestThatFailsKeepsNoOthersOut: the server may have trouble with it
// alone.
func TestOneManifestThatFailsKeepsNoOthersOut(t *testing.T) {
	s := distributionStore{files{}}
	bad := image(3, nil)
	for i := range 30 {
		s.put("app", image(uint64(i), nil), fmt.Sprintf("v%d", i))
	}
	dir := s.folder(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, registry.Options{})
		target := failing(t, h, http.StatusInternalServerError, func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, bad.Digest.String())
		})
		r, err := importer.Run(t.Context(), open(t, dir, ""), target, importer.Options{Jobs: 2})
		must(t, err)
		if !r.Complete || len(r.Refused) != 1 || r.Refused[0].Digest != bad.Digest || r.Tags.Copied != 29 {
			t.Errorf("report %+v", r)
		}
	})
}

// TestLargeManifestsArePushedFewAtATime: the registry refuses more than it has
// memory for.
func TestLargeManifestsArePushedFewAtATime(t *testing.T) {
	s := distributionStore{files{}}
	for i := range 12 {
		large := func(m *ocispec.Manifest) { m.Annotations = map[string]string{"x": strings.Repeat("x", 1<<20)} }
		s.put("app", image(uint64(i), large), fmt.Sprintf("v%d", i))
	}
	dir := s.folder(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, registry.Options{})
		var pushing, most atomic.Int64
		target, err := importer.NewTarget(importer.Endpoint{Host: "home", PlainHTTP: true,
			Transport: inproc.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && r.ContentLength > 1<<20 {
					most.Store(max(most.Load(), pushing.Add(1)))
					time.Sleep(time.Second) // so that they meet
					pushing.Add(-1)         // before the answer, which lets the next one come
				}
				h.handler.ServeHTTP(w, r)
			}))})
		must(t, err)
		r, err := importer.Run(t.Context(), open(t, dir, ""), target, importer.Options{Jobs: 4})
		must(t, err)
		allCame(t, r)
		if most.Load() < 1 || most.Load() > 2 {
			t.Errorf("%d at a time", most.Load())
		}
	})
}
