package deploy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"artifactstore/conformance/harness"
)

// TestProductionNginx runs the real nginx with the production example in front of
// servers that fail as nodes do, and counts what reaches them.
func TestProductionNginx(t *testing.T) {
	t.Parallel()
	var arrived, got atomic.Int64
	var wrong atomic.Value
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // nginx went away
		}
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Request-Id") == "" || r.RequestURI != "/v2/a%2Fb/..%2f?q=%41" && r.RequestURI != "/v2/" {
			wrong.Store(r.Method + " " + r.RequestURI)
		}
		got.Store(int64(len(body)))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(good.Close)
	// A node that dies with the requests that it has.
	dying := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(dying.Close)
	in := func(t *testing.T, node1, node2 string) *proxy {
		t.Helper()
		return startNginx(t, "production/nginx.conf", "/var/log/nginx/artifactstore.log", "node1.internal:5000", node1, "node2.internal:5000", node2)
	}
	address := func(s *httptest.Server) string { return s.Listener.Addr().String() }

	t.Run("a node that takes no connection costs no request", func(t *testing.T) {
		p := in(t, freeAddress(t), address(good))
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodGet, http.MethodDelete, http.MethodPost, http.MethodPatch} {
			body := harness.Random(3, 1<<20)
			if method == http.MethodGet || method == http.MethodDelete {
				body = nil
			}
			if reply := p.do(t, method, "/v2/a%2Fb/..%2f?q=%41", body, true); reply.Status != http.StatusAccepted {
				t.Errorf("%s: %d", method, reply.Status)
			}
			if got.Load() != int64(len(body)) {
				t.Errorf("%s: %d bytes arrived, want %d", method, got.Load(), len(body))
			}
		}
		if path := wrong.Load(); path != nil {
			t.Errorf("not as the client sent it: %s", path)
		}
	})
	t.Run("what a dying node may have done is sent again only where that is safe", func(t *testing.T) {
		large := harness.Random(4, 1<<20)
		for _, c := range []struct {
			method string
			body   []byte
			times  int64
		}{
			{http.MethodPost, large, 1}, {http.MethodPost, nil, 1}, {http.MethodPatch, large, 1}, {http.MethodPut, large, 1},
			{http.MethodPut, nil, 2}, {http.MethodGet, nil, 2}, {http.MethodDelete, nil, 2},
		} {
			p := in(t, address(dying), address(dying)) // each anew, since it remembers which node failed
			arrived.Store(0)
			if reply := p.do(t, c.method, "/v2/", c.body, true); reply.Status != http.StatusServiceUnavailable || reply.Header.Get("Retry-After") == "" ||
				!strings.Contains(string(reply.Body), `"code":"UNAVAILABLE"`) {
				t.Errorf("%s: %d %v %s", c.method, reply.Status, reply.Header, reply.Body)
			}
			if arrived.Load() != c.times {
				t.Errorf("%s of %d bytes reached a node %d times, want %d", c.method, len(c.body), arrived.Load(), c.times)
			}
		}
	})
	t.Run("a node without the database is passed over, and its answer kept where none is better", func(t *testing.T) {
		alone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "alone", http.StatusServiceUnavailable)
		}))
		t.Cleanup(alone.Close)
		p := in(t, address(alone), address(good))
		for range 10 {
			if reply := p.do(t, http.MethodGet, "/v2/", nil, true); reply.Status != http.StatusAccepted {
				t.Errorf("%d %s", reply.Status, reply.Body)
			}
		}
		p = in(t, address(alone), address(alone))
		if reply := p.do(t, http.MethodPost, "/v2/", nil, true); reply.Header.Get("Retry-After") != "7" || string(reply.Body) != "alone\n" {
			t.Errorf("%d %v %s", reply.Status, reply.Header, reply.Body)
		}
	})
	t.Run("nothing answers without a password, and nothing but the API with one", func(t *testing.T) {
		p := in(t, address(good), address(good))
		for path, want := range map[string]int{"/v2/": 202, "/readyz": 404, "/livez": 404, "/metrics": 404, "/admin/v1/status": 404, "/": 404} {
			if reply := p.do(t, http.MethodGet, path, nil, true); reply.Status != want {
				t.Errorf("%s with a password: %d, want %d", path, reply.Status, want)
			}
			if want != 404 {
				want = 401
			}
			if reply := p.do(t, http.MethodGet, path, nil, false); reply.Status != want {
				t.Errorf("%s without a password: %d, want %d", path, reply.Status, want)
			}
		}
	})
}

// TestProductionConfiguration: the server takes the example for what it is meant
// to be, once the files are there that it names.
func TestProductionConfiguration(t *testing.T) {
	t.Parallel()
	binary, err := harness.Binary()
	harness.Must(t, err)
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "artifactstore.yaml"), substitute(t, example(t, "production/artifactstore.yaml"), "/etc/artifactstore/", dir+"/"))
	server := harness.Tool{Path: binary, Dir: dir}
	if _, all, err := server.Try("config", "check", file); err == nil || !strings.Contains(all, "database.dsn_file: open "+dir+"/dsn") ||
		!strings.Contains(all, "s3.access_key_id_file: open "+dir+"/s3-access-key-id") {
		t.Errorf("without the files: %v\n%s", err, all)
	}
	write(t, filepath.Join(dir, "dsn"), "postgres://artifactstore:secret@db.internal:5432/artifactstore?sslmode=verify-full&sslrootcert=/etc/artifactstore/db-ca.pem\n")
	write(t, filepath.Join(dir, "s3-access-key-id"), "id\n")
	write(t, filepath.Join(dir, "s3-secret-access-key"), "secret\n")
	server.Run(t, "config", "check", file)
	shown := server.Run(t, "config", "show", "--config", file)
	for _, want := range []string{"driver: postgres #", "driver: s3 #", "bucket: artifactstore #", "spool: /var/lib/artifactstore/spool #"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
	for _, name := range []string{"artifactstore.yaml", "nginx.conf"} {
		if !strings.Contains(example(t, "production/README.md"), "`"+name+"`") {
			t.Errorf("the README does not say where %s goes", name)
		}
	}
}
