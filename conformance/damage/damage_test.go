// Package damage_test flips one bit in each kind of thing that a store keeps, and
// expects that fsck finds it, that no client is ever given it after that, and
// that the client's ordinary push heals it.
package damage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	repository = "team/tool"
	tagName    = "flipped-tag"
	note       = "a-note-in-the-manifest"
	signed     = "a-note-in-the-signature"
	reason     = "a-reason-in-the-private-part"
)

// seed is what is in a store before it is damaged.
type seed struct {
	folder              string // of a stopped server
	small, large        []byte
	manifest, signature []byte
}

func newSeed(t *testing.T) *seed {
	t.Helper()
	s := newContent()
	s.folder = filepath.Join(t.TempDir(), "data")
	server := open(t, s.folder)
	s.push(t, server)
	stop(t, server)
	run(t, s.folder, 0, "epoch", "--reason", reason)
	return s
}

func newContent() *seed {
	s := &seed{small: harness.Random(1, 300), large: harness.Random(2, 200_000)}
	s.manifest = harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
		Config: harness.Describe(harness.ImageConfig, s.small), Layers: []harness.Descriptor{harness.Describe(harness.ImageLayer, s.large)},
		Annotations: map[string]string{"note": note}})
	subject := harness.Describe(harness.ImageManifest, s.manifest)
	s.signature = harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest, ArtifactType: "application/vnd.example.signature",
		Config: harness.Describe(harness.EmptyJSON, s.small), Layers: []harness.Descriptor{}, Subject: &subject,
		Annotations: map[string]string{"note": signed}})
	return s
}

// push is what a client does, first and later.
func (s *seed) push(t *testing.T, server *harness.Server) {
	t.Helper()
	c := server.Client()
	defer c.Close()
	for _, blob := range [][]byte{s.small, s.large} {
		reply, err := c.Do(t.Context(), harness.Request{Method: http.MethodHead, Path: blobPath(blob)})
		harness.Must(t, err)
		if reply.Status != http.StatusOK {
			harness.Must(t, c.PushBlob(t.Context(), repository, harness.SHA256(blob), blob))
		}
	}
	harness.Must(t, c.PutManifest(t.Context(), repository, tagName, harness.ImageManifest, s.manifest))
	harness.Must(t, c.PutManifest(t.Context(), repository, "signature", harness.ImageManifest, s.signature))
}

func blobPath(data []byte) string { return "/v2/" + repository + "/blobs/" + harness.SHA256(data) }
func manifestPath(data []byte) string {
	return "/v2/" + repository + "/manifests/" + harness.SHA256(data)
}

// copyTo copies the store.
func (s *seed) copyTo(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "data")
	harness.Must(t, os.CopyFS(folder, os.DirFS(s.folder)))
	return folder
}

// flip changes a bit of the byte at an offset behind the one place of a pattern
// in a file.
func flip(t *testing.T, file, pattern string, offset int) {
	t.Helper()
	data, err := os.ReadFile(file)
	harness.Must(t, err)
	if n := bytes.Count(data, []byte(pattern)); n != 1 {
		t.Fatalf("%q is %d times in %s", pattern, n, filepath.Base(file))
	}
	data[bytes.Index(data, []byte(pattern))+offset] ^= 1
	harness.Must(t, os.WriteFile(file, data, 0o640))
}

func open(t *testing.T, folder string) *harness.Server {
	t.Helper()
	s, err := harness.Open(harness.Config{Data: folder})
	harness.Must(t, err)
	t.Cleanup(func() { _ = s.Kill() })
	return s
}

func stop(t *testing.T, s *harness.Server) {
	t.Helper()
	harness.Must(t, s.Stop())
}

// run runs a verb on a store in a folder, and expects how it exits.
func run(t *testing.T, folder string, code int, verb string, args ...string) (out, all string) {
	t.Helper()
	return runVerb(t, code, verb, append([]string{"--data", folder}, args...)...)
}

