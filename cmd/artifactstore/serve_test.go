package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests; nothing takes nearly as long.
const patience = 30 * time.Second

// server is a running `artifactstore serve`.
type server struct {
	t       *testing.T
	cmd     *exec.Cmd
	dir     string // its working directory
	address string // where it listens
	admin   string // and for operators
	log     *output
	ended   chan struct{} // closed after the process has gone
}

// output collects what a process writes, and wakes those who wait for a line.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines *sync.Cond
}

func newOutput() *output {
	o := &output{}
	o.lines = sync.NewCond(&o.mu)
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.Broadcast()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await returns the submatches of pattern once the output has it, or nil if
// the process ends or patience does before that.
func (o *output) await(pattern string, ended <-chan struct{}) []string {
	re := regexp.MustCompile(pattern)
	wake := func() { o.mu.Lock(); o.lines.Broadcast(); o.mu.Unlock() }
	over := false
	go func() {
		select {
		case <-ended:
		case <-time.After(patience):
		}
		o.mu.Lock()
		over = true
		o.mu.Unlock()
		wake()
	}()
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if m := re.FindStringSubmatch(o.text.String()); m != nil || over {
			return m
		}
		o.lines.Wait()
	}
}

// start runs serve in a folder on a free port and waits until it listens. At
// the end of the test it is stopped, and its log is printed if the test failed.
func start(t *testing.T, dir string, env []string, args ...string) *server {
	t.Helper()
	s := launch(t, dir, append([]string{"ARTIFACTSTORE_LISTEN=127.0.0.1:0", "ARTIFACTSTORE_ADMIN_LISTEN=127.0.0.1:0"}, env...), append([]string{"serve"}, args...)...)
	m := s.log.await(`(?m)listens on https?://(\S+) |"msg":"serving","door":"registry","address":"([^"]+)"`, s.ended)
	if m == nil {
		t.Fatalf("serve did not start:\n%s", s.log)
	}
	s.address = m[1] + m[2]
	m = s.log.await(`Look inside: .* --server (\S+),|"msg":"serving","door":"admin","address":"([^"]+)"`, s.ended)
	if m == nil {
		t.Fatalf("serve has no door for operators:\n%s", s.log)
	}
	s.admin = strings.Replace(m[1]+m[2], "localhost", "127.0.0.1", 1)
	return s
}

// launch runs the program and does not wait for anything.
func launch(t *testing.T, dir string, env []string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, log: newOutput(), ended: make(chan struct{})}
	s.cmd = command(t, dir, env, args...)
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // the tests look at ProcessState
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has gone, or must go
		<-s.ended
		if t.Failed() {
			t.Logf("log of %v:\n%s", args, s.log)
		}
	})
	return s
}

