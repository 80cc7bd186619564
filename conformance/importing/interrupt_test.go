package importing_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"artifactstore/conformance/harness"
)

// images pushes images of some size to a registry of distribution.
func images(t *testing.T, n, layerSize int) *harness.Distribution {
	t.Helper()
	d := harness.StartDistribution(t)
	c := d.Client()
	defer c.Close()
	for i := range n {
		push(t, c, harness.NewImage(uint64(i), 3, layerSize), "app", fmt.Sprintf("v%d", i))
	}
	return d
}

// gate is a registry behind a proxy that does not answer one blob, and tells
// when it was asked for.
type gate struct {
	*httptest.Server
	reached chan struct{}
	blobs   atomic.Int64
}

// newGate lets n blobs through, holds the next, and lets all after it through.
func newGate(t *testing.T, d *harness.Distribution, n int64) *gate {
	t.Helper()
	g := &gate{reached: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: d.Host})
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && g.blobs.Add(1) == n+1 {
			close(g.reached)
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// stopAt starts an import, sends it a signal when it stands before the gate,
// and returns its exit code and what it printed.
func (g *gate) stopAt(t *testing.T, s *harness.Server, signal os.Signal) (code int, output string) {
	t.Helper()
	cmd := harness.Command(t, "import", "--from-registry", g.URL, "--to", s.URL(), "--jobs", "1")
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	harness.Must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-g.reached:
		harness.Must(t, cmd.Process.Signal(signal))
		<-ended
	case err := <-ended:
		t.Fatalf("the import ended before the gate: %v\n%s", err, &printed)
	}
	return cmd.ProcessState.ExitCode(), printed.String()
}

// TestAnImportThatIsKilledGoesOn: run again, it brings what is left, and no
// blob a second time.
func TestAnImportThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	const n, blobs, through = 12, 12 * 4, 20
	d := images(t, n, 100_000)
	s := harness.Start(t)
	g := newGate(t, d, through)
	g.stopAt(t, s, os.Kill)
	r := harness.Import(t, "--from-registry", g.URL, "--to", s.URL())
	if r.Manifests.There+r.Manifests.Copied != n || r.Blobs.Copied > blobs-through+1 {
		t.Errorf("after the kill: %+v", r)
	}
	c := d.Client()
	defer c.Close()
	same(t, s.Client(), all(t, c))
}

// TestAnImportStopsAtTheSignal, says how to go on, and does so.
func TestAnImportStopsAtTheSignal(t *testing.T) {
	t.Parallel()
	d := images(t, 12, 100_000)
	s := harness.Start(t)
	code, output := newGate(t, d, 20).stopAt(t, s, os.Interrupt)
	if code != 1 || !strings.Contains(output, "run it again and it goes on") {
		t.Errorf("it ended with %d and says\n%s", code, output)
	}
	harness.Import(t, "--from", d.Dir, "--to", s.URL())
	c := d.Client()
	defer c.Close()
	same(t, s.Client(), all(t, c))
}