func runVerb(t *testing.T, code int, verb string, args ...string) (out, all string) {
	t.Helper()
	cmd := harness.Command(t, verb, args...)
	var output, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &errors
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("artifactstore %s %v: exit code %d, want %d: %v\n%s%s", verb, args, got, code, err, output.String(), errors.String())
	}
	return output.String(), output.String() + errors.String()
}

// report is what fsck prints in JSON.
type report struct {
	Equal    bool   `json:"equal"`
	Problem  string `json:"problem"`
	Rebuilt  bool   `json:"rebuilt"`
	Wrong    bool   `json:"wrong"`
	Findings []struct {
		Kind     string `json:"kind"`
		Repaired bool   `json:"repaired"`
	} `json:"findings"`
}

func fsck(t *testing.T, folder string, code int, args ...string) (r report, all string) {
	t.Helper()
	return fsckAt(t, code, append([]string{"--data", folder}, args...)...)
}

// fsckAt is fsck of a store wherever it is.
func fsckAt(t *testing.T, code int, args ...string) (r report, all string) {
	t.Helper()
	out, all := runVerb(t, code, "fsck", append([]string{"--deep", "--json"}, args...)...)
	harness.Must(t, json.Unmarshal([]byte(out), &r))
	if r.Wrong != (code != 0) {
		t.Errorf("exit code %d, and wrong is %v", code, r.Wrong)
	}
	return r, all
}

// found expects one finding.
func (r report) found(t *testing.T, kind string, repaired bool) {
	t.Helper()
	if len(r.Findings) != 1 || r.Findings[0].Kind != kind || r.Findings[0].Repaired != repaired || !r.Equal {
		t.Fatalf("found %+v, want one that is %s, repaired: %v", r, kind, repaired)
	}
}

// object is the one file of the store of files.
func object(t *testing.T, folder string) (file string) {
	t.Helper()
	harness.Must(t, filepath.WalkDir(filepath.Join(folder, "store"), func(path string, d fs.DirEntry, err error) error {
		if info, _ := d.Info(); err == nil && d.Type().IsRegular() && info.Size() == 200_000 {
			file = path
		}
		return err
	}))
	if file == "" {
		t.Fatal("there is no object")
	}
	return file
}

func database(folder string) string { return filepath.Join(folder, "artifactstore.db") }

// native is the note as the native form has it: behind the head of a text in CBOR.
func native(text string) string { return fmt.Sprintf("dnote%c%s", 0x60+len(text), text) }

func TestDamageOfContentIsFoundWithheldAndHealed(t *testing.T) {
	t.Parallel()
	s := newSeed(t)
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, folder string)
		path   string // that must not be served; empty: clients never ask for it
	}{
		{"a large blob", func(t *testing.T, folder string) { flip(t, object(t, folder), string(s.large[:64]), 7) }, blobPath(s.large)},
		{"a small blob", func(t *testing.T, folder string) { flip(t, database(folder), string(s.small), 150) }, blobPath(s.small)},
		{"a manifest", func(t *testing.T, folder string) { flip(t, database(folder), `:"`+note+`"`, 9) }, manifestPath(s.manifest)},
		{"a native form", func(t *testing.T, folder string) { flip(t, database(folder), native(note), 9) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := s.copyTo(t)
			fsck(t, folder, 0)
			c.damage(t, folder)
			r, all := fsck(t, folder, 1)
			r.found(t, "damaged", false)
			if !strings.Contains(all, "fsck --repair") {
				t.Errorf("it does not say what to do:\n%s", all)
			}
			r, all = fsck(t, folder, 1, "--repair")
			r.found(t, "damaged", true)
			if !strings.Contains(all, "push the same content again") {
				t.Errorf("it does not say what to do:\n%s", all)
			}
			r, _ = fsck(t, folder, 1)
			r.found(t, "quarantined", false)

			server := open(t, folder)
			client := server.Client()
			defer client.Close()
			if c.path != "" {
				withheld(t, client, c.path)
			}
			s.push(t, server)
			for path, data := range map[string][]byte{blobPath(s.small): s.small, blobPath(s.large): s.large, manifestPath(s.manifest): s.manifest} {
				reply, err := client.Get(t.Context(), path)
				harness.Must(t, err)
				if reply.Status != http.StatusOK || !bytes.Equal(reply.Body, data) {
					t.Errorf("after the push: %s: status %d, %d bytes", path, reply.Status, len(reply.Body))
				}
			}
			stop(t, server)
			fsck(t, folder, 0)
		})
	}
}

