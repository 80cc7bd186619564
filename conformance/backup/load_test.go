package backup_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// Environment variables of this package's tests.
const (
	roundsVariable = "CONFORMANCE_BACKUP_ROUNDS" // how often to back up under load; default 2
	seedVariable   = "CONFORMANCE_SEED"          // of all that is random; default from the clock
)

const writers = 4

// writer pushes images into a repository of its own and deletes some again.
// Its image number i follows from its seed and i.
type writer struct {
	repository string
	seed       uint64
	pushed     atomic.Uint64 // images that were acknowledged, with all that belongs to them
}

// image has layers of which every fourth image's are objects.
func (w *writer) image(i uint64) *harness.Image {
	size := 4 << 10
	if i%4 == 3 {
		size = 80 << 10
	}
	return harness.NewImage(w.seed<<32+i, 2, size)
}

// blob is one that no manifest names. Some are large.
func (w *writer) blob(i uint64) []byte {
	return harness.Random(w.seed<<33+i, []int{300, 70_000, 1_500_000}[i%3])
}

func tagOf(i uint64) string { return fmt.Sprintf("v%d", i) }

// What becomes of image i once image i+2 was pushed.
func untagged(i uint64) bool { return i%5 == 1 }
func deleted(i uint64) bool  { return i%5 == 3 }

func (w *writer) run(ctx context.Context, c *harness.Client) error {
	for ctx.Err() == nil {
		i := w.pushed.Load()
		if err := w.step(context.WithoutCancel(ctx), c, i); err != nil {
			return fmt.Errorf("image %d of %s: %w", i, w.repository, err)
		}
		w.pushed.Add(1)
	}
	return nil
}

// step pushes an image and a blob, and deletes something that is older.
func (w *writer) step(ctx context.Context, c *harness.Client, i uint64) error {
	image := w.image(i)
	for _, tag := range []string{tagOf(i), "latest"} {
		if err := image.Push(ctx, c, w.repository, tag); err != nil {
			return err
		}
	}
	blob := w.blob(i)
	if err := c.PushBlob(ctx, w.repository, harness.SHA256(blob), blob); err != nil {
		return err
	}
	if i < 2 {
		return nil
	}
	old := i - 2
	switch {
	case untagged(old):
		return w.remove(ctx, c, "manifests/"+tagOf(old))
	case deleted(old):
		if err := w.remove(ctx, c, "manifests/"+w.image(old).Digest); err != nil {
			return err
		}
		return w.remove(ctx, c, "blobs/"+harness.SHA256(w.blob(old)))
	}
	return nil
}

func (w *writer) remove(ctx context.Context, c *harness.Client, what string) error {
	reply, err := c.Do(ctx, harness.Request{Method: http.MethodDelete, Path: "/v2/" + w.repository + "/" + what})
	if err != nil {
		return err
	}
	return reply.Expect(http.StatusAccepted)
}

// check looks for everything that was acknowledged, and that what was deleted is gone.
func (w *writer) check(ctx context.Context, c *harness.Client) error {
	total := w.pushed.Load()
	for i := range total {
		path := "/v2/" + w.repository + "/"
		image, passed := w.image(i), i+2 < total
		tag, manifest, blob := http.StatusOK, http.StatusOK, http.StatusOK
		if passed && untagged(i) {
			tag = http.StatusNotFound
		}
		if passed && deleted(i) {
			tag, manifest, blob = http.StatusNotFound, http.StatusNotFound, http.StatusNotFound
		}
		wants := []struct {
			path   string
			status int
			data   []byte
		}{
			{path + "manifests/" + tagOf(i), tag, image.Manifest},
			{path + "manifests/" + image.Digest, manifest, image.Manifest},
			{path + "blobs/" + harness.SHA256(w.blob(i)), blob, w.blob(i)},
			{path + "blobs/" + harness.SHA256(image.Config), http.StatusOK, image.Config},
			{path + "blobs/" + harness.SHA256(image.Layers[1]), http.StatusOK, image.Layers[1]},
		}
		for _, want := range wants {
			if want.status != http.StatusOK {
				want.data = nil
			}
			if err := same(ctx, c, want.path, want.status, want.data); err != nil {
				return fmt.Errorf("image %d of %d: %w", i, total, err)
			}
		}
	}
	return nil
}

