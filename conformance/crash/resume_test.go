package crash_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestUploadResumesAfterAKill sends a blob in chunks, kills the server between
// and within them, and goes on after each restart at the offset that the
// server names.
func TestUploadResumesAfterAKill(t *testing.T) {
	tests := []struct {
		name   string
		size   int
		digest func([]byte) string
	}{
		{"a small blob", 10_000, harness.SHA256},
		{"a blob that goes to the store", 3_000_000, harness.SHA256},
		{"a blob whose digest is SHA-512, said only at the end", 500_000, harness.SHA512},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			up := &upload{server: harness.Start(t), data: harness.Random(uint64(test.size), test.size)}
			up.start(t)
			const rounds, part = 4, 7 // so that something is left for the end
			for range rounds {
				up.send(t, test.size/part)
				up.killAndRestart(t)
				up.cut(t, test.size/part/2)
			}
			up.finish(t, test.digest(up.data))
		})
	}
}

// TestUploadEndsBeforeTheKill asks for the result of a finished upload again
// after a restart: the answer is the same.
func TestUploadEndsBeforeTheKill(t *testing.T) {
	up := &upload{server: harness.Start(t), data: harness.Random(7, 200_000)}
	up.start(t)
	up.send(t, 100_000)
	ended := up.location
	up.finish(t, harness.SHA256(up.data))
	harness.Must(t, up.server.Kill())
	harness.Must(t, up.server.Start())
	reply, err := up.server.Client().Do(t.Context(), harness.Request{Method: http.MethodPut,
		Path: harness.AddQuery(ended, "digest", harness.SHA256(up.data))})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusCreated))
}

// upload is one chunked upload and what is known of it.
type upload struct {
	server   *harness.Server
	data     []byte
	location string
	offset   int // bytes that the server has acknowledged
}

func (u *upload) start(t *testing.T) {
	t.Helper()
	location, err := u.server.Client().StartUpload(t.Context(), "crash/upload")
	harness.Must(t, err)
	u.location = location
}

// send sends a chunk and waits for the answer.
func (u *upload) send(t *testing.T, size int) {
	t.Helper()
	end := min(u.offset+size, len(u.data))
	reply, err := u.server.Client().SendChunk(t.Context(), u.location, int64(u.offset), u.data[u.offset:end])
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusAccepted))
	u.location, u.offset = reply.Header.Get("Location"), end
}

// killAndRestart kills the server and checks that it knows where it stood.
func (u *upload) killAndRestart(t *testing.T) {
	t.Helper()
	harness.Must(t, u.server.Kill())
	harness.Must(t, u.server.Start())
	u.learnOffset(t, u.offset, u.offset)
}

// learnOffset asks the server how far the upload has come, which must be
// between least and most.
func (u *upload) learnOffset(t *testing.T, least, most int) {
	t.Helper()
	reply, err := u.server.Client().Get(t.Context(), u.location)
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusNoContent))
	offset, err := reply.UploadOffset()
	harness.Must(t, err)
	if int(offset) < least || int(offset) > most {
		t.Fatalf("the upload stands at %d; %d bytes were acknowledged, %d sent", offset, least, most)
	}
	u.offset = int(offset)
	if location := reply.Header.Get("Location"); location != "" {
		u.location = location
	}
}

// cut kills the server while it is receiving a chunk, of which size bytes are
// sent and the rest never.
func (u *upload) cut(t *testing.T, size int) {
	t.Helper()
	part := u.data[u.offset:min(u.offset+size, len(u.data))]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	body, sent := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.server.URL()+u.location, body)
	harness.Must(t, err)
	req.Header.Set("Content-Type", "application/octet-stream")
	answered := make(chan error, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			err = fmt.Errorf("a chunk without an end was answered with %d: %w", resp.StatusCode, resp.Body.Close())
			answered <- err
			return
		}
		answered <- nil
	}()
	_, err = io.Copy(sent, bytes.NewReader(part))
	harness.Must(t, err)
	harness.Must(t, u.server.Kill())
	harness.Must(t, sent.CloseWithError(io.ErrUnexpectedEOF))
	if err := <-answered; err != nil {
		t.Error(err)
	}
	harness.Must(t, u.server.Start())
	u.learnOffset(t, u.offset, u.offset+len(part))
}

// finish sends the rest with the digest and reads the blob.
func (u *upload) finish(t *testing.T, digest string) {
	t.Helper()
	client := u.server.Client()
	rest := u.data[u.offset:]
	reply, err := client.Do(t.Context(), harness.Request{Method: http.MethodPut,
		Path:   harness.AddQuery(u.location, "digest", digest),
		Header: harness.ChunkHeader(int64(u.offset), len(rest)), Body: rest})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusCreated))
	if got := reply.Header.Get("Docker-Content-Digest"); got != digest {
		t.Errorf("the blob was pushed as %s and answered as %s", digest, got)
	}
	harness.Must(t, sameBytes(t.Context(), client, "/v2/crash/upload/blobs/"+digest, u.data))
}
