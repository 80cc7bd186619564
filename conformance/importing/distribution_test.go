package importing_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

const whyOras = "it pushes what is imported"

// old is a registry of distribution with everything that people have in one.
type old struct {
	*harness.Distribution
	content
	oras harness.Tool
	// signed is the digest of team/app:v1, which has two referrers, moved
	// that of an index which has one, and replaced a manifest without a tag.
	signed, index, replaced string
}

// fill pushes to a registry of distribution with oras.
func fill(t *testing.T) *old {
	t.Helper()
	o := &old{Distribution: harness.StartDistribution(t), oras: client(t, "oras", whyOras)}
	run := func(args ...string) {
		o.oras.Run(t, append(args[:1:1], append([]string{"--plain-http"}, args[1:]...)...)...)
	}
	write(t, o.oras.Dir, "small.txt", []byte("hello\n"))
	write(t, o.oras.Dir, "large.bin", harness.Random(1, 3<<20))
	write(t, o.oras.Dir, "signature.txt", []byte("signed"))
	write(t, o.oras.Dir, "sbom.json", []byte("{}"))
	c := o.Client()
	defer c.Close()

	app := o.Host + "/team/app"
	run("push", app+":v1", "small.txt")
	o.replaced = harness.SHA256(get(t, c, "/v2/team/app/manifests/v1").Body)
	run("push", "--artifact-type", "application/vnd.example+type", app+":v1,latest", "small.txt:text/plain", "large.bin")
	run("attach", "--artifact-type", "application/vnd.example.signature", app+":v1", "signature.txt")
	run("attach", "--artifact-type", "application/vnd.example.sbom", app+":v1", "sbom.json")
	run("push", o.Host+"/team/app/deep/er:v2", "large.bin") // shares the layer
	for _, platform := range []string{"amd64", "arm64"} {
		write(t, o.oras.Dir, platform+".txt", []byte("for "+platform))
		run("push", "--artifact-platform", "linux/"+platform, o.Host+"/multi:"+platform, platform+".txt")
	}
	o.oras.Run(t, "manifest", "index", "create", "--plain-http", o.Host+"/multi:v1", "amd64", "arm64")
	run("attach", "--artifact-type", "application/vnd.example.sbom", o.Host+"/multi:v1", "sbom.json")
	push(t, c, harness.NewImage(7, 3, 100_000), "plain/image", "v1")

	o.content = all(t, c)
	o.signed, o.index = o.tags["team/app v1"], o.tags["multi v1"]
	return o
}

// check proves that a server has all of it, as the old registry has it.
func (o *old) check(t *testing.T, s *harness.Server) {
	t.Helper()
	c := s.Client()
	defer c.Close()
	same(t, c, o.content)
	if got, want := referrers(t, c, "team/app", o.signed), []string{"application/vnd.example.sbom", "application/vnd.example.signature"}; !slices.Equal(got, want) {
		t.Errorf("referrers %v, want %v", got, want)
	}
	if got, want := referrers(t, c, "multi", o.index), []string{"application/vnd.example.sbom"}; !slices.Equal(got, want) {
		t.Errorf("referrers of the index %v, want %v", got, want)
	}
	out := t.TempDir()
	o.oras.Run(t, "pull", "--plain-http", "-o", out, s.Host()+"/team/app@"+o.signed)
	for name, want := range map[string][]byte{"small.txt": []byte("hello\n"), "large.bin": harness.Random(1, 3<<20)} {
		got, err := os.ReadFile(filepath.Join(out, name))
		harness.Must(t, err)
		if harness.SHA256(got) != harness.SHA256(want) {
			t.Errorf("%s came back with %d bytes, not %d", name, len(got), len(want))
		}
	}
}

// again runs an import again: everything is there, and nothing is copied.
func again(t *testing.T, first harness.ImportReport, args ...string) {
	t.Helper()
	r := harness.Import(t, args...)
	if r.Tags.There != first.Tags.Copied || r.Tags.Copied+r.Manifests.Copied+r.Blobs.Copied+int(r.Bytes) != 0 {
		t.Errorf("the second import: %+v", r)
	}
}

// TestAStoreOfDistribution is imported from its folder, into a running server
// and into a stopped store, and from the registry while it runs.
func TestAStoreOfDistribution(t *testing.T) {
	t.Parallel()
	o := fill(t)
	t.Run("from the registry while it runs, into a stopped store", func(t *testing.T) {
		s := stopped(t)
		r := harness.Import(t, "--from-registry", "http://"+o.Host, "--data", s.Data())
		again(t, r, "--from-registry", "http://"+o.Host, "--data", s.Data())
		harness.Must(t, s.Start())
		o.check(t, s)
	})
	t.Run("some of the registry", func(t *testing.T) {
		s := harness.Start(t)
		r := harness.Import(t, "--from-registry", o.Host, "--repo", "team/*", "--repo", "plain/image", "--to", s.URL())
		if r.Repositories != 2 || r.Tags.Copied != 4 { // v1, latest, the tag of referrers; v1
			t.Errorf("imported %+v", r)
		}
	})
	t.Run("from its folder while it runs, into a running server", func(t *testing.T) {
		s := harness.Start(t)
		r := harness.Import(t, "--from", o.Dir, "--to", s.URL())
		again(t, r, "--from", o.Dir, "--to", s.URL())
		o.check(t, s)
		reply, err := s.Client().Get(t.Context(), "/v2/team/app/manifests/"+o.replaced)
		harness.Must(t, err)
		if err := reply.Expect(http.StatusOK); err != nil {
			t.Errorf("a manifest without a tag: %v", err)
		}
	})
	t.Run("not into itself", func(t *testing.T) {
		binary, err := harness.Binary()
		harness.Must(t, err)
		_, all, err := harness.Tool{Path: binary}.Try("import", "--from", o.Dir, "--to", "http://"+o.Host)
		if err == nil || !strings.Contains(all, "another registry than artifactstore") {
			t.Errorf("%v: %s", err, all)
		}
	})
	o.Stop(t)
	t.Run("from its folder after it has stopped, into a stopped store", func(t *testing.T) {
		s := stopped(t)
		r := harness.Import(t, "--from", o.Dir, "--data", s.Data())
		again(t, r, "--from", o.Dir, "--data", s.Data())
		harness.Must(t, s.Start())
		o.check(t, s)
	})
}

// stopped is a server that is not running yet. Its log is checked at the end.
func stopped(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.Start(t)
	harness.Must(t, s.Stop())
	return s
}