// load is a team of writers at work.
type load struct {
	team   []*writer
	server *harness.Server
	stop   func() // waits for the writers
}

func startLoad(t *testing.T, s *harness.Server, random *rand.Rand) *load {
	l := &load{server: s}
	ctx, cancel := context.WithCancel(t.Context())
	client := s.Client()
	var wait sync.WaitGroup
	for i := range writers {
		w := &writer{repository: fmt.Sprintf("backup/writer%d", i), seed: random.Uint64() >> 40}
		l.team = append(l.team, w)
		wait.Go(func() {
			if err := w.run(ctx, client); err != nil {
				t.Error(err)
			}
		})
	}
	l.stop = func() { cancel(); wait.Wait(); client.Close() }
	t.Cleanup(l.stop)
	return l
}

func (l *load) pushed() (n uint64) {
	for _, w := range l.team {
		n += w.pushed.Load()
	}
	return n
}

// more waits until some more images were pushed.
func (l *load) more(t *testing.T, images uint64) {
	t.Helper()
	want, deadline := l.pushed()+images, time.Now().Add(time.Minute)
	for l.pushed() < want {
		if time.Now().After(deadline) || t.Failed() {
			t.Fatalf("%d images were pushed, not %d", l.pushed(), want)
		}
		time.Sleep(5 * time.Millisecond) // polling, within the deadline
	}
}

