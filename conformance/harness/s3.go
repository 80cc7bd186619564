package harness

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// S3 is versitygw, an S3 server over a folder, with one bucket for the caller.
// All tests of a process share one server, which ends with the last of them.
type S3 struct {
	// Endpoint is its address, as "http://127.0.0.1:port". Buckets are in the path.
	Endpoint string
	// AccessKey and SecretKey may do everything, in Region.
	AccessKey, SecretKey, Region string
	// Bucket is empty at first, and nobody else's.
	Bucket string

	gateway *gateway
}

// gateway is a process of versitygw, whose port and folders outlive it.
type gateway struct {
	mu      sync.Mutex
	users   int // tests that have not ended
	buckets int
	dir     string
	port    int
	sidecar bool // the file system keeps no attributes
	output  buffer
	process *exec.Cmd
	exited  chan struct{}
}

// shared is the server of this test process.
var shared gateway

const (
	s3Access = "artifactstoretest"
	s3Secret = "a-secret-of-tests-that-no-log-may-show"
	s3Region = "us-east-1"
)

// StartS3 makes a bucket for the test, and starts the server if none runs.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	binary := Need(t, "versitygw", "an S3 server is to be spoken to; 'go run ./scripts/check tools' installs it")
	g := &shared
	t.Cleanup(func() { Must(t, g.leave()) })
	Must(t, g.enter(binary))
	s := &S3{
		Endpoint:  "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(g.port)),
		AccessKey: s3Access, SecretKey: s3Secret, Region: s3Region, gateway: g,
	}
	s.Bucket = s.NewBucket(t)
	return s
}

// enter counts a test, and starts the server for the first one.
func (g *gateway) enter(binary string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users++
	if g.users > 1 {
		return nil
	}
	dir, err := os.MkdirTemp("", "artifactstore-s3-")
	if err != nil {
		return err
	}
	g.dir = dir
	for _, folder := range []string{"buckets", "attributes", "users"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			return err
		}
	}
	const ports = 5 // a port may be taken between the choice and the start
	for range ports {
		g.port = choosePort()
		if err = g.start(binary); err == nil {
			return nil
		}
		g.sidecar = g.sidecar || strings.Contains(g.output.String(), "xattr")
	}
	return err
}

// leave ends the server after the last test.
func (g *gateway) leave() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users--
	if g.users > 0 || g.dir == "" {
		return nil
	}
	err := errors.Join(g.kill(), os.RemoveAll(g.dir))
	g.dir = ""
	return err
}

