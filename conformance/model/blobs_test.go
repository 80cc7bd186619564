package model_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"

	"artifactstore/conformance/harness"
)

// pushDigest is the digest that a push names: SHA-512 now and then. The blob
// is known by it once the push has succeeded.
func (h *history) pushDigest(b *blob) string {
	if h.IntN(6) == 0 {
		return b.sha512
	}
	return b.sha256
}

// pushed checks the answer to a push and tells the model.
func (h *history) pushed(reply harness.Reply, r *repository, b *blob, digest string) error {
	if err := expect(reply, "push of a blob", http.StatusCreated, ""); err != nil {
		return err
	}
	if digest == b.sha512 {
		b.has512 = true
	}
	r.link(b)
	return expectHeader(reply, "push of a blob", "Docker-Content-Digest", digest)
}

// pushBlob pushes a blob in one request or two.
func (h *history) pushBlob(ctx context.Context) error {
	r, b := h.repository(), pick(h, h.blobs)
	digest := h.pushDigest(b)
	if h.IntN(2) == 0 {
		reply, err := h.do(ctx, harness.Request{Method: http.MethodPost, Body: b.data,
			Path: harness.AddQuery("/v2/"+r.name+"/blobs/uploads/", "digest", digest)})
		if err != nil {
			return err
		}
		return h.pushed(reply, r, b, digest)
	}
	location, err := h.open(ctx, r)
	if err != nil {
		return err
	}
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPut, Body: b.data, Stream: h.IntN(2) == 0,
		Path: harness.AddQuery(location, "digest", digest)})
	if err != nil {
		return err
	}
	return h.pushed(reply, r, b, digest)
}

// mountBlob mounts a blob from a repository or from anywhere.
func (h *history) mountBlob(ctx context.Context) error {
	r, b := h.repository(), pick(h, h.blobs)
	digest := h.digest(b)
	path := harness.AddQuery("/v2/"+r.name+"/blobs/uploads/", "mount", digest)
	held := h.model.holder(b)
	switch h.IntN(8) {
	case 0:
		path, held = harness.AddQuery(path, "from", "not/there"), false
	case 1, 2:
	default:
		from := h.repository()
		path, held = harness.AddQuery(path, "from", from.name), from.blobs[b]
	}
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPost, Path: path})
	if err != nil {
		return err
	}
	if !held {
		return expect(reply, "mount of what is not there", http.StatusAccepted, "")
	}
	if err := expect(reply, "mount", http.StatusCreated, ""); err != nil {
		return err
	}
	r.link(b)
	return expectHeader(reply, "mount", "Docker-Content-Digest", digest)
}

// readBlob reads a blob, a part of it, or its header.
func (h *history) readBlob(ctx context.Context) error {
	r, b := h.repository(), pick(h, h.blobs)
	return h.checkBlob(ctx, r, b, pick(h, []string{get, get, head}))
}

func (h *history) checkBlob(ctx context.Context, r *repository, b *blob, method string) error {
	digest := h.digest(b)
	request := harness.Request{Method: method, Path: "/v2/" + r.name + "/blobs/" + digest}
	want, status := b.data, http.StatusOK
	if method == get && len(b.data) > 1 && h.IntN(3) == 0 {
		from := h.IntN(len(b.data))
		to := from + h.IntN(len(b.data)-from)
		request.Header = map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", from, to)}
		want, status = b.data[from:to+1], http.StatusPartialContent
	}
	reply, err := h.do(ctx, request)
	if err != nil {
		return err
	}
	if !r.blobs[b] {
		return expect(reply, "read of a blob", http.StatusNotFound, r.unknown("BLOB_UNKNOWN"))
	}
	if err := expect(reply, "read of a blob", status, ""); err != nil {
		return err
	}
	if method == head {
		if err := expectHeader(reply, "head of a blob", "Content-Length", fmt.Sprint(len(b.data))); err != nil {
			return err
		}
	} else if !bytes.Equal(reply.Body, want) {
		return fmt.Errorf("read of a blob: %d bytes that are not those pushed", len(reply.Body))
	}
	return expectHeader(reply, "read of a blob", "Docker-Content-Digest", digest)
}

func (h *history) deleteBlob(ctx context.Context) error {
	r, b := h.repository(), pick(h, h.blobs)
	reply, err := h.do(ctx, harness.Request{Method: http.MethodDelete, Path: "/v2/" + r.name + "/blobs/" + h.digest(b)})
	switch {
	case err != nil:
		return err
	case h.model.rules.of(r.name).WriteOnce || r.held("", nil):
		return expect(reply, "delete of a blob of a frozen repository", http.StatusForbidden, "DENIED")
	case !r.blobs[b]:
		return expect(reply, "delete of a blob", http.StatusNotFound, r.unknown("BLOB_UNKNOWN"))
	case r.references(b):
		return expect(reply, "delete of a blob in use", http.StatusMethodNotAllowed, "DENIED")
	case len(r.holds) > 0 && r.buried(b):
		return expect(reply, "delete of a blob that a hold may keep", http.StatusForbidden, "DENIED")
	}
	delete(r.blobs, b)
	return expect(reply, "delete of a blob", http.StatusAccepted, "")
}

// maxUploads bounds the open sessions of a history.
const maxUploads = 6

