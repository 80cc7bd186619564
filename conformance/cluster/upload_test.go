package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"artifactstore/conformance/harness"
)

// part is the size of the first parts of an upload in the bucket, by default.
const part = 8 << 20

// upload is a session that nodes take turns at.
type upload struct {
	t        *testing.T
	location string
	data     []byte
	offset   int
}

// start begins a session on a node.
func start(t *testing.T, on *harness.Client, data []byte) *upload {
	t.Helper()
	location, err := on.StartUpload(t.Context(), "team/app")
	harness.Must(t, err)
	return &upload{t: t, location: location, data: data}
}

// patch sends the next n bytes to a node.
func (u *upload) patch(on *harness.Client, n int) {
	u.t.Helper()
	reply, err := on.SendChunk(u.t.Context(), u.location, int64(u.offset), u.data[u.offset:u.offset+n])
	harness.Must(u.t, err)
	harness.Must(u.t, reply.Expect(http.StatusAccepted))
	u.location, u.offset = reply.Header.Get("Location"), u.offset+n
	u.stands(reply)
}

// stands checks what a node says of how far the session is.
func (u *upload) stands(reply harness.Reply) {
	u.t.Helper()
	offset, err := reply.UploadOffset()
	harness.Must(u.t, err)
	if want := max(u.offset, 1); int(offset) != want {
		u.t.Fatalf("the session stands at %d, not at %d", offset, want)
	}
}

// status asks a node how far the session is.
func (u *upload) status(on *harness.Client) {
	u.t.Helper()
	u.stands(get(u.t, on, u.location, http.StatusNoContent))
}

// put ends the session on a node with the rest of the bytes.
func (u *upload) put(on *harness.Client, digest string) harness.Reply {
	u.t.Helper()
	reply, err := on.Do(u.t.Context(), harness.Request{Method: http.MethodPut,
		Path: harness.AddQuery(u.location, "digest", digest), Body: u.data[u.offset:]})
	harness.Must(u.t, err)
	return reply
}

// served checks that every node has the blob.
func (u *upload) served(all []*harness.Client, digest string) {
	u.t.Helper()
	for i, c := range all {
		if err := hasBlob(u.t.Context(), c, "team/app", digest, u.data); err != nil {
			u.t.Errorf("node %d: %v", i+1, err)
		}
	}
}

// digests are how the tests name what they push, with and without a hint of it
// at the start: that is the way of most clients.
var digests = map[string]func([]byte) string{"SHA-256": harness.SHA256, "SHA-512": harness.SHA512}

// TestUploadIsHandedFromNodeToNode: no request of a session comes to the node
// that had the one before.
func TestUploadIsHandedFromNodeToNode(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	all := clients(t, c)
	for name, digest := range digests {
		t.Run(name, func(t *testing.T) {
			u := start(t, all[0], harness.Random(uint64(len(name)+int(name[4])), 2*part+part/2+6_000))
			u.status(all[1])
			u.patch(all[1], 2*part+1) // more than two parts, with a tail that no part can be
			u.status(all[2])
			for i := range 5 { // which are no parts either
				u.patch(all[(2+i)%3], 1_000)
			}
			u.patch(all[2], part/2-1)
			u.status(all[0])
			if reply := u.put(all[0], digest(u.data)); reply.Status != http.StatusCreated || reply.Header.Get("Docker-Content-Digest") != digest(u.data) {
				t.Fatalf("finished with %d, %v: %s", reply.Status, reply.Header, reply.Body)
			}
			u.served(all, digest(u.data))
			// A client that lost the answer asks another node.
			u.offset = len(u.data)
			harness.Must(t, u.put(all[1], digest(u.data)).Expect(http.StatusCreated))
		})
	}
	t.Run("of few bytes", func(t *testing.T) {
		u := start(t, all[0], harness.Random(3, 200_000)) // at first below, in the end above the inline limit
		for i := range 8 {
			u.patch(all[i%3], 20_000)
			u.status(all[(i+1)%3])
		}
		harness.Must(t, u.put(all[1], harness.SHA256(u.data)).Expect(http.StatusCreated))
		u.served(all, harness.SHA256(u.data))
	})
	if left := c.S3.Uploads(t, c.S3.Bucket); len(left) != 0 {
		t.Errorf("parts are left in the bucket: %v", left)
	}
}

