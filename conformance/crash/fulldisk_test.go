package crash_test

import (
	"context"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestFullDisk fills a small disk. Pushes are refused from the reserve on;
// nothing that was acknowledged is lost, reading and deleting go on, and when
// there is room again pushes are taken without a restart.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount := func(options string) error {
		return exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).Run()
	}
	if mount("size=32m") != nil {
		harness.Skip(t, "a small disk cannot be mounted: that takes root")
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Errorf("umount: %v", err)
		}
	})
	s, err := harness.Open(harness.Config{Data: dir + "/data"})
	harness.Must(t, err)
	t.Cleanup(func() {
		if _, err := s.CheckReplay(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = s.Stop() })
	c := s.Client()
	ctx := context.Background()

	var kept []string
	seed := uint64(0)
	push := func() int {
		seed++
		size := 20_000 // a content row
		if seed%2 == 0 {
			size = 200_000 // an object
		}
		data := harness.Random(seed, size)
		digest := harness.SHA256(data)
		reply, err := c.Do(ctx, harness.Request{Method: http.MethodPost,
			Path: "/v2/full/disk/blobs/uploads/?digest=" + digest, Body: data})
		harness.Must(t, err)
		if reply.Status == http.StatusCreated {
			kept = append(kept, digest)
		} else if reply.Status != http.StatusInsufficientStorage || reply.Code() != "STORAGE_FULL" {
			t.Fatalf("push %d: %d %s", seed, reply.Status, reply.Body)
		}
		return reply.Status
	}
	refused := 0
	for range 1000 {
		if push() != http.StatusCreated {
			refused++
		}
		if refused == 100 {
			break
		}
	}
	if refused < 100 || len(kept) < 20 {
		t.Fatalf("%d pushes taken, %d refused", len(kept), refused)
	}
	for i, digest := range kept {
		reply, err := c.Get(ctx, "/v2/full/disk/blobs/"+digest)
		harness.Must(t, err)
		if reply.Status != http.StatusOK || harness.SHA256(reply.Body) != digest {
			t.Fatalf("blob %d of %d: %d, %d bytes", i, len(kept), reply.Status, len(reply.Body))
		}
	}
	for _, digest := range kept[:10] {
		reply, err := c.Do(ctx, harness.Request{Method: http.MethodDelete, Path: "/v2/full/disk/blobs/" + digest})
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusAccepted))
	}
	harness.Must(t, mount("remount,size=64m"))
	deadline := time.Now().Add(10 * time.Second)
	for push() != http.StatusCreated {
		if time.Now().After(deadline) {
			t.Fatal("pushes are still refused, with room again")
		}
	}
}