func (h *history) startUpload(ctx context.Context) error {
	if len(h.model.uploads) >= maxUploads {
		return nil
	}
	r := h.repository()
	location, err := h.open(ctx, r)
	if err != nil {
		return err
	}
	h.model.uploads = append(h.model.uploads, &upload{repository: r, location: location})
	return nil
}

// session returns a random open session, or nil.
func (h *history) session() *upload {
	if len(h.model.uploads) == 0 {
		return nil
	}
	return pick(h, h.model.uploads)
}

func (h *history) forget(u *upload) {
	h.model.uploads = slices.DeleteFunc(h.model.uploads, func(other *upload) bool { return other == u })
}

// appendUpload sends a chunk, with its range or as a stream without.
func (h *history) appendUpload(ctx context.Context) error {
	u := h.session()
	if u == nil {
		return h.startUpload(ctx)
	}
	sizes := []int{2, 100, 1000, 5000}
	if h.IntN(10) == 0 {
		sizes = h.chunks
	}
	chunk := harness.Random(h.Uint64(), pick(h, sizes))
	request := harness.Request{Method: http.MethodPatch, Path: u.location, Body: chunk, Stream: true,
		Header: map[string]string{"Content-Type": "application/octet-stream"}}
	if h.IntN(2) == 0 {
		request.Stream, request.Header = false, harness.ChunkHeader(int64(len(u.data)), len(chunk))
	}
	reply, err := h.do(ctx, request)
	if err != nil {
		return err
	}
	if err := expect(reply, "chunk", http.StatusAccepted, ""); err != nil {
		return err
	}
	u.data = append(u.data, chunk...)
	u.location = reply.Header.Get("Location")
	return expectHeader(reply, "chunk", "Range", fmt.Sprintf("0-%d", len(u.data)-1))
}

// misplaceChunk sends a chunk that does not begin where the upload stands. The
// answer tells where that is.
func (h *history) misplaceChunk(ctx context.Context) error {
	u := h.session()
	if u == nil {
		return nil
	}
	offset := int64(len(u.data) + 1 + h.IntN(100))
	if len(u.data) > 0 && h.IntN(2) == 0 {
		offset = int64(h.IntN(len(u.data)))
	}
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPatch, Path: u.location, Body: []byte("xx"),
		Header: harness.ChunkHeader(offset, 2)})
	if err != nil {
		return err
	}
	if err := expect(reply, "misplaced chunk", http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID"); err != nil {
		return err
	}
	return expectOffset(reply, len(u.data))
}

// expectOffset compares the Range of an upload's status; "0-0" may mean
// nothing as well as one byte.
func expectOffset(reply harness.Reply, want int) error {
	offset, err := reply.UploadOffset()
	if err != nil {
		return err
	}
	if int(offset) != want && (want != 0 || offset != 1) {
		return fmt.Errorf("an upload stands at %d, the model says %d", offset, want)
	}
	return nil
}

func (h *history) askUpload(ctx context.Context) error {
	u := h.session()
	if u == nil {
		return nil
	}
	reply, err := h.do(ctx, harness.Request{Method: get, Path: u.location})
	if err != nil {
		return err
	}
	if err := expect(reply, "status of an upload", http.StatusNoContent, ""); err != nil {
		return err
	}
	return expectOffset(reply, len(u.data))
}

// finishUpload ends a session, with a last chunk or without, and adds the blob
// to the pool.
func (h *history) finishUpload(ctx context.Context) error {
	u := h.session()
	if u == nil {
		return nil
	}
	var last []byte
	header := map[string]string{}
	if h.IntN(2) == 0 {
		last = harness.Random(h.Uint64(), 500)
		header = harness.ChunkHeader(int64(len(u.data)), len(last))
	}
	made := newBlob(append(slices.Clip(u.data), last...))
	b := h.known(&made)
	digest := h.pushDigest(b)
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPut, Header: header, Body: last,
		Path: harness.AddQuery(u.location, "digest", digest)})
	if err != nil {
		return err
	}
	h.forget(u)
	return h.pushed(reply, u.repository, b, digest)
}

// known returns the blob of the pool with the same bytes, or adds this one.
func (h *history) known(b *blob) *blob {
	for _, other := range h.blobs {
		if other.sha256 == b.sha256 {
			return other
		}
	}
	h.blobs = append(h.blobs, b)
	return b
}

// finishWrongly names a digest of other bytes. The session stays as it was.
func (h *history) finishWrongly(ctx context.Context) error {
	u := h.session()
	if u == nil {
		return nil
	}
	last := harness.Random(h.Uint64(), 100)
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPut, Body: last,
		Path: harness.AddQuery(u.location, "digest", harness.SHA256([]byte("other bytes")))})
	if err != nil {
		return err
	}
	if err := expect(reply, "end of an upload by a wrong digest", http.StatusBadRequest, "DIGEST_INVALID"); err != nil {
		return err
	}
	return h.askUpload(ctx)
}

func (h *history) cancelUpload(ctx context.Context) error {
	u := h.session()
	if u == nil {
		return nil
	}
	h.forget(u)
	reply, err := h.do(ctx, harness.Request{Method: http.MethodDelete, Path: u.location})
	if err != nil {
		return err
	}
	if err := expect(reply, "cancel of an upload", http.StatusNoContent, ""); err != nil {
		return err
	}
	reply, err = h.do(ctx, harness.Request{Method: get, Path: u.location})
	if err != nil {
		return err
	}
	return expect(reply, "status of a cancelled upload", http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
}
