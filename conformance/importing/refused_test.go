package importing_test

import (
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

var update = flag.Bool("update", false, "write the golden files")

// TestTheReportNamesWhatWasRefused: of a store that distribution wrote, in
// which a layer is damaged, one is missing, and a manifest is of schema 1.
func TestTheReportNamesWhatWasRefused(t *testing.T) {
	t.Parallel()
	d := harness.StartDistribution(t)
	c := d.Client()
	defer c.Close()
	good, damaged, missing, schema1 := harness.NewImage(1, 2, 5000), harness.NewImage(2, 2, 5000), harness.NewImage(3, 2, 5000), harness.NewImage(4, 1, 5000)
	push(t, c, good, "team/app", "good")
	push(t, c, damaged, "team/app", "damaged")
	push(t, c, damaged, "team/app", "damaged-too")
	push(t, c, missing, "team/app", "missing")
	push(t, c, schema1, "team/app", "schema1")
	d.Stop(t)
	layer := func(image *harness.Image, i int) string { return data(d, harness.SHA256(image.Layers[i])) }
	broken := append([]byte(nil), damaged.Layers[1]...)
	broken[17]++
	harness.Must(t, os.WriteFile(layer(damaged, 1), broken, 0o600))
	harness.Must(t, os.Remove(layer(missing, 0)))
	old := []byte(`{"schemaVersion":1,"name":"team/app","tag":"schema1","fsLayers":[]}`)
	replaceManifest(t, d, "team/app", "schema1", old)

	s := harness.Start(t)
	cmd := harness.Command(t, "import", "--from", d.Dir, "--to", s.URL())
	out, err := cmd.Output()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the import ended with %v", err)
	}
	got := strings.NewReplacer(d.Dir, "DIR", s.URL(), "URL").Replace(string(out))
	got = regexp.MustCompile(`in [0-9.]+m?s\.`).ReplaceAllString(got, "in TIME.")
	const golden = "testdata/refused.txt"
	if *update {
		harness.Must(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	harness.Must(t, err)
	if got != string(want) {
		t.Errorf("the report is\n%s", got)
	}
	if reply := get(t, s.Client(), "/v2/team/app/manifests/good"); harness.SHA256(reply.Body) != good.Digest {
		t.Error("what was good did not come")
	}
}

// data is where distribution keeps the bytes of a digest.
func data(d *harness.Distribution, digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(d.Dir, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
}

// replaceManifest puts a manifest into the store of distribution that it would
// not take any more.
func replaceManifest(t *testing.T, d *harness.Distribution, repository, tag string, raw []byte) {
	t.Helper()
	digest := harness.SHA256(raw)
	home := filepath.Join(d.Dir, "docker/registry/v2/repositories", repository, "_manifests")
	harness.Must(t, os.RemoveAll(filepath.Join(home, "revisions/sha256", linked(t, filepath.Join(home, "tags", tag, "current/link")))))
	for path, text := range map[string][]byte{
		data(d, digest): raw,
		filepath.Join(home, "revisions/sha256", strings.TrimPrefix(digest, "sha256:"), "link"): []byte(digest),
		filepath.Join(home, "tags", tag, "current/link"):                                       []byte(digest),
	} {
		harness.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		harness.Must(t, os.WriteFile(path, text, 0o600))
	}
}

// linked returns the hex digest in a link of distribution.
func linked(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	harness.Must(t, err)
	return strings.TrimPrefix(string(text), "sha256:")
}

// TestARegistryThatWantsALogin is imported with the credentials of Docker's
// configuration, and refused with advice without them.
func TestARegistryThatWantsALogin(t *testing.T) {
	t.Parallel()
	d := images(t, 2, 5000)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: d.Host})
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "somebody" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer locked.Close()
	s := harness.Start(t)
	home := t.TempDir()
	refused := harness.Command(t, "import", "--from-registry", locked.URL, "--to", s.URL())
	refused.Env = append(refused.Env, "DOCKER_CONFIG="+home)
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "docker login") {
		t.Errorf("without credentials: %v\n%s", err, out)
	}
	write(t, home, "config.json", fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`,
		strings.TrimPrefix(locked.URL, "http://"), base64.StdEncoding.EncodeToString([]byte("somebody:secret"))))
	allowed := harness.Command(t, "import", "--from-registry", locked.URL, "--to", s.URL())
	allowed.Env = append(allowed.Env, "DOCKER_CONFIG="+home)
	if out, err := allowed.CombinedOutput(); err != nil {
		t.Errorf("with credentials: %v\n%s", err, out)
	}
	c := d.Client()
	defer c.Close()
	same(t, s.Client(), all(t, c))
}