// check proves that a server has all that the writers were told is there.
func (l *load) check(t *testing.T, s *harness.Server) {
	t.Helper()
	client := s.Client()
	defer client.Close()
	var wait sync.WaitGroup
	for _, w := range l.team {
		wait.Go(func() {
			if err := w.check(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// TestBackupUnderLoad copies a store while four clients push and delete, again
// and again, kills one run in the middle, and restores each kind of copy.
func TestBackupUnderLoad(t *testing.T) {
	seed := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d", seedVariable, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := harness.Start(t)
	dir := t.TempDir()
	l := startLoad(t, s, random)
	l.more(t, 20)

	last := backup(t, s, dir+"/copy")
	if last.Events != int(last.Sequence) {
		t.Errorf("the first run copied %d of %d events", last.Events, last.Sequence)
	}
	for range harness.Setting(t, roundsVariable, 2) {
		l.more(t, 8)
		next := backup(t, s, dir+"/copy")
		isIncrement(t, s, last, next)
		last = next
		l.more(t, 8)
		killedBackup(t, s, dir+"/killed", time.Duration(random.IntN(250))*time.Millisecond)
	}
	backup(t, s, dir+"/middle")
	l.more(t, 8)
	l.stop()

	last = backup(t, s, dir+"/copy")
	again := backup(t, s, dir+"/copy")
	if again.Sequence != last.Sequence || again.Events != 0 || again.Objects != 0 || again.Bytes != 0 {
		t.Errorf("with nothing new: %+v", again)
	}
	killed := backup(t, s, dir+"/killed")
	if killed.Log != last.Log || killed.Sequence != last.Sequence || killed.Chain != last.Chain {
		t.Errorf("the copies end with %+v and %+v", last, killed)
	}
	isWhole(t, s, l, dir+"/copy", last)
	isWhole(t, s, l, dir+"/killed", killed)
	isBeginning(t, s, dir+"/middle")
}

// isIncrement checks that a run copied what is between the two heads and no
// more.
func isIncrement(t *testing.T, s *harness.Server, last, next result) {
	t.Helper()
	events, err := s.Events(last.Sequence)
	harness.Must(t, err)
	objects := 0
	for _, e := range events[:next.Sequence-last.Sequence] {
		var payload struct{ Receipt, To struct{ Store string } }
		if e.Kind == "v1.blob.stored" || e.Kind == "v1.blob.moved" {
			harness.Must(t, json.Unmarshal(e.Payload, &payload))
		}
		if payload.Receipt.Store == "files" || payload.To.Store == "files" {
			objects++
		}
	}
	if next.Sequence <= last.Sequence || next.Events != int(next.Sequence-last.Sequence) || next.Objects != objects || objects == 0 {
		t.Errorf("from %d to %d there are %d new objects; copied were %+v", last.Sequence, next.Sequence, objects, next)
	}
}

// killedBackup kills a run at some moment after it has begun to copy. What it
// leaves is a store, and a beginning of the source's.
func killedBackup(t *testing.T, s *harness.Server, to string, after time.Duration) {
	t.Helper()
	cmd := harness.Command(t, "backup", "--data", s.Data(), "--to", to)
	progress, err := cmd.StderrPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	lines := bufio.NewScanner(progress)
	if !lines.Scan() || !strings.Contains(lines.Text(), " events; ") {
		t.Errorf("the first line is %q (%v)", lines.Text(), lines.Err())
	}
	time.Sleep(after) // the moment of the kill, not a wait for something
	if err := cmd.Process.Kill(); err != nil {
		t.Logf("it had ended before it was killed: %v", err)
	}
	_ = cmd.Wait() // it was killed
	verb(t, "rebuild", "--check", "--data", to)
	have := logOf(t, to)
	if !strings.HasPrefix(logOf(t, s.Data()), have) {
		t.Error("what the killed run left is not a beginning of the log")
	}
	t.Logf("killed after %v, with %d events", after, strings.Count(have, "\n"))
}

// isWhole starts a server on a copy and compares it with its source.
func isWhole(t *testing.T, s *harness.Server, l *load, copied string, r result) {
	t.Helper()
	if logOf(t, copied) != logOf(t, s.Data()) {
		t.Error("the logs differ")
	}
	head := fmt.Sprintf("log %s: %d events, running hash %s\n", r.Log, r.Sequence, r.Chain)
	views := verb(t, "rebuild", "--check", "--data", copied)
	if !strings.HasPrefix(views, head) {
		t.Errorf("the check of the copy says\n%s\nnot\n%s", views, head)
	}
	if of := verb(t, "rebuild", "--check", "--data", s.Data()); of != views {
		t.Errorf("the check of the source says\n%s\nthat of the copy\n%s", of, views)
	}
	restored := restore(t, copied)
	l.check(t, restored)
	// It goes on as a store of its own.
	harness.Must(t, harness.NewImage(1, 2, 100_000).Push(t.Context(), restored.Client(), "backup/new", "v1"))
}

// isBeginning starts a server on a copy that was made under load: its log is a
// beginning of the source's, and everything that the log names can be read.
func isBeginning(t *testing.T, s *harness.Server, copied string) {
	t.Helper()
	log := logOf(t, copied)
	if whole := logOf(t, s.Data()); !strings.HasPrefix(whole, log) || log == whole {
		t.Error("the log of the copy is not a beginning of the source's")
	}
	restored := restore(t, copied)
	events, err := restored.Events(0)
	harness.Must(t, err)
	sha256 := map[string]string{} // by primary digest
	linked := map[string]string{} // primary digests of blobs and manifests, by path
	for _, e := range events {
		var p struct {
			Digests                    []string
			Repository, Blob, Manifest string
		}
		harness.Must(t, json.Unmarshal(e.Payload, &p))
		blob, manifest := "/v2/"+p.Repository+"/blobs/"+p.Blob, "/v2/"+p.Repository+"/manifests/"+p.Manifest
		switch e.Kind {
		case "v1.blob.stored":
			sha256[p.Digests[0]] = p.Digests[1]
		case "v1.blob.linked":
			linked[blob] = p.Blob
		case "v1.blob.unlinked":
			delete(linked, blob)
		case "v1.manifest.put":
			linked[manifest] = p.Manifest
		case "v1.manifest.deleted":
			delete(linked, manifest)
		}
	}
	if len(linked) < 50 {
		t.Errorf("the log names only %d things", len(linked))
	}
	for path, primary := range linked {
		readable(t, restored, path, sha256[primary])
	}
	if _, err := restored.CheckReplay(); err != nil {
		t.Error(err)
	}
}
