package importer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

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
