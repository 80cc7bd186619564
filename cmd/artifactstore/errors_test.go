package main_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"artifactstore/internal/config"
)

// TestErrorsSayWhatToDoNext: what goes wrong between a verb and what it looks
// into; what is not found is in the transcripts of the verbs.
func TestErrorsSayWhatToDoNext(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("layer"))
	behindAName := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: s.admin})
		r.Out.Host = "store.example"
	}})
	defer behindAName.Close()
	website := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<html>Welcome"))
	}))
	defer website.Close()
	known := map[string]string{"ADMIN": s.admin, "REGISTRY": s.address, "DATA": filepath.Join(dir, "data"),
		"NAMED": strings.TrimPrefix(behindAName.URL, "http://"), "WEBSITE": website.URL}
	text := transcript(t, []string{
		"repo list --server 127.0.0.1:1",
		"events --follow --server 127.0.0.1:1",
		"repo list --server REGISTRY",
		"repo list --server WEBSITE",
		"repo list --server NAMED",
		"repo list --server ftp://127.0.0.1",
		"repo list --server http://127.0.0.1:5001/admin/v1",
		"repo list --server ADMIN --data DATA",
		"repo list --server ADMIN --config store.yaml",
		"repo list --data nowhere",
		"repo list --config none.yaml",
		"repo list now",
		"repo lits",
		"tag show nosuch:v1 --server ADMIN",
	}, known)
	for word, is := range known {
		text = strings.ReplaceAll(text, strings.TrimPrefix(is, "http://"), shownAs[word])
	}
	compare(t, "errors", text)
}

// shownAs are the addresses in the transcript.
var shownAs = map[string]string{"ADMIN": "127.0.0.1:5001", "REGISTRY": "127.0.0.1:5000", "DATA": "/var/lib/artifactstore",
	"NAMED": "store.example:5001", "WEBSITE": "www.example:80"}

func TestTheServerIsChosenByTheEnvironmentToo(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("layer"))
	there, nowhere := config.ServerVariable+"="+s.admin, config.ServerVariable+"=127.0.0.1:1"
	run(t, dir, []string{there}, "repo", "list").expect(t, 0, "demo")
	run(t, dir, []string{config.ServerVariable + "=ftp://x"}, "repo", "list").expect(t, 2, "ARTIFACTSTORE_SERVER: ftp://x: the address of a server is")
	run(t, dir, []string{nowhere}, "repo", "list", "--server", s.admin).expect(t, 0, "demo")
	run(t, dir, []string{nowhere}, "repo", "list", "--data", "data").expect(t, 0, "demo")
	// It is not taken for a misspelt setting.
	run(t, dir, []string{there}, "config", "check").expect(t, 0)
	run(t, dir, []string{"ARTIFACTSTORE_SEVER=" + s.admin}, "config", "check").expect(t, 1, "did you mean ARTIFACTSTORE_SERVER?")
}

func TestAConfigurationNamesTheStoreToo(t *testing.T) {
	dir := filled(t)
	writeFile(t, filepath.Join(dir, "store.yaml"), "data: data\n")
	run(t, dir, nil, "tag", "list", "demo", "--config", "store.yaml").expect(t, 0, "v1")
	writeFile(t, filepath.Join(dir, "bad.yaml"), "date: data\n")
	run(t, dir, nil, "tag", "list", "demo", "--config", "bad.yaml").expect(t, 1, "bad.yaml:1: date: unknown key; did you mean data?")
}

func TestALookChangesNothingInTheFolder(t *testing.T) {
	dir := filled(t)
	before := run(t, dir, nil, "rebuild", "--check").stdout
	for _, args := range []string{"status", "repo show demo", "manifest show demo:v1", "storage", "uploads", "events"} {
		run(t, dir, nil, append(strings.Fields(args), "--data", "data")...).expect(t, 0)
	}
	if after := run(t, dir, nil, "rebuild", "--check"); after.code != 0 || after.stdout != before {
		t.Errorf("after: %s%s\nbefore: %s", after.stdout, after.stderr, before)
	}
	start(t, dir, nil).stop() // nothing is locked
}

// TestWhoMayNotWriteIsToldWhoMayLook: SQLite writes beside what it only reads,
// and says of it no more than that it cannot open a file.
func TestWhoMayNotWriteIsToldWhoMayLook(t *testing.T) {
	dir := filled(t)
	data := filepath.Join(dir, "data")
	// All of it can be read, whoever runs this.
	for path, mode := range map[string]os.FileMode{filepath.Dir(binary): 0o755, filepath.Dir(dir): 0o755, dir: 0o755,
		filepath.Join(data, "lock"): 0o666, filepath.Join(data, "artifactstore.db"): 0o444, data: 0o555} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(data, 0o755) // so that it can be removed
	for _, verb := range []struct{ args, want string }{
		{"status --data data", "run this as the user that it belongs to, or as root"},
		{"rebuild --check", "run this as the user that it belongs to, or as root"},
		{"serve --listen 127.0.0.1:0 --admin-listen off", "must belong to the user that this runs as: chown -R "},
	} {
		cmd := command(t, dir, nil, strings.Fields(verb.args)...)
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, _ := cmd.CombinedOutput() // its code says whether it failed
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), verb.want) {
			t.Errorf("%s: exit code %d: %s", verb.args, code, out)
		}
	}
}

func TestAFailureInsideIsExplainedWithoutAServer(t *testing.T) {
	dir := filled(t)
	edit(t, dir, "DELETE FROM objects")
	run(t, dir, nil, "manifest", "get", "demo:v1", "--data", "data").expect(t, 1, "level=ERROR", "error=")
}

// TestWhatClientsWroteIsHarmlessForTerminals: media types and actors are texts
// of others, which may hold escape sequences.
func TestWhatClientsWroteIsHarmlessForTerminals(t *testing.T) {
	dir := filled(t)
	edit(t, dir, "UPDATE manifests SET media_type = 'text/'||char(27)||'[2J'")
	for _, verb := range []string{"tag list demo", "manifest list demo", "manifest show demo:v1"} {
		r := run(t, dir, nil, append(strings.Fields(verb), "--data", "data")...)
		r.expect(t, 0, "text/\uFFFD[2J")
		if strings.Contains(r.stdout, "\x1b") {
			t.Errorf("%s prints an escape", verb)
		}
	}
}

func TestCtrlCEndsALookQuietly(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := launch(t, t.TempDir(), nil, "repo", "list", "--server", silent.Addr().String())
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.signal(os.Interrupt)
	if code := s.wait(); code != 1 || s.log.String() != "artifactstore: interrupted\n" {
		t.Errorf("exit code %d: %s", code, s.log)
	}
}