// TestNodeDiesDuringAnUpload: what the node has acknowledged is there, and other
// nodes go on from it.
func TestNodeDiesDuringAnUpload(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	all := clients(t, c)
	dying := c.Nodes[1]
	for name, digest := range digests {
		t.Run("between chunks, "+name, func(t *testing.T) {
			u := start(t, all[0], harness.Random(uint64(name[4])+100, 3*part))
			u.patch(all[1], part+part/2)
			u.patch(all[1], 70_000)
			harness.Must(t, dying.Kill())
			u.status(all[2])
			u.patch(all[2], 50_000)
			u.patch(all[0], part)
			harness.Must(t, u.put(all[2], digest(u.data)).Expect(http.StatusCreated))
			harness.Must(t, dying.Start())
			u.served(all, digest(u.data))
		})
		t.Run("in the middle of a chunk, "+name, func(t *testing.T) {
			u := start(t, all[0], harness.Random(uint64(name[4])+200, 4*part))
			u.patch(all[1], part+1_000)
			body, failed, _ := stream(t, dying.URL()+u.location, u.offset, len(u.data)-u.offset)
			_, err := body.Write(u.data[u.offset : u.offset+2*part])
			harness.Must(t, err)
			harness.Must(t, dying.Kill())
			harness.Must(t, body.CloseWithError(errors.New("the node is gone")))
			if err := <-failed; err == nil {
				t.Fatal("a request to a dead node was answered")
			}
			// A chunk with a range is taken whole or not at all.
			u.status(all[2])
			u.patch(all[2], 30_000)
			harness.Must(t, dying.Start())
			u.patch(all[1], part)
			harness.Must(t, u.put(all[0], digest(u.data)).Expect(http.StatusCreated))
			u.served(all, digest(u.data))
		})
	}
	if left := c.S3.Uploads(t, c.S3.Bucket); len(left) != 0 {
		t.Errorf("parts are left in the bucket: %v", left)
	}
}

// waitsForLeave sends no byte of a body before the node asks for it.
var waitsForLeave = &http.Transport{ExpectContinueTimeout: patience, DisableKeepAlives: true}

// stream begins a PATCH whose body the test writes, when the node reads. failed gets why there was no
// answer; if there is one, it gets nil and the answer goes to replies.
func stream(t *testing.T, url string, offset, length int) (*io.PipeWriter, <-chan error, <-chan harness.Reply) {
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url, r)
	harness.Must(t, err)
	req.ContentLength = int64(length)
	for name, value := range harness.ChunkHeader(int64(offset), length) {
		req.Header.Set(name, value)
	}
	req.Header.Set("Expect", "100-continue")
	failed, replies := make(chan error, 1), make(chan harness.Reply, 1)
	go func() {
		resp, err := waitsForLeave.RoundTrip(req)
		if err == nil {
			var answer []byte
			answer, err = io.ReadAll(resp.Body)
			err = errors.Join(err, resp.Body.Close())
			replies <- harness.Reply{Status: resp.StatusCode, Header: resp.Header, Body: answer}
		}
		_ = r.CloseWithError(errors.New("the request has ended")) // it never fails
		failed <- err
	}()
	return w, failed, replies
}

// TestTwoNodesRaceOnOneSession: of two chunks for the same place one is taken,
// and the other one is told where the session stands.
func TestTwoNodesRaceOnOneSession(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	all := clients(t, c)
	rounds := harness.Setting(t, roundsVariable, 8)
	const chunk = 100_000
	for _, before := range []int{0, 10_000, part + 5} {
		t.Run(fmt.Sprintf("after %d bytes", before), func(t *testing.T) {
			for round := range rounds {
				u := start(t, all[0], harness.Random(round<<8+1, before))
				if before > 0 {
					u.patch(all[0], before)
				}
				rivals := [][]byte{harness.Random(round<<8+2, chunk), harness.Random(round<<8+3, chunk)}
				won := race(t, all, u, rivals)
				u.data = append(u.data, rivals[won]...)
				u.offset = len(u.data)
				u.status(all[0])
				u.status(all[1])
				digest := harness.SHA256(u.data)
				harness.Must(t, u.put(all[round%2], digest).Expect(http.StatusCreated))
				u.served(all, digest)
			}
		})
	}
}

// race sends a chunk to each of two nodes at once, and returns whose was taken.
func race(t *testing.T, all []*harness.Client, u *upload, rivals [][]byte) int {
	t.Helper()
	replies, failures := make([]harness.Reply, len(rivals)), make([]error, len(rivals))
	together(len(rivals), func(i int) {
		replies[i], failures[i] = all[i].SendChunk(t.Context(), u.location, int64(u.offset), rivals[i])
	})
	harness.Must(t, errors.Join(failures...))
	won := slices.IndexFunc(replies, func(r harness.Reply) bool { return r.Status == http.StatusAccepted })
	if won < 0 {
		t.Fatalf("neither was taken: %d %s, %d %s", replies[0].Status, replies[0].Body, replies[1].Status, replies[1].Body)
	}
	lost := replies[1-won]
	harness.Must(t, lost.Expect(http.StatusRequestedRangeNotSatisfiable))
	offset, err := lost.UploadOffset()
	harness.Must(t, err)
	// The winner may not have saved its chunk yet, or not all of it.
	if int(offset) < max(1, u.offset) || int(offset) > u.offset+len(rivals[won]) {
		t.Errorf("the loser was told that the session stands at %d; it stood at %d and then at %d", offset, u.offset, u.offset+len(rivals[won]))
	}
	return won
}

