package main_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenFolder has a transcript of every verb that looks inside.
const goldenFolder = "testdata/golden"

const (
	imageType = "application/vnd.oci.image.manifest.v1+json"
	indexType = "application/vnd.oci.image.index.v1+json"
)

// gallery fills a store with content that is the same each time.
type gallery struct {
	*server
	requests int
}

// send makes a request under an id of its own, which must succeed.
func (g *gallery) send(method, path string, body []byte, contentType string) {
	g.t.Helper()
	g.requests++
	status, text := g.do(method, path, body, "Content-Type", contentType, "X-Request-ID", fmt.Sprintf("request-%d", g.requests))
	if status >= 300 {
		g.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
}

// blob pushes a blob and returns its descriptor.
func (g *gallery) blob(repository, mediaType string, data []byte) map[string]any {
	g.t.Helper()
	g.send("POST", "/v2/"+repository+"/blobs/uploads/?digest="+digest(data), data, "application/octet-stream")
	return map[string]any{"mediaType": mediaType, "digest": digest(data), "size": len(data)}
}

// manifest pushes a manifest and returns its descriptor.
func (g *gallery) manifest(repository, reference string, m map[string]any) map[string]any {
	g.t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		g.t.Fatal(err)
	}
	if reference == "" {
		reference = digest(text)
	}
	mediaType := m["mediaType"].(string)
	g.send("PUT", "/v2/"+repository+"/manifests/"+reference, text, mediaType)
	return map[string]any{"mediaType": mediaType, "digest": digest(text), "size": len(text)}
}

// image is a manifest of an empty config and layers.
func (g *gallery) image(repository string, layers ...[]byte) map[string]any {
	g.t.Helper()
	list := make([]any, len(layers))
	for i, l := range layers {
		list[i] = g.blob(repository, "application/vnd.oci.image.layer.v1.tar", l)
	}
	config := g.blob(repository, "application/vnd.oci.image.config.v1+json", []byte("{}"))
	return map[string]any{"schemaVersion": 2, "mediaType": imageType, "config": config, "layers": list}
}

// fill makes two repositories: one with a tag that moved, one that was deleted
// and a signature, one with an index over images, one of them shared; and an
// upload in progress.
func (g *gallery) fill() {
	g.t.Helper()
	g.manifest("demo", "v1", g.image("demo", []byte("first")))
	first := g.manifest("demo", "old", g.image("demo", []byte("first")))
	second := g.manifest("demo", "v1", g.image("demo", []byte("second"), bytes.Repeat([]byte("large "), 20_000)))
	g.manifest("demo", "latest", g.image("demo", []byte("second"), bytes.Repeat([]byte("large "), 20_000)))
	g.send("DELETE", "/v2/demo/manifests/old", nil, "")

	signature := g.image("demo", []byte("signature"))
	signature["artifactType"], signature["subject"] = "application/vnd.example.signature", second
	signature["annotations"] = map[string]any{"org.example.signer": "release team"}
	g.manifest("demo", "", signature)

	amd := g.manifest("team/app", "", g.image("team/app", []byte("for amd64")))
	arm := g.manifest("team/app", "", g.image("team/app", []byte("first")))
	if arm["digest"] != first["digest"] {
		g.t.Fatal("the image is not shared")
	}
	g.manifest("team/app", "2.0", map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []any{amd, arm}})

	g.requests++
	req, err := http.NewRequest("POST", "http://"+g.address+"/v2/team/app/blobs/uploads/", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	res.Body.Close()
	location, err := res.Location()
	if err != nil {
		g.t.Fatal(err)
	}
	g.send("PATCH", location.RequestURI(), bytes.Repeat([]byte("x"), 70_000), "application/octet-stream")
}

