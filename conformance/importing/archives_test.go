package importing_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"

	"artifactstore/conformance/harness"
)

// TestALayoutOfOras is imported as a folder and as an archive, with what refers
// to it.
func TestALayoutOfOras(t *testing.T) {
	t.Parallel()
	o := fill(t)
	o.oras.Run(t, "cp", "-r", "--from-plain-http", "--to-oci-layout", o.Host+"/team/app:v1", "layout:v1")
	layout, archive := filepath.Join(o.oras.Dir, "layout"), filepath.Join(o.oras.Dir, "layout.tar")
	pack(t, layout, archive)
	for kind, path := range map[string]string{"the folder": layout, "an archive": archive} {
		t.Run(kind, func(t *testing.T) {
			s := harness.Start(t)
			harness.Import(t, "--from", path, "--as", "new/name", "--to", s.URL())
			c := s.Client()
			defer c.Close()
			if got := harness.SHA256(get(t, c, "/v2/new/name/manifests/v1").Body); got != o.signed {
				t.Errorf("imported %s, not %s", got, o.signed)
			}
			if got := referrers(t, c, "new/name", o.signed); len(got) != 2 {
				t.Errorf("referrers %v", got)
			}
		})
	}
}

// pack makes an archive of a folder.
func pack(t *testing.T, dir, archive string) {
	t.Helper()
	file, err := os.Create(archive)
	harness.Must(t, err)
	w := tar.NewWriter(file)
	harness.Must(t, w.AddFS(os.DirFS(dir)))
	harness.Must(t, w.Close())
	harness.Must(t, file.Close())
}

// TestArchivesOfSkopeo: both kinds that skopeo and podman write, of one image.
// One keeps the manifest; the other has none, and the one that is made for it is
// that which the image had.
func TestArchivesOfSkopeo(t *testing.T) {
	t.Parallel()
	skopeo := client(t, "skopeo", "it writes archives that are imported")
	d := harness.StartDistribution(t)
	c := d.Client()
	defer c.Close()
	image := runnable(t)
	push(t, c, image, "team/app", "v1")
	copyTo := func(target string, flags ...string) {
		args := append([]string{"--insecure-policy", "copy", "--src-tls-verify=false"}, flags...)
		skopeo.Run(t, append(args, "docker://"+d.Host+"/team/app:v1", target)...)
	}
	copyTo("oci-archive:"+filepath.Join(skopeo.Dir, "oci.tar")+":registry.example.com/team/oci:v1", "--preserve-digests")
	copyTo("docker-archive:" + filepath.Join(skopeo.Dir, "docker.tar") + ":registry.example.com/team/docker:v1")
	copyTo("oci:"+filepath.Join(skopeo.Dir, "layout")+":v2", "--preserve-digests")
	s := harness.Start(t)
	for range 2 {
		harness.Import(t, "--from", filepath.Join(skopeo.Dir, "oci.tar"), "--to", s.URL())
		harness.Import(t, "--from", filepath.Join(skopeo.Dir, "docker.tar"), "--to", s.URL())
		harness.Import(t, "--from", filepath.Join(skopeo.Dir, "layout"), "--as", "team/layout", "--to", s.URL())
	}
	ours := s.Client()
	defer ours.Close()
	for _, path := range []string{"/v2/team/oci/manifests/v1", "/v2/team/layout/manifests/v2", "/v2/team/docker/manifests/v1"} {
		if got := harness.SHA256(get(t, ours, path).Body); got != image.Digest {
			t.Errorf("%s is %s, not %s", path, got, image.Digest)
		}
	}
	skopeo.Run(t, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+s.Host()+"/team/docker:v1", "dir:"+filepath.Join(skopeo.Dir, "back"))
}

// runnable is an image whose layer is a tar archive, as its configuration says.
func runnable(t *testing.T) *harness.Image {
	t.Helper()
	dir, archive := t.TempDir(), filepath.Join(t.TempDir(), "layer.tar")
	write(t, dir, "payload", harness.Random(1, 100_000))
	pack(t, dir, archive)
	layer, err := os.ReadFile(archive)
	harness.Must(t, err)
	image := &harness.Image{Layers: [][]byte{layer}, Config: harness.Encode(map[string]any{"architecture": "amd64", "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{harness.SHA256(layer)}}})}
	image.Manifest = harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
		Config: harness.Describe(harness.ImageConfig, image.Config), Layers: []harness.Descriptor{harness.Describe(harness.ImageLayer, layer)}})
	image.Digest = harness.SHA256(image.Manifest)
	return image
}
