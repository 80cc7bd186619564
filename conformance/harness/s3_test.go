package harness_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"artifactstore/conformance/harness"
)

func TestS3OutlivesItsProcess(t *testing.T) {
	s := harness.StartS3(t)
	other := harness.StartS3(t)
	if s.Bucket == other.Bucket {
		t.Errorf("two tests share the bucket %s", s.Bucket)
	}
	s.Kill(t)
	s.Restart(t)
	if keys, uploads := s.Keys(t, s.Bucket), s.Uploads(t, s.Bucket); len(keys)+len(uploads) != 0 {
		t.Errorf("a fresh bucket has keys %v and uploads %v", keys, uploads)
	}
}

func TestFaultProxyDoesWhatItIsTold(t *testing.T) {
	asked := 0
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, "0123456789")
	}))
	t.Cleanup(backend.Close)
	p := harness.StartFaultProxy(t, backend.URL)
	tests := []struct {
		name   string
		fault  harness.Fault
		status int // 0 is no answer
		body   int // -1 is one that breaks
		asked  bool
	}{
		{"nothing", harness.Fault{}, 200, 10, true},
		{"a refusal", harness.SlowDown, 503, 146, false},
		{"a reset", harness.Fault{Reset: true}, 0, 0, false},
		{"a lost answer", harness.Fault{Lose: true}, 0, 0, true},
		{"an error with status 200", harness.Fault{Err: "InternalError"}, 200, 151, true},
		{"an answer that breaks", harness.Fault{Cut: 4}, 200, -1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := asked
			p.Set(harness.Once("PutObject", 1, tt.fault))
			status, body := put(t, p.URL()+"/bucket/key")
			if status != tt.status || body != tt.body || asked-before != map[bool]int{true: 1}[tt.asked] {
				t.Errorf("status %d, %d bytes, the server was asked %d times", status, body, asked-before)
			}
			if status, body = put(t, p.URL()+"/bucket/key"); status != 200 || body != 10 {
				t.Errorf("the next request: status %d, %d bytes", status, body)
			}
		})
	}
	if n := p.Counts()["PutObject"]; n != 2*len(tests) {
		t.Errorf("%d requests were counted, want %d", n, 2*len(tests))
	}
}

// put sends a request that no client repeats by itself.
func put(t *testing.T, address string) (status, body int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, http.NoBody)
	harness.Must(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, 0
	}
	data, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return resp.StatusCode, -1
	}
	return resp.StatusCode, len(data)
}
