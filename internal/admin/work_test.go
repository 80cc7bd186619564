package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/admin"
	"artifactstore/internal/inproc"
	"artifactstore/internal/web"
	"artifactstore/registry"
)

// breaksOff checks the lines of work that cannot go on, and what else only large
// stores answer with.
func (s *server) breaksOff() {
	s.t.Helper()
	stale := &registry.PlanStale{ID: "1", Changed: []string{"manifest x was to go, now it is to stay"}, Events: []registry.LaterEvent{
		{Sequence: 1, Time: time.Now().UTC(), Kind: "v1.tag.moved", Subject: "a:v1", Actor: "anonymous"}}, More: true}
	for line, work := range map[string]http.Handler{
		"PlanLine":    broken[admin.PlanProgress, admin.Plan](admin.PlanProgress{}, stale),
		"ExecuteLine": broken[admin.PlanDone, admin.Plan](admin.PlanDone{}, stale),
		"SweepLine":   broken[admin.SweepPhase, admin.SweepReport](admin.SweepPhase{Phase: "links"}, stale),
		"ScrubLine":   broken[admin.ScrubReport, admin.ScrubReport](admin.ScrubReport{Began: time.Now().UTC()}, stale),
		"FsckLine":    broken[admin.FsckReport, admin.FsckReport](admin.FsckReport{Counts: map[string]admin.FsckCount{}}, stale),
	} {
		w := httptest.NewRecorder()
		work.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		lines := bytes.Split(bytes.TrimSpace(w.Body.Bytes()), []byte("\n"))
		if w.Code != 200 || len(lines) != 2 {
			s.t.Fatalf("answered %d %s", w.Code, w.Body)
		}
		for _, text := range lines {
			s.doc.validate(s.t, line, "/components/schemas/"+line, text)
		}
	}
	rough, err := json.Marshal(admin.SweepReport{DryRun: true, Phases: []admin.SweepPhase{}, Rough: true})
	must(s.t, err)
	s.doc.validate(s.t, "a rough report", "/components/schemas/SweepReport", rough)
}

// broken is work that tells of progress and then fails.
func broken[P, R any](progress P, err error) http.Handler {
	return admin.Work(admin.Options{}, func(_ context.Context, tell func(P)) (result R, _ error) {
		tell(progress)
		return result, err
	})
}

type step struct {
	Done int `json:"done"`
}

// stepsOf answers with what is told.
func stepsOf(t *testing.T, body io.Reader) (steps []int, last admin.Line[step, step]) {
	t.Helper()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		last = admin.Line[step, step]{}
		must(t, json.Unmarshal(lines.Bytes(), &last))
		if last.Progress != nil {
			steps = append(steps, last.Progress.Done)
		}
	}
	must(t, lines.Err())
	return steps, last
}

func TestWorkTellsAtAStrideAndAlwaysTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admin.Work(admin.Options{}, func(ctx context.Context, tell func(step)) (step, error) {
			for i := range 1000 {
				tell(step{i})
				time.Sleep(time.Millisecond)
			}
			return step{1000}, nil
		})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		steps, last := stepsOf(t, w.Body)
		if last.Result == nil || last.Result.Done != 1000 {
			t.Errorf("ends with %+v", last)
		}
		if most := int(time.Second/admin.Stride) + 2; len(steps) < 5 || len(steps) > most {
			t.Errorf("told %d times, want at most %d", len(steps), most)
		}
		if steps[0] != 0 || steps[len(steps)-1] != 999 {
			t.Errorf("told %v", steps)
		}
	})
}

// A large object is read for longer than a proxy waits.
func TestWorkIsNeverSilentForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admin.Work(admin.Options{}, func(_ context.Context, tell func(step)) (step, error) {
			time.Sleep(2 * admin.Heartbeat) // before there is anything to tell
			tell(step{1})
			time.Sleep(3*admin.Heartbeat + admin.Heartbeat/2)
			return step{2}, nil
		})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		if steps, last := stepsOf(t, w.Body); !slices.Equal(steps, []int{1, 1, 1, 1}) || last.Result == nil {
			t.Errorf("told %v, ends with %+v", steps, last)
		}
	})
}