// withheld expects that damaged content is refused, with the reason.
func withheld(t *testing.T, client *harness.Client, path string) {
	t.Helper()
	reply, err := client.Get(t.Context(), path)
	harness.Must(t, err)
	if reply.Status != http.StatusNotFound || !strings.HasSuffix(reply.Code(), "_UNKNOWN") ||
		!strings.Contains(string(reply.Body), "quarantine") || !strings.Contains(string(reply.Body), "pushing the same content again") {
		t.Errorf("GET %s: status %d: %s", path, reply.Status, reply.Body)
	}
	head, err := client.Do(t.Context(), harness.Request{Method: http.MethodHead, Path: path})
	harness.Must(t, err)
	if head.Status != http.StatusNotFound {
		t.Errorf("HEAD %s: status %d", path, head.Status)
	}
}

func TestDamageOfADescriptorIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	s := newSeed(t)
	list := func(folder string) string {
		server := open(t, folder)
		defer stop(t, server)
		client := server.Client()
		defer client.Close()
		reply, err := client.Get(t.Context(), "/v2/"+repository+"/referrers/"+harness.SHA256(s.manifest))
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusOK))
		return string(reply.Body)
	}
	want := list(s.folder)
	folder := s.copyTo(t)
	flip(t, database(folder), signed+`"},"artifactType"`, 3)
	if r, _ := fsck(t, folder, 1); len(r.Findings) != 1 || r.Findings[0].Kind != "descriptor" {
		t.Fatalf("found %+v", r)
	}
	r, _ := fsck(t, folder, 0, "--repair")
	r.found(t, "descriptor", true)
	fsck(t, folder, 0)
	if got := list(folder); got != want {
		t.Errorf("listed are %s, want %s", got, want)
	}
}

func TestDamageOfTheLogIsFoundAndNothingIsRepaired(t *testing.T) {
	t.Parallel()
	s := newSeed(t)
	for name, damage := range map[string]func(t *testing.T, file string){
		"a payload":      func(t *testing.T, file string) { flip(t, file, fmt.Sprintf("ctag%c%s", 0x60+len(tagName), tagName), 9) },
		"a private part": func(t *testing.T, file string) { flip(t, file, reason, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := s.copyTo(t)
			damage(t, database(folder))
			flip(t, object(t, folder), string(s.large[:64]), 7)
			for _, args := range [][]string{nil, {"--repair"}} {
				r, all := fsck(t, folder, 1, args...)
				if r.Equal || !strings.Contains(r.Problem, "the log is not what was written") || !strings.Contains(all, "restore it from a backup") {
					t.Errorf("%v: %+v", args, r)
				}
				if len(r.Findings) != 1 || r.Findings[0].Repaired {
					t.Errorf("%v: found %+v", args, r.Findings)
				}
			}
		})
	}
}

func TestDamageOfAViewIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	s := newSeed(t)
	folder := s.copyTo(t)
	// A tag names another digest than it should: the row has its name, the number
	// of the manifest, and the digest.
	file := database(folder)
	data, err := os.ReadFile(file)
	harness.Must(t, err)
	row := regexp.MustCompile(tagName + "[^a-z]{1,3}sha256:").FindIndex(data)
	if row == nil {
		t.Fatal("the row of the tag is not there")
	}
	data[row[1]+5] ^= 1
	harness.Must(t, os.WriteFile(file, data, 0o640))
	r, all := fsck(t, folder, 1)
	if r.Equal || r.Rebuilt || !strings.Contains(r.Problem, "view tags") || !strings.Contains(all, "fsck --repair") {
		t.Errorf("found %+v\n%s", r, all)
	}
	if r, _ := fsck(t, folder, 0, "--repair"); !r.Equal || !r.Rebuilt {
		t.Errorf("after the repair: %+v", r)
	}
	fsck(t, folder, 0)
}

