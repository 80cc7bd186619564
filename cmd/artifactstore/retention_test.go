package main_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// ask sends a request to the operators' API and reads the answer.
func (s *server) ask(method, path, body string, into any) (status int) {
	s.t.Helper()
	clients := s.address
	s.address = s.admin
	status, text := s.do(method, path, []byte(body), "Content-Type", "application/json")
	s.address = clients
	if err := json.Unmarshal(text, into); err != nil {
		s.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return status
}

// eventsOf returns the subjects of the events of a kind.
func (s *server) eventsOf(kind string) (subjects []string) {
	s.t.Helper()
	r := run(s.t, s.dir, nil, "events", "--kind", kind, "--json", "--server", s.admin)
	r.expect(s.t, 0)
	for line := range strings.Lines(r.stdout) {
		var e struct{ Subject string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("event %s: %v", line, err)
		}
		subjects = append(subjects, e.Subject)
	}
	return subjects
}

// What the file says when the server starts is in force, and in the log once.
func TestPoliciesOfTheConfigurationAreInForce(t *testing.T) {
	dir := t.TempDir()
	const policies = "retention:\n  policies:\n    - {name: ci, repositories: [\"ci/**\"], class: transient}\n"
	for i, text := range []string{policies, policies, "retention:\n  classes: {nightly: 3d}\n  policies:\n    - {name: ci, repositories: [\"ci/*\"], class: nightly}\n"} {
		writeFile(t, filepath.Join(dir, "store.yaml"), text)
		s := start(t, dir, nil, "--config", "store.yaml")
		var got struct {
			Policies []struct {
				Source string
				Policy struct{ Class string }
			}
		}
		if status := s.ask("GET", "/admin/v1/policies", "", &got); status != http.StatusOK || len(got.Policies) != 1 ||
			got.Policies[0].Source != "configuration" || got.Policies[0].Policy.Class != []string{"transient", "transient", "nightly"}[i] {
			t.Errorf("start %d: %d %+v", i, status, got)
		}
		if n := len(s.eventsOf("v1.retention.policies_set")); n != []int{1, 1, 2}[i] {
			t.Errorf("start %d: the policies were set %d times", i, n)
		}
		if i == 2 { // the admin API comes to need what the file has
			var answer any
			if status := s.ask("PUT", "/admin/v1/policies", `{"document":{"policies":[{"name":"own","repositories":["own"],"class":"nightly"}]},"reason":"a reason"}`, &answer); status != http.StatusOK {
				t.Fatalf("set policies: %d %v", status, answer)
			}
			if status := s.ask("PUT", "/admin/v1/policies", `{"document":{"policies":[{"name":"ci","repositories":["own"]}]},"reason":"a reason"}`, &answer); status != http.StatusConflict {
				t.Errorf("a policy of the file's name: %d %v", status, answer)
			}
		}
		s.stop()
	}
	writeFile(t, filepath.Join(dir, "store.yaml"), "listen: 127.0.0.1:0\n")
	s := launch(t, dir, nil, "serve", "--config", "store.yaml")
	if code := s.wait(); code != 1 || !strings.Contains(s.log.String(), `do not go with those that were set through the admin API: policy "own": class: unknown retention class "nightly"`) {
		t.Errorf("exit code %d:\n%s", code, s.log)
	}
	writeFile(t, filepath.Join(dir, "store.yaml"), "retention:\n  policies:\n    - {name: ci}\n")
	run(t, dir, nil, "config", "check", "store.yaml").expect(t, 1,
		`store.yaml:3: retention.policies: policy "ci": repositories: want at least one pattern`)
}

func TestErasingIsWired(t *testing.T) {
	for enabled, want := range map[string]int{"false": http.StatusForbidden, "true": http.StatusOK} {
		s := start(t, t.TempDir(), []string{"ARTIFACTSTORE_RETENTION_ERASE=" + enabled})
		s.pushImage("demo", "v1", []byte("layer"))
		var info struct{ Digest string }
		s.ask("GET", "/admin/v1/repositories/demo/manifests/v1/info", "", &info)
		var answer any
		if status := s.ask("POST", "/admin/v1/repositories/demo/manifests/"+info.Digest+"/erase", `{"reason":"court order 17"}`, &answer); status != want {
			t.Errorf("enabled %s: %d %v, want %d", enabled, status, answer, want)
		}
	}
}