// start runs the server and waits until it answers. mu is held.
func (g *gateway) start(binary string) error {
	args := []string{"--port", net.JoinHostPort("127.0.0.1", strconv.Itoa(g.port)), "--region", s3Region,
		"--iam-dir", filepath.Join(g.dir, "users"), "--health", "/healthz", "--quiet", "posix"}
	if g.sidecar {
		args = append(args, "--sidecar", filepath.Join(g.dir, "attributes"))
	}
	cmd := exec.Command(binary, append(args, filepath.Join(g.dir, "buckets"))...)
	cmd.Env = append(quietEnvironment(), "ROOT_ACCESS_KEY="+s3Access, "ROOT_SECRET_KEY="+s3Secret)
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.dir, &g.output, &g.output
	exited, err := run(cmd)
	if err != nil {
		return fmt.Errorf("start versitygw: %w", err)
	}
	g.process, g.exited = cmd, exited
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	health := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(g.port)) + "/healthz"
	for !ready(ctx, client, health) {
		select {
		case <-exited:
			g.process = nil
			return fmt.Errorf("versitygw ended before it was ready\n%s", g.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("versitygw was not ready after %v\n%s", readyTimeout, g.output.String()), g.kill())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// kill ends the process. mu is held.
func (g *gateway) kill() error {
	if g.process == nil {
		return nil
	}
	err := g.process.Process.Kill()
	<-g.exited
	g.process = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends the server with SIGKILL, for all tests of this process.
func (s *S3) Kill(t testing.TB) {
	t.Helper()
	s.gateway.mu.Lock()
	defer s.gateway.mu.Unlock()
	Must(t, s.gateway.kill())
}

// Restart kills the server if it runs and starts it at the same address.
func (s *S3) Restart(t testing.TB) {
	t.Helper()
	binary := Need(t, "versitygw", "an S3 server is to be spoken to")
	s.gateway.mu.Lock()
	defer s.gateway.mu.Unlock()
	Must(t, s.gateway.kill())
	Must(t, s.gateway.start(binary))
}

// NewBucket makes another bucket and returns its name.
func (s *S3) NewBucket(t testing.TB) string {
	t.Helper()
	s.gateway.mu.Lock()
	s.gateway.buckets++
	name := fmt.Sprintf("bucket-%d", s.gateway.buckets)
	s.gateway.mu.Unlock()
	s.do(t, http.MethodPut, name, nil)
	return name
}

// CredentialFiles writes the two keys into files, as a configuration names them.
func (s *S3) CredentialFiles(t testing.TB) (access, secret string) {
	t.Helper()
	dir := t.TempDir()
	access, secret = filepath.Join(dir, "access"), filepath.Join(dir, "secret")
	Must(t, os.WriteFile(access, []byte(s.AccessKey+"\n"), 0o600))
	Must(t, os.WriteFile(secret, []byte(s.SecretKey+"\n"), 0o600))
	return access, secret
}

// Keys returns the keys of all objects of a bucket.
func (s *S3) Keys(t testing.TB, bucket string) []string {
	t.Helper()
	var keys []string
	query := url.Values{"list-type": {"2"}}
	for {
		var page struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		Must(t, xml.Unmarshal(s.do(t, http.MethodGet, bucket, query), &page))
		for _, object := range page.Contents {
			keys = append(keys, object.Key)
		}
		if page.NextContinuationToken == "" {
			return keys
		}
		query.Set("continuation-token", page.NextContinuationToken)
	}
}

// Content returns the keys of a bucket but for those that say whose a prefix is.
func (s *S3) Content(t testing.TB, bucket string) []string {
	t.Helper()
	return slices.DeleteFunc(s.Keys(t, bucket), func(key string) bool { return path.Base(key) == "owner" })
}

// File is the file in which the server has an object of Bucket.
func (s *S3) File(key string) string {
	return filepath.Join(s.gateway.dir, "buckets", s.Bucket, filepath.FromSlash(key))
}

// Uploads returns the keys of the multipart uploads of a bucket that are
// neither complete nor aborted; the first thousand.
func (s *S3) Uploads(t testing.TB, bucket string) []string {
	t.Helper()
	var list struct{ Upload []struct{ Key string } }
	Must(t, xml.Unmarshal(s.do(t, http.MethodGet, bucket, url.Values{"uploads": {""}}), &list))
	keys := make([]string, len(list.Upload))
	for i, upload := range list.Upload {
		keys[i] = upload.Key
	}
	return keys
}

// do sends a signed request without a body to a bucket and returns the
// answer's body; anything but a success fails the test.
func (s *S3) do(t testing.TB, method, bucket string, query url.Values) []byte {
	t.Helper()
	return s.send(t, method, bucket, query, nil)
}

// Put stores an object in the bucket, as the plainest of clients does.
func (s *S3) Put(t testing.TB, key string, data []byte) {
	t.Helper()
	s.send(t, http.MethodPut, s.Bucket+"/"+key, nil, data)
}

// send sends a request to a path, with a body if there is one.
func (s *S3) send(t testing.TB, method, path string, query url.Values, data []byte) []byte {
	t.Helper()
	address := s.Endpoint + "/" + path + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, address, bytes.NewReader(data))
	Must(t, err)
	s.sign(req, data, time.Now().UTC())
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	Must(t, err)
	body, err := io.ReadAll(resp.Body)
	Must(t, errors.Join(err, resp.Body.Close()))
	if resp.StatusCode/100 != 2 {
		t.Fatalf("S3 answered %s /%s with %s: %s", method, path, resp.Status, body)
	}
	return body
}

// sign adds signature version 4 to a request with that body.
func (s *S3) sign(req *http.Request, data []byte, now time.Time) {
	content := strings.TrimPrefix(SHA256(data), "sha256:")
	const headers = "host;x-amz-content-sha256;x-amz-date"
	at, day := now.Format("20060102T150405Z"), now.Format("20060102")
	req.Header.Set("X-Amz-Date", at)
	req.Header.Set("X-Amz-Content-Sha256", content)
	canonical := strings.Join([]string{
		req.Method, req.URL.EscapedPath(), req.URL.RawQuery,
		"host:" + req.URL.Host, "x-amz-content-sha256:" + content, "x-amz-date:" + at, "",
		headers, content,
	}, "\n")
	scope := day + "/" + s.Region + "/s3/aws4_request"
	digest := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + s.SecretKey)
	for _, part := range []string{day, s.Region, "s3", "aws4_request",
		"AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + hex.EncodeToString(digest[:])} {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(part)) // never fails
		key = mac.Sum(nil)
	}
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		s.AccessKey, scope, headers, key))
}