// TestOrasPushesAgainWhatIsDamaged: it asks for the manifest first, and would push
// nothing if that were there.
func TestOrasPushesAgainWhatIsDamaged(t *testing.T) {
	t.Parallel()
	oras := harness.HomeTool(t, "oras", "the oras command is one of the clients whose push heals")
	folder := filepath.Join(t.TempDir(), "data")
	large := harness.Random(3, 200_000)
	harness.Must(t, os.WriteFile(filepath.Join(oras.Dir, "large.bin"), large, 0o600))
	push := func(server *harness.Server) {
		oras.Run(t, "push", "--plain-http", "--annotation", "org.opencontainers.image.created=2026-01-01T00:00:00Z", server.Host()+"/oras/tool:v1", "large.bin")
	}
	server := open(t, folder)
	push(server)
	stop(t, server)
	flip(t, object(t, folder), string(large[:64]), 7)
	fsck(t, folder, 1, "--repair")
	server = open(t, folder)
	if _, all, err := oras.Try("pull", "--plain-http", "-o", "out", server.Host()+"/oras/tool:v1"); err == nil {
		t.Errorf("damaged content was pulled:\n%s", all)
	}
	push(server)
	oras.Run(t, "pull", "--plain-http", "-o", "out", server.Host()+"/oras/tool:v1")
	got, err := os.ReadFile(filepath.Join(oras.Dir, "out", "large.bin"))
	harness.Must(t, err)
	if !bytes.Equal(got, large) {
		t.Error("other bytes were pulled")
	}
	stop(t, server)
	fsck(t, folder, 0)
}

// TestDamageIsFoundBesideNodes: in PostgreSQL and S3, while a node serves.
func TestDamageIsFoundBesideNodes(t *testing.T) {
	t.Parallel()
	database, bucket := harness.StartPostgres(t), harness.StartS3(t)
	file := harness.Place{Postgres: database, S3: bucket}.Make(t)
	server, err := harness.Open(harness.Config{File: file})
	harness.Must(t, err)
	t.Cleanup(func() { _ = server.Kill() })
	s := newContent()
	s.push(t, server)
	client := server.Client()
	defer client.Close()
	at := func(code int, args ...string) (report, string) {
		return fsckAt(t, code, append([]string{"--config", file}, args...)...)
	}
	at(0)

	keys := bucket.Content(t, bucket.Bucket)
	if len(keys) != 1 {
		t.Fatalf("objects %v", keys)
	}
	flip(t, bucket.File(keys[0]), string(s.large[:64]), 7)
	database.SQL(t, "UPDATE objects SET bytes = set_byte(bytes, 150, get_byte(bytes, 150) # 1) WHERE sequence = (SELECT content FROM blobs WHERE sha256 = '"+harness.SHA256(s.small)+"')")
	for _, want := range []struct {
		args     []string
		kind     string
		repaired bool
	}{{nil, "damaged", false}, {[]string{"--repair"}, "damaged", true}, {nil, "quarantined", false}} {
		r, _ := at(1, want.args...)
		if len(r.Findings) != 2 || !r.Equal {
			t.Fatalf("found %+v", r)
		}
		for _, f := range r.Findings {
			if f.Kind != want.kind || f.Repaired != want.repaired {
				t.Errorf("fsck %v: found %+v", want.args, f)
			}
		}
	}
	withheld(t, client, blobPath(s.small))
	withheld(t, client, blobPath(s.large))
	s.push(t, server)
	for _, data := range [][]byte{s.small, s.large} {
		reply, err := client.Get(t.Context(), blobPath(data))
		harness.Must(t, err)
		if reply.Status != http.StatusOK || !bytes.Equal(reply.Body, data) {
			t.Errorf("after the push: status %d, %d bytes", reply.Status, len(reply.Body))
		}
	}
	at(0)
	harness.Must(t, server.Stop())
}
