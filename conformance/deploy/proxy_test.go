package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"artifactstore/conformance/harness"
)

// TestBehindNginx runs the real nginx with the configuration of the example in
// front of the server, and pushes and pulls through it.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	p := startNginx(t, "compose/nginx.conf", "/dev/stdout", "http://artifactstore:5000", "http://"+s.Host())

	t.Run("oras pushes and pulls with TLS and a password", func(t *testing.T) {
		oras := harness.Tool{Path: harness.Need(t, "oras", "the oras command is one of the clients that must work"), Dir: t.TempDir()}
		as := []string{"--ca-file", p.certificate, "--registry-config", filepath.Join(oras.Dir, "login"), "--username", "ci", "--password", "secret"}
		large := harness.Random(1, 64<<20)
		write(t, filepath.Join(oras.Dir, "large.bin"), string(large))
		write(t, filepath.Join(oras.Dir, "small.txt"), "hello\n")
		name := p.host + "/proxied/demo:v1"
		oras.Run(t, append([]string{"push", name, "large.bin", "small.txt:text/plain"}, as...)...)
		oras.Run(t, append([]string{"pull", "-o", "out", name}, as...)...)
		got, err := os.ReadFile(filepath.Join(oras.Dir, "out", "large.bin"))
		harness.Must(t, err)
		if harness.SHA256(got) != harness.SHA256(large) {
			t.Errorf("%d bytes came back as %d others", len(large), len(got))
		}
		as[len(as)-1] = "guessed"
		if _, all, err := oras.Try(append([]string{"pull", "-o", "out", name}, as...)...); err == nil {
			t.Errorf("a wrong password is accepted: %s", all)
		}
	})
	t.Run("an upload follows its Location through the proxy", func(t *testing.T) {
		data := harness.Random(2, 300_000)
		reply := p.do(t, http.MethodPost, "/v2/proxied/chunks/blobs/uploads/", nil, true)
		location := reply.Header.Get("Location")
		for _, part := range [][]byte{data[:100_000], data[100_000:]} {
			if !strings.HasPrefix(location, "/v2/proxied/chunks/") {
				t.Fatalf("Location %q leads past the proxy", location)
			}
			reply = p.do(t, http.MethodPatch, location, part, true)
			harness.Must(t, reply.Expect(http.StatusAccepted))
			location = reply.Header.Get("Location")
		}
		digest := harness.SHA256(data)
		reply = p.do(t, http.MethodPut, harness.AddQuery(location, "digest", digest), nil, true)
		harness.Must(t, reply.Expect(http.StatusCreated))
		reply = p.do(t, http.MethodGet, reply.Header.Get("Location"), nil, true)
		if harness.SHA256(reply.Body) != digest {
			t.Errorf("the blob came back as %d with %d bytes", reply.Status, len(reply.Body))
		}
	})
	t.Run("nothing answers without a password, and nothing but the API with one", func(t *testing.T) {
		for path, want := range map[string]int{"/v2/": 200, "/v2/proxied/chunks/tags/list": 200, "/v2/../readyz": 404, "/livez": 404, "/readyz": 404, "/metrics": 404, "/admin/v1": 404, "/": 404} {
			if reply := p.do(t, http.MethodGet, path, nil, true); reply.Status != want {
				t.Errorf("%s with a password: %d, want %d", path, reply.Status, want)
			}
			if want == 200 {
				want = 401
			}
			if reply := p.do(t, http.MethodGet, path, nil, false); reply.Status != want {
				t.Errorf("%s without a password: %d, want %d", path, reply.Status, want)
			}
		}
	})
	t.Run("a request has one id in both logs and in its events, and the proxy's has who sent it", func(t *testing.T) {
		data := []byte("signed by the proxy")
		path := "/v2/proxied/who/blobs/uploads/?digest=" + harness.SHA256(data)
		reply := p.do(t, http.MethodPost, path, data, true)
		harness.Must(t, reply.Expect(http.StatusCreated))
		id := reply.Header.Get("X-Request-Id") // that of the server's log
		events, err := s.Run("events", "--json")
		harness.Must(t, err)
		if !strings.Contains(events, `"request":"`+id+`"`) {
			t.Errorf("no event has the id %s:\n%s", id, events)
		}
		p.do(t, http.MethodGet, "/v2/", nil, true) // on the same connection: what was before it is logged
		log, err := os.ReadFile(p.log)
		harness.Must(t, err)
		if want := "request=" + id + " user=ci address=127.0.0.1 method=POST status=201\n"; !strings.Contains(string(log), want) {
			t.Errorf("the proxy's log lacks %q:\n%s", want, log)
		}
		if strings.Contains(s.Output()+string(log), "secret") {
			t.Error("the password is in a log")
		}
	})
}

// proxy is a running nginx.
type proxy struct {
	host        string
	certificate string // file
	log         string // file
	client      *http.Client
}

// do sends a request, with the password or without.
func (p *proxy) do(t *testing.T, method, path string, body []byte, password bool) harness.Reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+p.host, strings.NewReader(string(body)))
	harness.Must(t, err)
	path, req.URL.RawQuery, _ = strings.Cut(path, "?")
	req.URL.Opaque = path // as it is
	if password {
		req.SetBasicAuth("ci", "secret")
	}
	resp, err := p.client.Do(req)
	harness.Must(t, err)
	text, err := io.ReadAll(resp.Body)
	harness.Must(t, err)
	harness.Must(t, resp.Body.Close())
	return harness.Reply{Status: resp.StatusCode, Header: resp.Header, Body: text}
}

