package crash_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestFullDisk fills small disks. Pushes are refused while there is still room
// for the rest; nothing that was acknowledged is lost, reading and deleting go
// on, and when there is room again pushes are taken without a restart, and an
// upload that was stopped in its middle goes on.
func TestFullDisk(t *testing.T) {
	tests := []struct {
		name   string
		mib    int
		blobs  int // so many fit
		small  int // bytes of those that become content rows
		large  int // bytes of those that become objects
		upload int // bytes for which there is no room
	}{
		{"a disk of 2 MiB", 2, 16, 2_000, 70_000, 3 << 20},
		{"a disk of 32 MiB", 32, 100, 20_000, 200_000, 32 << 20},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			resize := smallDisk(t, dir, test.mib)
			d := &fullDisk{server: harness.StartIn(t, harness.Config{Data: dir + "/data"})}
			d.client = d.server.Client()
			for seed := range test.blobs {
				if !d.push(t, seed, []int{test.small, test.large}[seed%2]) {
					t.Fatalf("push %d is refused, with room", seed)
				}
			}
			up := d.uploadUntilFull(t, harness.Random(1, test.upload))
			d.refuses(t, up)
			d.reads(t)
			d.deletes(t)
			resize(4 * (test.mib + test.upload>>20))
			d.recovers(t, up)
			d.reads(t)
		})
	}
}

// smallDisk mounts a disk of so many MiB that the test can make larger.
func smallDisk(t *testing.T, dir string, mib int) (resize func(mib int)) {
	t.Helper()
	mount := func(options string, mib int) error {
		return exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("%ssize=%dm", options, mib), "tmpfs", dir).Run()
	}
	if mount("", mib) != nil {
		harness.Skip(t, "a small disk cannot be mounted: that takes root")
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Errorf("umount: %v", err)
		}
	})
	return func(mib int) { harness.Must(t, mount("remount,", mib)) }
}

// fullDisk is a server whose disk is being filled.
type fullDisk struct {
	server *harness.Server
	client *harness.Client
	kept   []string // digests of what was pushed, some of which
	gone   int      // were deleted
}

// push pushes a blob of its own and tells whether it was taken.
func (d *fullDisk) push(t *testing.T, seed, size int) bool {
	t.Helper()
	data := harness.Random(uint64(seed)+100, size)
	digest := harness.SHA256(data)
	reply, err := d.client.Do(t.Context(), harness.Request{Method: http.MethodPost,
		Path: "/v2/full/disk/blobs/uploads/?digest=" + digest, Body: data})
	harness.Must(t, err)
	if reply.Status == http.StatusCreated {
		d.kept = append(d.kept, digest)
		return true
	}
	harness.Must(t, full(reply))
	return false
}

// full returns an error unless a reply says in the OCI form that there is no room.
func full(reply harness.Reply) error {
	if reply.Status == http.StatusInsufficientStorage && reply.Code() == "STORAGE_FULL" {
		return nil
	}
	return fmt.Errorf("status %d, not a refusal for want of room: %.500s", reply.Status, reply.Body)
}

// uploadUntilFull sends chunks of an upload until one is refused.
func (d *fullDisk) uploadUntilFull(t *testing.T, data []byte) *upload {
	t.Helper()
	up := &upload{server: d.server, data: data}
	up.start(t)
	const chunk = 200_000
	for up.offset < len(data) {
		part := data[up.offset:min(up.offset+chunk, len(data))]
		reply, err := d.client.SendChunk(t.Context(), up.location, int64(up.offset), part)
		harness.Must(t, err)
		if reply.Status != http.StatusAccepted {
			harness.Must(t, full(reply))
			return up
		}
		up.location, up.offset = reply.Header.Get("Location"), up.offset+len(part)
	}
	t.Fatalf("a disk that is too small took %d bytes", len(data))
	return nil
}

// refuses checks what is not taken now: blobs of any size, a manifest, more of
// an upload. The server is alive, and not ready.
func (d *fullDisk) refuses(t *testing.T, up *upload) {
	t.Helper()
	refused := 0 // in a row: what is small may find room where a chunk did not
	for seed := 1000; refused < 20; seed++ {
		refused++
		if d.push(t, seed, []int{20_000, 100_000}[seed%2]) {
			refused = 0
		}
		if seed == 2000 {
			t.Fatal("a disk that must be full takes pushes")
		}
	}
	for _, r := range []harness.Request{
		{Method: http.MethodPost, Path: "/v2/full/disk/blobs/uploads/"},
		{Method: http.MethodPut, Path: "/v2/full/disk/manifests/v1", Header: map[string]string{"Content-Type": harness.ImageIndex},
			Body: harness.Encode(harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex, Manifests: []harness.Descriptor{}})},
	} {
		reply, err := d.client.Do(t.Context(), r)
		harness.Must(t, err)
		if err := full(reply); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.Path, err)
		}
	}
	d.expect(t, "/readyz", http.StatusServiceUnavailable)
	d.expect(t, "/livez", http.StatusOK)
}

func (d *fullDisk) expect(t *testing.T, path string, status int) {
	t.Helper()
	reply, err := d.client.Get(t.Context(), path)
	harness.Must(t, err)
	if err := reply.Expect(status); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// reads gets everything that was acknowledged and not deleted.
func (d *fullDisk) reads(t *testing.T) {
	t.Helper()
	for i, digest := range d.kept[d.gone:] {
		reply, err := d.client.Get(t.Context(), "/v2/full/disk/blobs/"+digest)
		harness.Must(t, err)
		if reply.Status != http.StatusOK || harness.SHA256(reply.Body) != digest {
			t.Fatalf("blob %d of %d: %d, %d bytes", i, len(d.kept), reply.Status, len(reply.Body))
		}
	}
}

// deletes deletes half of what is there.
func (d *fullDisk) deletes(t *testing.T) {
	t.Helper()
	for ; d.gone < len(d.kept)/2; d.gone++ {
		reply, err := d.client.Do(t.Context(), harness.Request{Method: http.MethodDelete, Path: "/v2/full/disk/blobs/" + d.kept[d.gone]})
		harness.Must(t, err)
		if err := reply.Expect(http.StatusAccepted); err != nil {
			t.Fatalf("delete %d of %d: %v", d.gone, len(d.kept), err)
		}
	}
	t.Logf("%d deletes taken", d.gone)
}

// recovers waits until pushes are taken again, and ends the upload.
func (d *fullDisk) recovers(t *testing.T, up *upload) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for seed := 10_000; !d.push(t, seed, 1000); seed++ {
		if time.Now().After(deadline) {
			t.Fatal("pushes are still refused, with room again")
		}
	}
	d.expect(t, "/readyz", http.StatusOK)
	if up.offset == 0 {
		t.Error("nothing of the upload was taken while there was room")
	}
	up.learnOffset(t, up.offset, len(up.data)-1)
	up.finish(t, harness.SHA256(up.data))
}
