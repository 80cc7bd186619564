package moving_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// production is a store on PostgreSQL and S3 without a node that runs.
func production(t *testing.T) (place harness.Place, config string) {
	t.Helper()
	place = harness.Place{Postgres: harness.StartPostgres(t), S3: harness.StartS3(t), Prefix: "verbs"}
	return place, place.Make(t)
}

func TestAnEmptyDatabaseHoldsNoStoreYet(t *testing.T) {
	t.Parallel()
	config := harness.Place{Postgres: harness.StartPostgres(t), S3: harness.StartS3(t)}.Config(t)
	const text = "the database holds no store yet; 'artifactstore migrate' with this configuration makes one"
	for _, args := range [][]string{
		{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"}, {"status"}, {"events"}, {"rebuild"}, {"rebuild", "--check"}, {"epoch", "--reason", "none"},
		{"backup", "--to", t.TempDir()}, {"import", "--as", "r", "--from", layout(t)},
	} {
		refused(t, 1, append(args, "--config", config), text)
	}
}

// TestFilesBesidePostgreSQLNeedNoFolderToMigrate: the folder is serve's, and a
// node may hold it.
func TestFilesBesidePostgreSQLNeedNoFolderToMigrate(t *testing.T) {
	t.Parallel()
	place := harness.Place{Postgres: harness.StartPostgres(t), Data: t.TempDir() + "/data"}
	config := place.Config(t)
	verb(t, "migrate", "--config", config)
	if _, err := os.Stat(place.Data); err == nil {
		t.Error("migrate made the folder of objects")
	}
	s := serve(t, config)
	elsewhere := place
	elsewhere.Data = t.TempDir() + "/elsewhere"
	for _, file := range []string{config, elsewhere.Config(t)} {
		has(t, verb(t, "migrate", "--config", file), "The store is up to date.")
		verb(t, "epoch", "--reason", "tried", "--config", file)
		refused(t, 1, []string{"rebuild", "--config", file}, "the store is in use by ")
	}
	harness.Must(t, s.Stop())
	has(t, verb(t, "rebuild", "--config", config), "The views were rebuilt from 2 events.")
}

// TestVerbsLookIntoPostgreSQLAndS3 with a node and without one.
func TestVerbsLookIntoPostgreSQLAndS3(t *testing.T) {
	t.Parallel()
	place, config := production(t)
	s := harness.StartIn(t, harness.Config{File: config, Env: []string{"ARTIFACTSTORE_NODE_NAME=the-node"}})
	w := newWorld()
	w.push(t, s.Client(), 0)
	w.begin(t, s.Client())
	w.started = nil // this is no copy
	for _, running := range []bool{true, false} {
		if !running {
			harness.Must(t, s.Stop())
		}
		has(t, verb(t, "status", "--config", config), "looked at without a server", "running hash")
		has(t, verb(t, "repo", "list", "--config", config), "moving/r0")
		has(t, verb(t, "tag", "list", "moving/r0", "--config", config), "v1", "v2")
		has(t, verb(t, "manifest", "get", "moving/r0:v1", "--config", config), harness.ImageManifest)
		has(t, verb(t, "usage", "--config", config), "repositories", "content", "files")
		has(t, verb(t, "uploads", "--config", config), "moving/begun", "6.0 MiB", "100 B")
		var storage struct {
			Name      string
			Healthy   bool
			FreeBytes *int64
		}
		harness.Must(t, json.Unmarshal([]byte(verb(t, "storage", "--json", "--config", config)), &storage))
		if storage.Name != "files" || !storage.Healthy || storage.FreeBytes != nil {
			t.Errorf("%+v", storage)
		}
	}
	// A verb that looks in is no node, and sees what is committed elsewhere.
	verb(t, "rebuild", "--config", config)
	follow := harness.Command(t, "events", "--follow", "--config", config)
	out, err := follow.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, follow.Start())
	harness.Must(t, s.Start())
	blob := harness.Random(77, 70_000)
	w.blob(t, s.Client(), "moving/followed", blob, false)
	awaitLine(t, follow, out, "moving/followed")

	refused(t, 1, []string{"rebuild", "--config", config}, "the store is in use by the-node: stop every node first")
	has(t, verb(t, "epoch", "--reason", "tried", "--config", config), "starts a new epoch of the log")
	w.check(t, s.Client())
	harness.Must(t, s.Kill())
	place.Postgres.SQL(t, "UPDATE nodes SET seen = 0") // long ago
	has(t, verb(t, "rebuild", "--config", config), "The views were rebuilt from ")
	harness.Must(t, s.Start())
	w.check(t, s.Client())

	before := len(place.S3.Keys(t, place.S3.Bucket))
	verb(t, "import", "--from", layout(t), "--as", "moving/imported", "--config", config)
	if after := len(place.S3.Keys(t, place.S3.Bucket)); after != before+1 {
		t.Errorf("the bucket had %d keys and has %d", before, after)
	}
	has(t, verb(t, "repo", "list", "--server", s.AdminURL()), "moving/imported")
}

// TestABackupOfPostgreSQLAndS3IsAFolder that a server is started on.
func TestABackupOfPostgreSQLAndS3IsAFolder(t *testing.T) {
	t.Parallel()
	_, config := production(t)
	s := serve(t, config)
	w := newWorld()
	w.push(t, s.Client(), 0)
	// The configuration says nothing of a data folder, so its default is no
	// place of this store.
	dir := t.TempDir()
	harness.Must(t, os.Mkdir(filepath.Join(dir, "data"), 0o750))
	backup := func() string {
		cmd := harness.Command(t, "backup", "--config", config, "--to", "data/copy")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	has(t, backup(), "To restore: artifactstore serve --data data/copy")
	w.push(t, s.Client(), 1)
	backup()
	has(t, backup(), "Copied 0 events, 0 objects, 0 B.")
	to := filepath.Join(dir, "data", "copy")
	if logOf(t, config) != verb(t, "events", "--json", "--data", to) {
		t.Error("the logs differ")
	}
	copied := harness.StartIn(t, harness.Config{Data: to})
	w.check(t, copied.Client())
	w.push(t, copied.Client(), 2)
	w.check(t, copied.Client())
}

// awaitLine waits until a command has printed a text, and ends it.
func awaitLine(t *testing.T, cmd *exec.Cmd, out interface{ Read([]byte) (int, error) }, text string) {
	t.Helper()
	seen, buffer := "", make([]byte, 4096)
	for !strings.Contains(seen, text) {
		n, err := out.Read(buffer)
		seen += string(buffer[:n])
		if err != nil {
			t.Errorf("%q did not come in %s (%v)", text, seen, err)
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

// layout makes an OCI layout of one image, with one layer that is large.
func layout(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	image := harness.NewImage(5, 1, 90_000)
	write := func(name string, data []byte) {
		file := filepath.Join(dir, name)
		harness.Must(t, os.MkdirAll(filepath.Dir(file), 0o750))
		harness.Must(t, os.WriteFile(file, data, 0o600))
	}
	for _, blob := range [][]byte{image.Config, image.Layers[0], image.Manifest} {
		write(strings.Replace("blobs/"+harness.SHA256(blob), ":", "/", 1), blob)
	}
	write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	manifest := harness.Describe(harness.ImageManifest, image.Manifest)
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "v1"}
	write("index.json", harness.Encode(harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex, Manifests: []harness.Descriptor{manifest}}))
	return dir
}