// The digests of what fill pushes.
const (
	emptyConfig = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	absent      = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// transcripts are command lines by golden file: a file for each verb. DEMO
// stands for the digest of the manifest that demo:v1 names.
var transcripts = map[string][]string{
	"status":              {"status", "status --json"},
	"repo-list":           {"repo list", "repo list --json", "repo list -n 1"},
	"repo-show":           {"repo show demo", "repo show team/app --json", "repo show nosuch", "repo show Demo", "repo show localhost:5000/demo", "repo show demo:v1", "repo show"},
	"tag-list":            {"tag list demo", "tag list demo --wide", "tag list demo --json", "tag list demo -n 1", "tag list nosuch"},
	"tag-show":            {"tag show demo:v1", "tag show demo:v1 --json", "tag show demo:nosuch", "tag show demo", "tag show demo@DEMO", "tag show localhost:5000/demo:v1"},
	"tag-history":         {"tag history demo:v1", "tag history demo:v1 --wide", "tag history demo:old", "tag history demo:v1 --json"},
	"manifest-list":       {"manifest list demo", "manifest list team/app --json", "manifest list demo -n 1 --wide"},
	"manifest-show":       {"manifest show demo:v1", "manifest show demo@DEMO", "manifest show team/app:2.0", "manifest show demo:v1 --json", "manifest show demo:nosuch", "manifest show demo@" + absent, "manifest show demo:v1@DEMO"},
	"manifest-get":        {"manifest get team/app:2.0", "manifest get team/app:2.0 --json", "manifest get team/app:2.0 --form pushed", "manifest get team/app:2.0 --form yaml", "manifest get team/app:2.0 --form cbor --json"},
	"manifest-references": {"manifest references demo:v1", "manifest references team/app:2.0 --json"},
	"manifest-referrers":  {"manifest referrers demo:v1", "manifest referrers demo:v1 --json", "manifest referrers team/app:2.0"},
	"digest-show":         {"digest show " + emptyConfig, "digest show DEMO", "digest show " + emptyConfig + " --json", "digest show " + absent, "digest show sha256:123"},
	"digest-repositories": {"digest repositories " + emptyConfig, "digest repositories " + emptyConfig + " --json"},
	"digest-references":   {"digest references " + emptyConfig, "digest references " + emptyConfig + " -n 1 --json"},
	"events": {"events", "events --kind v1.tag.moved --kind v1.tag.deleted", "events --after 2 -n 2 --json", "events --follow -n 1", "events --last 2", "events --last 0", "events --last 99 -n 1", "events --last 2 --after 1", "events --kind tag", "events --after 4711", "events --after x",
		"events --after 00000000000000000000000000000000:3:" + strings.Repeat("0", 64)},
	"usage":           {"usage", "usage --json", "usage demo", "usage demo --json", "usage nosuch"},
	"storage":         {"storage", "storage --json", "storage nosuch"},
	"storage-damaged": {"storage damaged", "storage damaged --json"},
	"uploads":         {"uploads", "uploads --json"},
}

// What differs from run to run, and what it becomes.
var differences = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z `), "2026-01-02T03:04:05.000000Z "},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ( |\n)`), "2026-01-02T03:04:05Z$1"},
	{regexp.MustCompile(`"(time|created|moved|pushed|stored|started|expires)":"[^"]*"`), `"$1":"2026-01-02T03:04:05Z"`},
	{regexp.MustCompile(`"(id|chain|payloadDigest|privateDigest)":"[^"]*"`), `"$1":"RANDOM"`},
	{regexp.MustCompile(`(?m)^(log|running hash)( +)[0-9a-f]+$`), "$1${2}RANDOM"},
	{regexp.MustCompile(`it is log [0-9a-f]{32}`), "it is log RANDOM"},
	{regexp.MustCompile(`(\b[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64})-[0-9a-z]+`), "$1-RANDOM"},
	{regexp.MustCompile(`(?m)^[0-9a-z]{32}( +team/app)`), "randomrandomrandomrandomrandomra$1"},
	{regexp.MustCompile(`\bgo1\.\S+?([\n"])`), "go1.26$1"},
	{regexp.MustCompile(`"(freeBytes|totalBytes|freeFiles|totalFiles|keptBytes)":\d+`), `"$1":1000000`},
	{regexp.MustCompile(`(?m)^(files  yes ) +\S+ \w*B +\S+ \w*B +\S+ \w*B +\S+$`), "$1 ROOM"},
	{regexp.MustCompile(`(?m)^STORE  HEALTHY +FREE +OF +MIN FREE +FREE FILES$`), "STORE  HEALTHY  FREE  OF  MIN FREE  FREE FILES"},
}

func normal(text string) string {
	for _, d := range differences {
		text = d.pattern.ReplaceAllString(text, d.with)
	}
	return text
}

// transcript runs command lines with more flags, and says what came of each.
func transcript(t *testing.T, lines []string, known map[string]string, flags ...string) string {
	t.Helper()
	var b strings.Builder
	again := " " + strings.Join(flags, " ") // in advice
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		for word, is := range known {
			line = strings.ReplaceAll(line, word, is)
		}
		r := run(t, t.TempDir(), nil, append(strings.Fields(line), flags...)...)
		fmt.Fprintf(&b, "$ artifactstore %s\n%s%s", line, r.stdout, r.stderr)
		if !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
		if r.code != 0 {
			fmt.Fprintf(&b, "exit code %d\n", r.code)
		}
	}
	if len(flags) == 0 {
		return normal(b.String())
	}
	return normal(strings.ReplaceAll(b.String(), again, ""))
}

// compare compares with a golden file, or writes it.
func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(goldenFolder, name+".txt")
	if *update {
		writeFile(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./cmd/artifactstore -update writes it anew); got\n%s", file, got)
	}
}

// TestVerbsPrintTheSameOfAServerAndOfAStoppedStore: and that is what the golden
// files have.
func TestVerbsPrintTheSameOfAServerAndOfAStoppedStore(t *testing.T) {
	dir := t.TempDir()
	g := &gallery{server: start(t, dir, nil)}
	g.fill()
	v1 := run(t, dir, nil, "tag", "show", "demo:v1", "--json", "--server", g.admin)
	var tag struct{ Digest string }
	if err := json.Unmarshal([]byte(v1.stdout), &tag); err != nil {
		t.Fatalf("%v: %s%s", err, v1.stdout, v1.stderr)
	}
	known := map[string]string{"DEMO": tag.Digest}

	served := make(map[string]string)
	for name, lines := range transcripts {
		served[name] = transcript(t, lines, known, "--server", g.admin)
		compare(t, name, served[name])
	}
	g.stop()
	for name, lines := range transcripts {
		stopped := transcript(t, lines, known, "--data", filepath.Join(dir, "data"))
		if name == "status" {
			stopped = strings.Replace(stopped, "looked at without a server", "serving, takes pushes", 1)
			stopped = strings.Replace(stopped, `"serving":false,"ready":false`, `"serving":true,"ready":true`, 1)
		}
		if stopped != served[name] {
			t.Errorf("%s: of the stopped store\n%s\nand of the server\n%s", name, stopped, served[name])
		}
	}
}