// TestTwoNodesFinishOneSession: a client whose PUT seems lost sends it to
// another node while the first is still at it.
func TestTwoNodesFinishOneSession(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	all := clients(t, c)
	for round := range harness.Setting(t, roundsVariable, 12) {
		u := start(t, all[0], harness.Random(round<<8+7, 1_000+int(round%3)*part/2))
		u.patch(all[1], len(u.data))
		digest := harness.SHA256(u.data)
		replies := make([]harness.Reply, len(all))
		failures := make([]error, len(all))
		together(len(all), func(i int) {
			replies[i], failures[i] = all[i].Do(t.Context(), harness.Request{Method: http.MethodPut, Path: harness.AddQuery(u.location, "digest", digest)})
		})
		harness.Must(t, errors.Join(failures...))
		done := 0
		for _, reply := range replies {
			harness.Must(t, reply.Expect(http.StatusCreated, http.StatusRequestedRangeNotSatisfiable))
			if reply.Status == http.StatusCreated {
				done++
			}
		}
		if done == 0 {
			t.Fatalf("neither finished: %d %s, %d %s", replies[0].Status, replies[0].Body, replies[1].Status, replies[1].Body)
		}
		for _, on := range all {
			harness.Must(t, u.put(on, digest).Expect(http.StatusCreated))
		}
		u.served(all, digest)
	}
	if left := c.S3.Uploads(t, c.S3.Bucket); len(left) != 0 {
		t.Errorf("parts are left in the bucket: %v", left)
	}
}

// TestUploadIsCancelledOnAnotherNode: also while one is writing. Nothing of it
// stays in the bucket.
func TestUploadIsCancelledOnAnotherNode(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	all := clients(t, c)
	cancel := func(t *testing.T, on *harness.Client, u *upload) {
		t.Helper()
		reply, err := on.Do(t.Context(), harness.Request{Method: http.MethodDelete, Path: u.location})
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusNoContent))
	}
	gone := func(t *testing.T, u *upload) {
		t.Helper()
		for _, on := range all {
			if reply := get(t, on, u.location, http.StatusNotFound); reply.Code() != "BLOB_UPLOAD_UNKNOWN" {
				t.Errorf("a cancelled session is answered with %s", reply.Body)
			}
			harness.Must(t, u.put(on, harness.SHA256(u.data)).Expect(http.StatusNotFound))
		}
		if left := append(c.S3.Uploads(t, c.S3.Bucket), c.S3.Content(t, c.S3.Bucket)...); len(left) != 0 {
			t.Errorf("in the bucket is left: %v", left)
		}
	}
	t.Run("between chunks", func(t *testing.T) {
		u := start(t, all[0], harness.Random(1, part+part/2))
		u.patch(all[0], len(u.data))
		cancel(t, all[1], u)
		gone(t, u)
	})
	t.Run("before the first", func(t *testing.T) {
		u := start(t, all[0], nil)
		cancel(t, all[1], u)
		gone(t, u)
	})
	t.Run("in the middle of one", func(t *testing.T) {
		u := start(t, all[0], harness.Random(2, 4*part))
		u.patch(all[0], part+7)
		body, failed, replies := stream(t, c.Nodes[0].URL()+u.location, u.offset, len(u.data)-u.offset)
		_, err := body.Write(u.data[u.offset : u.offset+part+part/2])
		harness.Must(t, err)
		cancel(t, all[1], u)
		_, err = io.Copy(body, bytes.NewReader(u.data[u.offset+part+part/2:]))
		t.Logf("the rest of the body: %v", err) // the node may answer before it has all
		// An answer that comes before all was sent can be lost with the connection.
		if err := <-failed; err != nil {
			t.Logf("the request: %v", err)
		} else {
			harness.Must(t, (<-replies).Expect(http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable))
		}
		gone(t, u)
	})
}

// TestDigestIsWrongOnOneNodeAndRightOnAnother: the session stands where it stood.
// The exception is a SHA-512 that nobody expected, of bytes in several parts: S3
// lets nobody read parts, so they are an object by then, and the client begins
// anew.
func TestDigestIsWrongOnOneNodeAndRightOnAnother(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	all := clients(t, c)
	for name, size := range map[string]int{"inline": 5_000, "one part": 300_000, "several parts": 2*part + 11} {
		for digestName, digest := range digests {
			t.Run(name+", "+digestName, func(t *testing.T) {
				u := start(t, all[0], harness.Random(uint64(size)+uint64(digestName[4]), size))
				u.patch(all[1], size*2/3)
				wrong := []*harness.Client{all[0], all[1]}
				if size > part && digestName == "SHA-512" {
					wrong = wrong[:1]
				}
				for i, on := range wrong { // with the rest of the bytes
					reply := u.put(on, digest([]byte("other bytes")))
					if reply.Status != http.StatusBadRequest || reply.Code() != "DIGEST_INVALID" {
						t.Fatalf("a wrong digest is answered with %d: %s", reply.Status, reply.Body)
					}
					u.status(all[1-i])
				}
				if len(wrong) == 1 {
					harness.Must(t, u.put(all[1], digest(u.data)).Expect(http.StatusNotFound))
					u = start(t, all[0], u.data)
				}
				harness.Must(t, u.put(all[1], digest(u.data)).Expect(http.StatusCreated))
				u.served(all, digest(u.data))
			})
		}
	}
	if left := c.S3.Uploads(t, c.S3.Bucket); len(left) != 0 {
		t.Errorf("parts are left in the bucket: %v", left)
	}
}
