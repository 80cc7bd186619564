package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every setting reaches what it is about; each test fails if its key is not
// wired. Those of the registry's rules have tests of their own elsewhere.

func TestManifestSizeLimitIsWired(t *testing.T) {
	s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_MANIFESTS_MAX_SIZE=1KiB"})
	manifest := []byte(`{"schemaVersion":2,"annotations":{"a":"` + strings.Repeat("x", 1024) + `"}}`)
	status, body := s.do("PUT", "/v2/demo/manifests/v1", manifest, "Content-Type", "application/vnd.oci.image.manifest.v1+json")
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %s, want 413", status, body)
	}
}

func TestSparseManifestsAreWired(t *testing.T) {
	s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_MANIFESTS_ALLOW_SPARSE=true"})
	absent := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"digest":"` + digest([]byte("{}")) + `"}`
	index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + absent + `]}`)
	status, body := s.do("PUT", "/v2/demo/manifests/v1", index, "Content-Type", "application/vnd.oci.image.index.v1+json")
	if status != http.StatusCreated {
		t.Errorf("got %d %s, want 201", status, body)
	}
}

func TestHeaderSizeLimitIsWired(t *testing.T) {
	for size, want := range map[string]int{"64KiB": http.StatusRequestHeaderFieldsTooLarge, "256KiB": http.StatusOK} {
		s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_LIMITS_HEADER_SIZE=" + size})
		if status, _ := s.do("GET", "/v2/", nil, "X-Large", strings.Repeat("x", 100<<10)); status != want {
			t.Errorf("a header of 100 KiB under a limit of %s got %d, want %d", size, status, want)
		}
	}
}

func TestHeaderTimeoutIsWired(t *testing.T) {
	s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_LIMITS_HEADER_TIMEOUT=1s"})
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	if _, err := io.WriteString(conn, "GET /v2/ HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(begun.Add(8 * time.Second)); err != nil { // less than the default
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection was still open after %v: %v", time.Since(begun), err)
	}
}

func TestInlineLimitIsWired(t *testing.T) {
	for limit, want := range map[string]bool{"0": true, "64KiB": false} {
		dir := t.TempDir()
		s := start(t, dir, []string{"ARTIFACTSTORE_STORAGE_INLINE_LIMIT=" + limit})
		data := []byte("one kilobyte or less")
		s.pushBlob("demo", data)
		found := false
		err := filepath.WalkDir(filepath.Join(dir, "data", "store"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil && info.Size() == int64(len(data)) {
					found = true
				}
			}
			return err
		})
		if err != nil || found != want {
			t.Errorf("limit %s: a file of its own: %t, want %t (%v)", limit, found, want, err)
		}
	}
}

func TestLogLevelIsWired(t *testing.T) {
	s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_LOG_LEVEL=error"})
	s.do("GET", "/v2/", nil)
	s.stop()
	if strings.Contains(s.log.String(), "level=INFO") {
		t.Errorf("log has lines of level info:\n%s", s.log)
	}
}

func TestTLSIsWired(t *testing.T) {
	dir := t.TempDir()
	pool := writeCertificate(t, dir)
	s := start(t, dir, []string{"ARTIFACTSTORE_TLS_CERT=cert.pem", "ARTIFACTSTORE_TLS_KEY=key.pem"})
	if s.log.await(`oras push --plain-http=false localhost:\d+/demo:v1 FILE`, s.ended) == nil {
		t.Error("the command to push would speak HTTP") // which oras does to localhost
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.Get("https://" + s.address + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("GET /v2/: %d", res.StatusCode)
	}
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		conn.Close()
		t.Error("a connection with TLS 1.1 was accepted")
	}
	s.stop()
	run(t, dir, []string{"ARTIFACTSTORE_TLS_CERT=cert.pem", "ARTIFACTSTORE_TLS_KEY=cert.pem"}, "serve").expect(t, 1, "load tls.cert and tls.key")
}

// writeCertificate writes cert.pem and key.pem for 127.0.0.1.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var cert, private bytes.Buffer
	for _, err := range []error{
		pem.Encode(&cert, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&private, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "cert.pem"), cert.String())
	writeFile(t, filepath.Join(dir, "key.pem"), private.String())
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert.Bytes())
	return pool
}