// startNginx runs nginx with an example, with other paths and addresses and
// nothing else changed: log is the file of its access log there, servers are pairs of an
// address there and the one to use. It ends with the test.
func startNginx(t *testing.T, name, log string, servers ...string) *proxy {
	t.Helper()
	nginx := harness.Tool{Path: harness.Need(t, "nginx", "the example that puts nginx in front must work"), Dir: t.TempDir()}
	host, dir := freeAddress(t), nginx.Dir
	p := &proxy{host: host, certificate: filepath.Join(dir, "server.crt"), log: filepath.Join(dir, "access.log")}
	pool := makeCertificate(t, dir)
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	write(t, filepath.Join(dir, "htpasswd"), "ci:{PLAIN}secret\n")
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += kind + "_temp_path " + filepath.Join(dir, kind) + "; "
	}
	pairs := append([]string{"http {", "http { " + temporary, "listen 443 ssl", "listen " + host + " ssl",
		"/etc/nginx/tls/", dir + "/", "/etc/nginx/htpasswd", dir + "/htpasswd", log, p.log}, servers...)
	config := write(t, filepath.Join(dir, "nginx.conf"), substitute(t, example(t, name), pairs...))
	// Another user could not read the folder of the test.
	args := []string{"-p", dir, "-c", config, "-e", filepath.Join(dir, "error.log"), "-g", "daemon off; user root; pid " + filepath.Join(dir, "nginx.pid") + ";"}
	nginx.Run(t, append([]string{"-t"}, args...)...)
	cmd := exec.Command(nginx.Path, args...)
	harness.Must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		if err := cmd.Process.Signal(os.Interrupt); err != nil { // nginx's quick stop
			t.Error(err)
		}
		<-ended
	})
	waitForPort(t, host, ended)
	return p
}

// waitForPort waits until something listens at an address.
func waitForPort(t *testing.T, host string, ended <-chan error) {
	t.Helper()
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", host); err == nil {
			harness.Must(t, conn.Close())
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("nginx ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("nginx does not listen after %v", patience)
}

// freeAddress returns an address on loopback that is free now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	harness.Must(t, l.Close())
	return l.Addr().String()
}

// makeCertificate writes server.crt and server.key, for 127.0.0.1.
func makeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	harness.Must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	harness.Must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	harness.Must(t, err)
	write(t, filepath.Join(dir, "server.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	certificate, err := x509.ParseCertificate(der)
	harness.Must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return pool
}

// TestComposition checks what the compose file promises: the data outlive the
// containers, and nothing but nginx can be reached.
func TestComposition(t *testing.T) {
	t.Parallel()
	type service struct {
		Image           string
		Command         []string
		Volumes         []string
		Ports           []string
		Networks        []string
		ReadOnly        bool     `yaml:"read_only"`
		Tmpfs           []string `yaml:"tmpfs"`
		CapDrop         []string `yaml:"cap_drop"`
		SecurityOpt     []string `yaml:"security_opt"`
		Restart         string
		Healthcheck     struct{ Interval string }
		StopGracePeriod string                                `yaml:"stop_grace_period"`
		DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	}
	var c struct {
		Services map[string]service
		Networks map[string]struct{ Internal bool }
		Volumes  map[string]any
	}
	decoder := yaml.NewDecoder(strings.NewReader(example(t, "compose/compose.yaml")))
	decoder.KnownFields(true)
	harness.Must(t, decoder.Decode(&c))
	server, nginx := c.Services["artifactstore"], c.Services["nginx"]
	if len(c.Services) != 2 || server.Image != "artifactstore:latest" || !strings.HasPrefix(nginx.Image, "nginx:") {
		t.Errorf("services %+v", c.Services)
	}
	if len(server.Ports) != 0 || len(server.Networks) != 1 || !c.Networks[server.Networks[0]].Internal {
		t.Errorf("the server can be reached: ports %v, networks %v", server.Ports, server.Networks)
	}
	if len(nginx.Ports) != 1 || nginx.Ports[0] != "443:443" || nginx.DependsOn["artifactstore"].Condition != "service_healthy" {
		t.Errorf("nginx publishes %v and waits for %v", nginx.Ports, nginx.DependsOn)
	}
	if _, named := c.Volumes["data"]; !named || len(server.Volumes) != 1 || server.Volumes[0] != "data:/data" {
		t.Errorf("data are in %v", server.Volumes)
	}
	if strings.Join(server.Command, " ") != "serve --insecure-no-auth" || !server.ReadOnly || len(server.CapDrop) != 1 || server.StopGracePeriod != "45s" {
		t.Errorf("the server runs as %+v", server)
	}
	config := example(t, "compose/nginx.conf")
	if strings.Contains(config, "5001") || strings.Contains(example(t, "compose/compose.yaml"), "ADMIN") {
		t.Error("the operators' API is not left where it is")
	}
	for _, volume := range nginx.Volumes {
		inside := strings.Split(volume, ":")[1]
		if inside != "/etc/nginx/nginx.conf" && !strings.Contains(config, inside) {
			t.Errorf("nginx uses no %s", inside)
		}
	}
}
