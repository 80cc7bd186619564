// Package crash_test kills the server at random moments and checks that it
// kept what it had acknowledged.
//
// A killed process loses nothing that it gave to the operating system, so
// these tests are about the order of writes and about recovery, not about
// flushes.
package crash_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Environment variables of this package's tests.
const (
	roundsVariable = "CONFORMANCE_CRASH_ROUNDS" // how often to kill; default 5
	seedVariable   = "CONFORMANCE_SEED"         // of all that is random; default from the clock
)

const writers = 4

// writer pushes images, one after the other, into a repository of its own.
// Its image number i follows from its seed and i. Every image gets a tag of its
// own, and moves the tag "latest".
type writer struct {
	repository string
	seed       uint64
	pushed     uint64 // images that were acknowledged, all tags included
}

const layers, layerSize = 3, 4 << 10

func (w *writer) image(i uint64) *harness.Image {
	// Every fourth image has layers above the limit up to which bytes are
	// kept in the database.
	size := layerSize
	if i%4 == 3 {
		size = 80 << 10
	}
	return harness.NewImage(w.seed<<32+i, layers, size)
}

func tagOf(i uint64) string { return fmt.Sprintf("v%d", i) }

// push pushes until the server is gone. Its error is a refusal of the server.
func (w *writer) push(ctx context.Context, c *harness.Client) error {
	for ctx.Err() == nil {
		image := w.image(w.pushed)
		for _, tag := range []string{tagOf(w.pushed), "latest"} {
			reply, err := w.pushTag(ctx, c, image, tag)
			if err != nil {
				return nil // killed in the middle: nothing was acknowledged
			}
			if err := reply.Expect(http.StatusCreated); err != nil {
				return fmt.Errorf("%s:%s: %w", w.repository, tag, err)
			}
		}
		w.pushed++
	}
	return nil
}

// pushTag pushes blobs and manifest and returns the first reply that is not
// 201, or the last. The error is that of the connection.
func (w *writer) pushTag(ctx context.Context, c *harness.Client, image *harness.Image, tag string) (harness.Reply, error) {
	for _, blob := range append([][]byte{image.Config}, image.Layers...) {
		reply, err := c.Do(ctx, harness.Request{Method: http.MethodPost,
			Path: "/v2/" + w.repository + "/blobs/uploads/?digest=" + harness.SHA256(blob), Body: blob})
		if err != nil || reply.Status != http.StatusCreated {
			return reply, err
		}
	}
	return c.Do(ctx, harness.Request{Method: http.MethodPut, Path: "/v2/" + w.repository + "/manifests/" + tag,
		Header: map[string]string{"Content-Type": harness.ImageManifest}, Body: image.Manifest})
}

// check reads the acknowledged images from one on, and looks at the one that
// was being pushed.
func (w *writer) check(ctx context.Context, c *harness.Client, from uint64) error {
	for i := from; i < w.pushed; i++ {
		if err := w.checkImage(ctx, c, i); err != nil {
			return fmt.Errorf("image %d of %s, acknowledged and then lost: %w", i, w.repository, err)
		}
	}
	return w.checkLatest(ctx, c)
}

func (w *writer) checkImage(ctx context.Context, c *harness.Client, i uint64) error {
	image := w.image(i)
	if err := sameBytes(ctx, c, "/v2/"+w.repository+"/manifests/"+tagOf(i), image.Manifest); err != nil {
		return err
	}
	for _, blob := range append([][]byte{image.Config}, image.Layers...) {
		if err := sameBytes(ctx, c, "/v2/"+w.repository+"/blobs/"+harness.SHA256(blob), blob); err != nil {
			return err
		}
	}
	return nil
}

// checkLatest allows the last acknowledged image, and the next, of which the
// acknowledgement was lost. If the next can be seen it must be whole.
func (w *writer) checkLatest(ctx context.Context, c *harness.Client) error {
	reply, err := c.Get(ctx, "/v2/"+w.repository+"/manifests/latest")
	if err != nil {
		return err
	}
	if reply.Status == http.StatusOK && bytes.Equal(reply.Body, w.image(w.pushed).Manifest) {
		return w.checkImage(ctx, c, w.pushed)
	}
	if w.pushed == 0 {
		return reply.Expect(http.StatusNotFound)
	}
	if err := reply.Expect(http.StatusOK); err != nil {
		return err
	}
	if !bytes.Equal(reply.Body, w.image(w.pushed-1).Manifest) {
		return fmt.Errorf("the tag latest of %s is neither image %d nor the one before it", w.repository, w.pushed)
	}
	return nil
}

func sameBytes(ctx context.Context, c *harness.Client, path string, want []byte) error {
	reply, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	if err := reply.Expect(http.StatusOK); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !bytes.Equal(reply.Body, want) {
		return fmt.Errorf("%s: %d bytes that were not pushed", path, len(reply.Body))
	}
	return nil
}

// TestKilledUnderWriters kills the server at a random moment while four
// writers push, restarts it, and looks for everything that was acknowledged.
func TestKilledUnderWriters(t *testing.T) {
	rounds := harness.Setting(t, roundsVariable, 5)
	seed := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d", seedVariable, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := harness.Start(t)
	var team []*writer
	for i := range writers {
		team = append(team, &writer{repository: fmt.Sprintf("crash/writer%d", i), seed: random.Uint64() >> 40})
	}
	slowest := time.Duration(0)
	for round := range rounds {
		before := pushedBy(team)
		killUnder(t, s, team, time.Duration(20+random.IntN(400))*time.Millisecond)
		started := time.Now()
		harness.Must(t, s.Start())
		slowest = max(slowest, time.Since(started))
		checkAll(t, s, team, before)
		if t.Failed() {
			t.Fatalf("after %d rounds; %s=%d repeats the images and times", round+1, seedVariable, seed)
		}
	}
	checkAll(t, s, team, make([]uint64, len(team)))
	total := uint64(0)
	for _, n := range pushedBy(team) {
		total += n
	}
	if total == 0 {
		t.Error("no image was pushed at all")
	}
	fmt.Printf("crash: %d kills, %d acknowledged images, none lost; slowest start %v\n", rounds, total, slowest.Round(time.Millisecond))
}

func pushedBy(team []*writer) []uint64 {
	var pushed []uint64
	for _, w := range team {
		pushed = append(pushed, w.pushed)
	}
	return pushed
}

// killUnder lets the writers push for a while and kills the server.
func killUnder(t *testing.T, s *harness.Server, team []*writer, after time.Duration) {
	t.Helper()
	client := s.Client()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for _, w := range team {
		wait.Go(func() {
			if err := w.push(ctx, client); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(after) // the moment of the kill, not a wait for something
	harness.Must(t, s.Kill())
	wait.Wait()
	cancel()
}

// checkAll checks all writers' images, each from a number on.
func checkAll(t *testing.T, s *harness.Server, team []*writer, from []uint64) {
	t.Helper()
	client := s.Client()
	defer client.Close()
	var wait sync.WaitGroup
	for i, w := range team {
		wait.Go(func() {
			if err := w.check(t.Context(), client, from[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}
