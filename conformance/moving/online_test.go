package moving_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// Environment variables of this package's tests.
const (
	roundsVariable = "CONFORMANCE_MOVING_ROUNDS" // how often a copy is killed; default 3
	seedVariable   = "CONFORMANCE_SEED"          // of all that is random; default from the clock
)

// load is four clients that push images until they are stopped.
type load struct {
	world *world
	mu    sync.Mutex // guards world and done
	done  int
	stop  func()
}

func startLoad(t *testing.T, url string, seed uint64) *load {
	l := &load{world: newWorld()}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for writer := range uint64(4) {
		wait.Go(func() {
			c := harness.NewClient(url)
			defer c.Close()
			for n := uint64(0); ctx.Err() == nil; n++ {
				size := []int{3000, 90_000}[n%2]
				if n%16 == 7 {
					size = 6 << 20
				}
				image := harness.NewImage(seed<<24+writer<<16+n, 2, size)
				repository, tag := fmt.Sprintf("moving/writer%d", writer), fmt.Sprintf("v%d", n)
				if err := image.Push(t.Context(), c, repository, tag); err != nil {
					t.Error(err)
					return
				}
				l.acknowledge(image, repository, tag)
			}
		})
	}
	l.stop = func() { cancel(); wait.Wait() }
	t.Cleanup(l.stop)
	return l
}

func (l *load) acknowledge(image *harness.Image, repository, tag string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	path := "/v2/" + repository
	l.world.want[path+"/manifests/"+tag] = image.Digest
	for _, blob := range append([][]byte{image.Config}, image.Layers...) {
		l.world.want[path+"/blobs/"+harness.SHA256(blob)] = harness.SHA256(blob)
	}
}

// more waits until some more images were pushed.
func (l *load) more(t *testing.T, images int) {
	t.Helper()
	pushed := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.done
	}
	want, deadline := pushed()+images, time.Now().Add(time.Minute)
	for pushed() < want {
		if time.Now().After(deadline) || t.Failed() {
			t.Fatalf("%d images were pushed, not %d", pushed(), want)
		}
		time.Sleep(5 * time.Millisecond) // polling, within the deadline
	}
}

// moveOnline copies while clients push, and once more when the source is
// stopped.
func moveOnline(t *testing.T, url, from, to string, stop func()) *world {
	t.Helper()
	l := startLoad(t, url, harness.Setting(t, seedVariable, uint64(time.Now().UnixNano()))&0xffff)
	for range 2 {
		l.more(t, 8)
		r := tryCopy(t, from, to)
		if r.code == 1 {
			has(t, r.all, "the store goes on: it has ", "stop its nodes and run copy again")
		}
		if r.code > 1 || r.Sequence == 0 || r.Damaged != 0 {
			t.Fatalf("exit code %d, %+v\n%s", r.code, r, r.all)
		}
		if !strings.HasPrefix(logOf(t, from), logOf(t, to)) {
			t.Fatal("the log of the copy is not a beginning of the source's")
		}
		verb(t, "rebuild", "--check", "--config", to)
	}
	l.more(t, 8)
	l.stop()
	stop()
	if r := move(t, from, to); r.Events == 0 || r.Events == int(r.Sequence) {
		t.Errorf("the last run copied %d of %d events", r.Events, r.Sequence)
	}
	return l.world
}

func TestAServedStoreMovesToACluster(t *testing.T) {
	t.Parallel()
	from := harness.Place{Data: t.TempDir() + "/data"}.Make(t)
	database, bucket := harness.StartPostgres(t), harness.StartS3(t)
	to := harness.Place{Postgres: database, S3: bucket}.Config(t)
	s := serve(t, from)
	w := moveOnline(t, s.URL(), from, to, func() { harness.Must(t, s.Stop()) })

	c := harness.StartCluster(t, 2, harness.ClusterOptions{Postgres: database, S3: bucket})
	w.check(t, c.Client())
	w.push(t, c.Client(), 1)
	w.check(t, c.Client())
}

func TestAClusterMovesIntoAFolder(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	to := harness.Place{Data: t.TempDir() + "/data"}.Config(t)
	w := moveOnline(t, c.URL, c.Config, to, func() {
		for _, node := range c.Nodes {
			harness.Must(t, node.Stop())
		}
	})
	s := serve(t, to)
	w.check(t, s.Client())
	w.push(t, s.Client(), 1)
	w.check(t, s.Client())
}

// TestAKilledCopyGoesOn kills copies at some moment, in both directions. Each is
// a store, and the last run has everything, and leaves nothing else behind.
func TestAKilledCopyGoesOn(t *testing.T) {
	t.Parallel()
	seed := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d repeats this", seedVariable, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := int(harness.Setting(t, roundsVariable, 3))
	database, bucket := harness.StartPostgres(t), harness.StartS3(t)
	first := harness.Place{Data: t.TempDir() + "/data"}
	second := harness.Place{Postgres: database, S3: bucket, Prefix: "killed"}
	third := harness.Place{Data: t.TempDir() + "/back"}
	files := []string{first.Make(t), second.Config(t), third.Config(t)}

	w := newWorld()
	s := serve(t, files[0])
	for n := range uint64(4) {
		w.push(t, s.Client(), n)
	}
	harness.Must(t, s.Stop())
	for i, from := range files[:2] {
		to := files[i+1]
		for round := range rounds {
			killCopy(t, from, to, time.Duration(random.IntN(400))*time.Millisecond)
			if i == 0 && round > 0 { // the first one is waited for
				database.SQL(t, "UPDATE nodes SET seen = 0")
			}
			verb(t, "rebuild", "--check", "--config", to)
			if !strings.HasPrefix(logOf(t, from), logOf(t, to)) {
				t.Error("what the killed copy left is not a beginning of the log")
			}
		}
		move(t, from, to)
	}
	s = serve(t, files[2])
	w.check(t, s.Client())
	if left := bucket.Uploads(t, bucket.Bucket); len(left) > 0 {
		t.Errorf("parts are left of %q", left)
	}
	want := objectsOf(t, first.Data)
	if got := objectsOf(t, third.Data); got != want {
		t.Errorf("there are %d files, not %d", got, want)
	}
	if got := len(bucket.Content(t, bucket.Bucket)); got != want {
		t.Errorf("there are %d keys, not %d", got, want)
	}
}

// killCopy kills a copy some time after it has begun.
func killCopy(t *testing.T, from, to string, after time.Duration) {
	t.Helper()
	cmd := harness.Command(t, "copy", "--from", from, "--to", to)
	progress, err := cmd.StderrPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	lines := bufio.NewScanner(progress)
	for lines.Scan() && !strings.Contains(lines.Text(), " events; ") {
		if !strings.Contains(lines.Text(), "other nodes have the store open") {
			t.Errorf("the copy printed %q", lines.Text())
		}
	}
	time.Sleep(after) // the moment of the kill, not a wait for something
	if err := cmd.Process.Kill(); err != nil {
		t.Logf("it had ended before it was killed: %v", err)
	}
	_ = cmd.Wait() // it was killed
}

// objectsOf counts the files of objects in a data folder, staged ones too.
func objectsOf(t *testing.T, data string) (n int) {
	t.Helper()
	harness.Must(t, filepath.WalkDir(filepath.Join(data, "store"), func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != "layout" && e.Name() != "owner" {
			n++
		}
		return err
	}))
	return n
}
