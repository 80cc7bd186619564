package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestEventsAreLinesOfColumns(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("one"))
	r := run(t, dir, nil, "events", "--data", "data") // beside the server
	r.expect(t, 0, "v1.repository.created", "v1.blob.stored", "v1.manifest.put", "v1.tag.moved")
	line := regexp.MustCompile(`^ +\d+  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  v1\.[a-z]+\.[a-z_]+ +anonymous  \S+$`)
	for i, l := range strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n") {
		if !line.MatchString(l) || !strings.HasPrefix(strings.TrimSpace(l), fmt.Sprint(i+1)+"  ") {
			t.Errorf("line %d is %q", i+1, l)
		}
	}
	if served := run(t, dir, nil, "events", "--server", s.admin); served.stdout != r.stdout {
		t.Errorf("of the server\n%s\nof the folder\n%s", served.stdout, r.stdout)
	}
}

func TestEventsInJSONHaveEverything(t *testing.T) {
	dir := filled(t)
	r := run(t, dir, nil, "events", "--json", "--data", "data")
	r.expect(t, 0)
	sequence := 0
	for line := range strings.Lines(r.stdout) {
		var e struct {
			Sequence                                                                     int
			Time, Kind, Subject, Actor, Request, ID, PayloadDigest, PrivateDigest, Chain string
			Payload                                                                      map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		sequence++
		at, err := time.Parse(time.RFC3339Nano, e.Time)
		if err != nil || time.Since(at) < 0 || time.Since(at) > time.Hour {
			t.Errorf("time %q (%v)", e.Time, err)
		}
		if e.Sequence != sequence || len(e.ID) != 32 || len(e.Chain) != 64 || e.Request == "" || len(e.Payload) == 0 ||
			!strings.HasPrefix(e.PayloadDigest, "blake3:") || !strings.HasPrefix(e.PrivateDigest, "blake3:") {
			t.Errorf("event %d is %s", sequence, line)
		}
		if e.Kind == "v1.tag.moved" && (e.Payload["repository"] != "demo" || e.Payload["tag"] != "v1") {
			t.Errorf("payload of %s", line)
		}
	}
	if sequence == 0 {
		t.Error("no events")
	}
}

// follow runs `events --follow` with more arguments.
func follow(t *testing.T, dir string, args ...string) (out, notices *output, interrupt func() error) {
	t.Helper()
	out, notices = newOutput(), newOutput()
	cmd := command(t, dir, nil, append([]string{"events", "--follow"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, notices
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return out, notices, func() error {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			return err
		}
		return cmd.Wait()
	}
}

func TestEventsAreFollowedUntilInterrupted(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	for i, where := range [][]string{{"--server", s.admin}, {"--data", filepath.Join(dir, "data")}} {
		out, _, interrupt := follow(t, dir, append(where, "--kind", "v1.tag.moved")...)
		for n := range 2 {
			tag := fmt.Sprintf("v%d.%d", i, n)
			s.pushImage("demo", tag, []byte("one"))
			if out.await("demo:"+tag, nil) == nil {
				t.Fatalf("%v: the move of %s was not printed: %s", where, tag, out)
			}
		}
		if err := interrupt(); err != nil {
			t.Errorf("%v: events --follow ended with %v after SIGINT", where, err)
		}
	}
}

// cutting forwards connections to an address, and cuts the first ones off after
// some bytes of the answer.
func cutting(t *testing.T, address string, cuts int, random *rand.Rand) (proxy string, cut *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	cut = new(atomic.Int32)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			limit := int64(1 << 40)
			if int(cut.Add(1)) <= cuts {
				limit = 200 + random.Int64N(4000) // within the header, or within an event
			}
			if cut.Load() == 1 {
				limit += 1500 // it begins well
			}
			go forward(client, address, limit)
		}
	}()
	return listener.Addr().String(), cut
}

func forward(client net.Conn, address string, limit int64) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go io.Copy(server, client)
	io.CopyN(client, server, limit)
}

func TestEventsAreFollowedThroughBrokenConnections(t *testing.T) {
	const cuts, pushes = 15, 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "first", []byte("first"))
	proxy, connections := cutting(t, s.admin, cuts, rand.New(rand.NewPCG(seed, 0)))
	out, notices, interrupt := follow(t, dir, "--json", "--server", proxy)
	if out.await(`"sequence":1,`, nil) == nil && notices.await("trying again", nil) == nil {
		t.Fatalf("nothing came: %s%s", out, notices)
	}
	for i := range pushes {
		s.pushImage("demo", fmt.Sprintf("v%d", i), fmt.Appendf(nil, "layer %d", i))
	}
	want := run(t, dir, nil, "events", "--json", "--data", "data").stdout
	last := strings.Count(want, "\n")
	if out.await(fmt.Sprintf(`"sequence":%d,.*\n`, last), nil) == nil {
		t.Fatalf("event %d did not come: %s", last, notices)
	}
	if err := interrupt(); err != nil {
		t.Errorf("it ended with %v after SIGINT", err)
	}
	if out.String() != want {
		t.Errorf("followed\n%s\nthe log has\n%s", out, want)
	}
	if n := connections.Load(); n < 5 || !strings.Contains(notices.String(), "trying again in ") {
		t.Errorf("only %d connections; notices:\n%s", n, notices)
	}
}

func TestEventsAreFollowedThroughARestartOfTheServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("one"))
	out, notices, interrupt := follow(t, dir, "--server", s.admin, "--kind", "v1.tag.moved")
	if out.await("demo:v1", nil) == nil {
		t.Fatalf("nothing came: %s", notices)
	}
	s.stop()
	if notices.await("trying again", nil) == nil {
		t.Errorf("it is not said that the server is gone: %s", notices)
	}
	again := start(t, dir, nil, "--admin-listen", s.admin)
	again.pushImage("demo", "v2", []byte("one"))
	if out.await("demo:v2", nil) == nil {
		t.Errorf("after the restart nothing came: %s%s", out, notices)
	}
	if err := interrupt(); err != nil {
		t.Errorf("it ended with %v after SIGINT", err)
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

func TestAReadingThatBreaksOffSaysWhereToGoOn(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	for i := range 4 {
		s.pushImage("demo", fmt.Sprintf("v%d", i), fmt.Appendf(nil, "layer %d", i))
	}
	proxy, _ := cutting(t, s.admin, 1<<20, rand.New(rand.NewPCG(1, 1)))
	r := run(t, dir, nil, "events", "--json", "--server", proxy)
	r.expect(t, 1)
	n := strings.Count(r.stdout, "\n")
	want := regexp.MustCompile(fmt.Sprintf(`the log broke off after event %d: .*; go on with --after ([0-9a-f]{32}:%d:[0-9a-f]{64})\n`, n, n))
	m := want.FindStringSubmatch(r.stderr)
	if m == nil {
		t.Fatalf("after %d lines it says %s", n, r.stderr)
	}
	rest := run(t, dir, nil, "events", "--json", "--server", s.admin, "--after", m[1])
	if rest.expect(t, 0); !strings.HasPrefix(rest.stdout, fmt.Sprintf(`{"sequence":%d,`, n+1)) {
		t.Errorf("it goes on with %s", rest.stdout)
	}
}
