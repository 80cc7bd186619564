package cluster_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

const (
	whyOras   = "the oras command is one of the clients that must work"
	whyCrane  = "crane is one of the clients that must work"
	whySkopeo = "skopeo is one of the clients that must work; Debian's package is skopeo"
)

// files are the layers that clients push: below and above the inline limit, and
// one and more than one part of an upload.
var files = map[string][]byte{
	"small":   harness.Random(1, 1_000),
	"inline":  harness.Random(2, 64<<10),
	"object":  harness.Random(3, 64<<10+1),
	"part":    harness.Random(4, part),
	"parts":   harness.Random(5, part+1),
	"several": harness.Random(6, 2*part+part/2),
}

// TestClients has real clients push and pull through the load balancer, and from
// nodes that redirect to the bucket.
func TestClients(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	always := c.AddNode(t, "ARTIFACTSTORE_NODE_NAME=always", "ARTIFACTSTORE_S3_REDIRECT=always")
	above := c.AddNode(t, "ARTIFACTSTORE_NODE_NAME=above", "ARTIFACTSTORE_S3_REDIRECT=above 1MiB")
	c.TakeOut(t, always)
	c.TakeOut(t, above)
	places := map[string]string{"the load balancer": c.Host(), "a node that always redirects": always.Host(), "a node that redirects above 1 MiB": above.Host()}

	t.Run("oras", func(t *testing.T) {
		oras := harness.HomeTool(t, "oras", whyOras)
		names := writeFiles(t, oras.Dir)
		oras.Run(t, append([]string{"push", "--plain-http", c.Host() + "/oras/app:v1,latest"}, names...)...)
		oras.Run(t, append([]string{"attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom", c.Host() + "/oras/app:v1"}, names[0])...)
		for place, host := range places {
			out := strings.ReplaceAll(place, " ", "-")
			oras.Run(t, "pull", "--plain-http", "-o", out, host+"/oras/app:latest")
			sameFiles(t, place, filepath.Join(oras.Dir, out))
			if found := oras.Run(t, "discover", "--plain-http", host+"/oras/app:v1"); !strings.Contains(found, "application/vnd.example.sbom") {
				t.Errorf("%s knows no referrer: %s", place, found)
			}
		}
		oras.Run(t, "cp", "--recursive", "--from-plain-http", "--to-plain-http", above.Host()+"/oras/app:v1", c.Host()+"/oras/copy:v1")
	})
	t.Run("docker", func(t *testing.T) { dockerPushesAndPulls(t, c.Host(), places) })
	t.Run("crane", func(t *testing.T) {
		crane := harness.HomeTool(t, "crane", whyCrane)
		for place, host := range places {
			crane.Run(t, "validate", "--insecure", "--remote", host+"/docker/app:v1")
			crane.Run(t, "pull", "--insecure", "--format", "oci", host+"/docker/app:v1", "pulled")
			crane.Run(t, "push", "--insecure", "pulled", c.Host()+"/crane/app:"+strings.ReplaceAll(place, " ", "-"))
			harness.Must(t, os.RemoveAll(filepath.Join(crane.Dir, "pulled")))
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		skopeo := harness.HomeTool(t, "skopeo", whySkopeo)
		digest := get(t, c.Client(), "/v2/docker/app/manifests/v1", http.StatusOK).Header.Get("Docker-Content-Digest")
		for place, host := range places {
			dir := "dir:" + filepath.Join(skopeo.Dir, strings.ReplaceAll(place, " ", "-"))
			skopeo.Run(t, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+host+"/docker/app:v1", dir)
			to := "docker://" + c.Host() + "/skopeo/app:v1"
			skopeo.Run(t, "--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false", dir, to)
			if got := strings.TrimSpace(skopeo.Run(t, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", to)); got != digest {
				t.Errorf("%s: pushed is %s, pulled was %s", place, got, digest)
			}
		}
	})
}

// dockerPushesAndPulls builds an image of many layers, pushes it to a host and
// pulls it from all places.
func dockerPushesAndPulls(t *testing.T, host string, places map[string]string) {
	docker := harness.StartDocker(t)
	context := filepath.Join(docker.Dir, "context")
	harness.Must(t, os.Mkdir(context, 0o700))
	recipe := "FROM scratch\n"
	for _, name := range writeFiles(t, context) {
		recipe += fmt.Sprintf("COPY %s /%s\n", name, name)
	}
	harness.Must(t, os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(recipe+"CMD [\"/small\"]\n"), 0o600))
	tag := host + "/docker/app:v1"
	docker.Run(t, "build", "-q", "-t", tag, context)
	id := func(reference string) string {
		return strings.TrimSpace(docker.Run(t, "inspect", "--format", "{{.Id}}", reference))
	}
	built := id(tag)
	docker.Run(t, "push", "-q", tag)
	for place, from := range places {
		docker.Run(t, "rmi", "-f", built)
		reference := from + "/docker/app:v1"
		docker.Run(t, "pull", "-q", reference)
		if got := id(reference); got != built {
			t.Errorf("%s: pulled image %s, pushed was %s", place, got, built)
		}
	}
}

// writeFiles puts the files into a folder and returns their names.
func writeFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for name, data := range files {
		harness.Must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		names = append(names, name)
	}
	return names
}

// sameFiles fails the test unless a folder has the files as they were pushed.
func sameFiles(t *testing.T, place, dir string) {
	t.Helper()
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		harness.Must(t, err)
		if string(got) != string(want) {
			t.Errorf("%s: %s came back with %d bytes of digest %s, not %d of %s", place, name, len(got), harness.SHA256(got), len(want), harness.SHA256(want))
		}
	}
}