// signal sends a signal.
func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// wait waits for the end of the process and returns its exit code.
func (s *server) wait() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("the server does not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop stops the server as an operator does.
func (s *server) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 0 {
		s.t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// do sends a request and returns the status and the body of the response.
func (s *server) do(method, path string, body []byte, header ...string) (int, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, text
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// pushBlob pushes a blob in one request.
func (s *server) pushBlob(repository string, data []byte) string {
	s.t.Helper()
	d := digest(data)
	if status, body := s.do("POST", "/v2/"+repository+"/blobs/uploads/?digest="+d, data, "Content-Type", "application/octet-stream"); status != http.StatusCreated {
		s.t.Fatalf("push of a blob: %d %s", status, body)
	}
	return d
}

// pushImage pushes a manifest with one layer, under a tag.
func (s *server) pushImage(repository, tag string, layer []byte) {
	s.t.Helper()
	config := []byte("{}")
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": s.pushBlob(repository, config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": s.pushBlob(repository, layer), "size": len(layer)}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	status, body := s.do("PUT", "/v2/"+repository+"/manifests/"+tag, manifest, "Content-Type", "application/vnd.oci.image.manifest.v1+json")
	if status != http.StatusCreated {
		s.t.Fatalf("push of a manifest: %d %s", status, body)
	}
}

func TestServeNeedsNoArguments(t *testing.T) {
	dir := t.TempDir()
	s := launch(t, dir, nil, "serve")
	m := s.log.await(`listens on http://127\.0\.0\.1:5000 and keeps its data in (\S+)\n.*oras push --plain-http localhost:5000/demo:v1 FILE|address already in use`, s.ended)
	if m == nil {
		t.Fatal("serve says neither where it is nor that the port is taken")
	}
	if m[1] == "" {
		t.Log("port 5000 is taken on this machine; checked only that serve says what to do about it")
		if code := s.wait(); code != 1 || !strings.Contains(s.log.String(), "choose another address with --") {
			t.Errorf("exit code %d, want 1 and advice", code)
		}
		return
	}
	s.address = "127.0.0.1:5000"
	if status, _ := s.do("GET", "/v2/", nil); status != http.StatusOK {
		t.Errorf("GET /v2/: %d", status)
	}
	if want := filepath.Join(realpath(t, dir), "data"); realpath(t, m[1]) != want {
		t.Errorf("data in %s, want %s", m[1], want)
	}
	s.stop()
}

func realpath(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestServeIsConfiguredByEnvironmentAndFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "store.yaml"), "data: elsewhere\ndelete:\n  enabled: false\n")
	s := start(t, dir, []string{"ARTIFACTSTORE_LOG_FORMAT=json", "ARTIFACTSTORE_CONFIG=store.yaml"})
	s.pushImage("demo", "v1", []byte("layer"))
	if status, body := s.do("DELETE", "/v2/demo/manifests/v1", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("delete: %d %s, want 405", status, body)
	}
	s.stop()
	if _, err := os.Stat(filepath.Join(dir, "elsewhere", "artifactstore.db")); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(s.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestHealthEndpoints(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	for _, path := range []string{"/livez", "/readyz", "/v2/"} {
		if status, body := s.do("GET", path, nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := s.do("GET", "/elsewhere", nil); status != http.StatusNotFound || !json.Valid(body) {
		t.Errorf("/elsewhere: %d %s", status, body)
	}
}

func TestReadyzSaysWhenPushesAreRefused(t *testing.T) {
	// No disk has this much room.
	s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_STORAGE_MIN_FREE=1000000TiB"})
	status, body := s.do("GET", "/readyz", nil)
	if status != http.StatusServiceUnavailable || strings.Contains(string(body), s.dir) {
		t.Errorf("/readyz: %d %s, want 503 without a path", status, body)
	}
	if status, _ := s.do("GET", "/livez", nil); status != http.StatusOK {
		t.Errorf("/livez: %d", status)
	}
	large := make([]byte, 100<<10)
	if status, body := s.do("POST", "/v2/demo/blobs/uploads/?digest="+digest(large), large, "Content-Type", "application/octet-stream"); status != http.StatusInsufficientStorage {
		t.Errorf("push: %d %s, want 507", status, body)
	}
}

func TestASecondServerIsRefusedWithThePidOfTheFirst(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	pid := strconv.Itoa(s.cmd.Process.Pid)
	want := "data folder ./data is in use by process " + pid + ": stop that first"
	run(t, dir, []string{"ARTIFACTSTORE_LISTEN=127.0.0.1:0"}, "serve").expect(t, 1, want)
	run(t, dir, nil, "rebuild").expect(t, 1, want)
	run(t, dir, nil, "migrate").expect(t, 1, want)
	s.pushImage("demo", "v1", []byte("the first one still works"))
	s.stop()
	start(t, dir, nil).stop()
}

func TestALockOfADeadServerDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("layer"))
	s.signal(syscall.SIGKILL)
	s.wait()
	again := start(t, dir, nil)
	if status, _ := again.do("GET", "/v2/demo/manifests/v1", nil); status != http.StatusOK {
		t.Errorf("manifest after a crash: %d", status)
	}
	again.stop()
	run(t, dir, nil, "rebuild", "--check").expect(t, 0)
}

func TestFilesAreClosedToOthers(t *testing.T) {
	old := syscall.Umask(0) // what the program inherits must not matter
	defer syscall.Umask(old)
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("small"))
	s.pushImage("demo", "v2", bytes.Repeat([]byte("large"), 100_000))
	staged := beginUpload(t, s, "demo", 1<<20, bytes.Repeat([]byte("x"), 300_000))
	defer staged.Close()

	seen := map[string]bool{}
	modes := func(when string) {
		err := filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			allowed := fs.FileMode(0o640)
			if d.IsDir() {
				allowed = 0o750
			}
			if mode := info.Mode().Perm(); mode&^allowed != 0 || d.IsDir() && mode != allowed {
				t.Errorf("%s: %s has mode %o, allowed %o", when, path, mode, allowed)
			}
			seen[d.Name()] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	modes("while serving")
	run(t, dir, nil, "usage", "--data", "data").expect(t, 0)
	modes("after a look")
	for _, name := range []string{"artifactstore.db", "artifactstore.db-wal", "artifactstore.db-shm", "lock", "store"} {
		if !seen[name] {
			t.Errorf("no file %s in the data folder: %v", name, seen)
		}
	}
	s.signal(syscall.SIGKILL)
	s.wait()
	run(t, dir, nil, "rebuild").expect(t, 0)
	modes("after rebuild")
}

// beginUpload sends the header of a push of total bytes to a new session, and
// the first part of the body, and returns the connection.
func beginUpload(t *testing.T, s *server, repository string, total int, part []byte) net.Conn {
	t.Helper()
	res, err := http.Post("http://"+s.address+"/v2/"+repository+"/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	location, err := res.Location()
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("upload session: %d, %v", res.StatusCode, err)
	}
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", location.RequestURI(), total)
	if _, err := conn.Write(part); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSIGTERMFinishesAnUploadInFlight(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	data := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	conn := sendPush(t, s, data, data[:len(data)/2])
	defer conn.Close()

	s.signal(syscall.SIGTERM)
	for deadline := time.Now().Add(patience); ; {
		probe, err := net.Dial("tcp", s.address)
		if err != nil {
			break // it takes no more connections
		}
		probe.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections after SIGTERM")
		}
	}
	if _, err := conn.Write(data[len(data)/2:]); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Errorf("the upload in flight got %d, want 201", res.StatusCode)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	again := start(t, dir, nil)
	if status, got := again.do("GET", "/v2/demo/blobs/"+digest(data), nil); status != http.StatusOK || !bytes.Equal(got, data) {
		t.Errorf("the blob after a restart: %d, %d bytes", status, len(got))
	}
}

// sendPush sends the header of a push of data in one request, and the first
// part of the body, and waits until the server has begun to serve it.
func sendPush(t *testing.T, s *server, data, part []byte) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	// The server answers 100 when it begins to read the body: from then on
	// the request is in flight.
	fmt.Fprintf(conn, "POST /v2/demo/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", digest(data), len(data))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, line); err != nil || !strings.HasPrefix(string(line), "HTTP/1.1 100 ") {
		t.Fatalf("got %q (%v), want 100 Continue", line, err)
	}
	if _, err := conn.Write(part); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestAnUploadThatDoesNotFinishIsCutOffInTheEnd(t *testing.T) {
	s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_SHUTDOWN_TIMEOUT=1s"})
	data := make([]byte, 1<<20)
	conn := sendPush(t, s, data, data[:10])
	defer conn.Close()
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 1 || !strings.Contains(s.log.String(), "cut off") {
		t.Errorf("exit code %d, want 1 and a word about it", code)
	}
}

func TestASecondSignalEndsTheServerAtOnce(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	data := make([]byte, 1<<20)
	conn := sendPush(t, s, data, data[:10])
	defer conn.Close()
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGINT)
	begun := time.Now()
	if code := s.wait(); code != 1 || time.Since(begun) > patience/2 {
		t.Errorf("exit code %d after %v, want 1 at once", code, time.Since(begun))
	}
}