func TestWorkThatFailsBeforeItTellsHasAnAnswerOfItsOwn(t *testing.T) {
	for name, test := range map[string]struct {
		told   bool
		err    error
		status int
		code   registry.Code
	}{
		"a refusal":                   {false, registry.Errorf(registry.Conflict, "no"), 409, "CONFLICT"},
		"a refusal on the way":        {true, registry.Errorf(registry.Conflict, "no"), 200, "CONFLICT"},
		"a failure":                   {false, errors.New("password"), 500, "UNKNOWN"},
		"a failure on the way":        {true, errors.New("password"), 200, "UNKNOWN"},
		"success without a word":      {false, nil, 200, ""},
		"success with a word or more": {true, nil, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			h := admin.Work(admin.Options{}, func(_ context.Context, tell func(step)) (step, error) {
				if test.told {
					tell(step{1})
				}
				return step{2}, test.err
			})
			w := httptest.NewRecorder()
			web.Wrap(h, web.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
			if w.Code != test.status || strings.Contains(w.Body.String(), "password") {
				t.Fatalf("answered %d %s", w.Code, w.Body)
			}
			if !strings.Contains(log.String(), string(test.code)) {
				t.Errorf("logged %s", log.String())
			}
			if test.status != 200 {
				var p admin.Problem
				must(t, json.Unmarshal(w.Body.Bytes(), &p))
				if p.Code != test.code {
					t.Errorf("answered %s", w.Body)
				}
				return
			}
			steps, last := stepsOf(t, w.Body)
			if (len(steps) == 1) != test.told || (last.Problem != nil) != (test.err != nil) || (last.Result != nil) != (test.err == nil) {
				t.Fatalf("told %v and %+v", steps, last)
			}
			if p := last.Problem; p != nil && (p.Code != test.code || p.Status < 400 || p.Request != w.Header().Get("X-Request-Id") || p.Title == "") {
				t.Errorf("the problem is %+v", p)
			}
		})
	}
}

// waiting is work that goes on until it is ended.
func waiting(begun chan<- struct{}, ended chan<- error) func(context.Context, func(step)) (step, error) {
	return func(ctx context.Context, tell func(step)) (step, error) {
		tell(step{1})
		begun <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return step{}, ctx.Err()
	}
}

func TestWorkEndsWhenItsClientLeaves(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	server := httptest.NewServer(web.Wrap(admin.Work(admin.Options{}, waiting(begun, ended)), web.Options{}))
	defer server.Close()
	c, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	must(t, err)
	_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	must(t, err)
	<-begun
	must(t, c.Close())
	<-ended // or the test never ends
}

func TestWorkEndsWhenTheServerStops(t *testing.T) {
	closing, begun, ended := make(chan struct{}), make(chan struct{}, 1), make(chan error, 1)
	h := web.Wrap(admin.Work(admin.Options{Closing: closing}, waiting(begun, ended)), web.Options{})
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	}()
	<-begun
	close(closing)
	<-done
	_, last := stepsOf(t, w.Body)
	if last.Problem == nil || last.Problem.Status != 503 || last.Problem.Code != registry.Unavailable {
		t.Errorf("ends with %+v", last)
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil))
	select {
	case <-begun:
		t.Error("work is begun by a server that stops")
	default:
	}
}

func TestWorkOfAKindIsDoneOnceAtATime(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	h := admin.Work(admin.Options{}, waiting(begun, ended))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	ask := func(ctx context.Context) (w *httptest.ResponseRecorder) {
		w = httptest.NewRecorder()
		defer func() { _ = recover() }() // as a server does: the answer is cut off
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/", nil))
		return w
	}
	go func() {
		defer close(done)
		ask(ctx)
	}()
	<-begun
	if w := ask(t.Context()); w.Code != 409 || !strings.Contains(w.Body.String(), "WORK_RUNNING") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	cancel()
	<-done
	<-ended
	again, stop := context.WithCancel(t.Context())
	go func() { <-begun; stop() }()
	if w := ask(again); w.Code != 200 {
		t.Errorf("answered %d %s after the first has ended", w.Code, w.Body)
	}
}

// Work that panics must not leave the kind taken, nor its writer running.
func TestWorkThatPanicsIsOver(t *testing.T) {
	var calls atomic.Int32
	h := web.Wrap(admin.Work(admin.Options{}, func(_ context.Context, tell func(step)) (step, error) {
		if calls.Add(1) == 1 {
			panic("password")
		}
		return step{1}, nil
	}), web.Options{Failure: admin.Failure})
	for _, want := range []int{500, 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		if w.Code != want || strings.Contains(w.Body.String(), "password") {
			t.Errorf("answered %d %s, want %d", w.Code, w.Body, want)
		}
	}
}

// However slowly a client reads, the work goes on at its own speed.
func TestWorkDoesNotWaitForItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := make(chan struct{})
		h := admin.Work(admin.Options{}, func(_ context.Context, tell func(step)) (step, error) {
			for i := range 10_000 {
				tell(step{i})
				time.Sleep(time.Second)
			}
			close(finished)
			return step{10_000}, nil
		})
		req := httptest.NewRequestWithContext(t.Context(), "POST", "http://x/", nil)
		req.RequestURI = ""
		res, err := (&http.Client{Transport: inproc.Transport(h)}).Do(req)
		must(t, err)
		<-finished // nothing was read
		steps, last := stepsOf(t, res.Body)
		must(t, res.Body.Close())
		if last.Result == nil || len(steps) > 10 {
			t.Errorf("told %d steps, and %+v", len(steps), last)
		}
	})
}
