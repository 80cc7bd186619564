package distribution

import (
	"errors"
	"net/http"
	"strconv"

	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// startUpload begins an upload (end-4a, end-4c), or does the whole of one: it
// mounts a blob of another repository (end-11), or takes the request's body
// (end-4b). What cannot be mounted is no error: the client then uploads it.
func (d *door) startUpload(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	q, err := parseQuery(r, registry.BlobUploadInvalid)
	if err != nil {
		return err
	}
	if mounted, err := mount(w, r, t, q, repo); mounted || err != nil {
		return err
	}
	if q.has("digest") {
		return pushBlob(w, r, t, q, repo)
	}
	algorithm, err := q.get("digest-algorithm")
	if err != nil {
		return err
	}
	session, err := repo.StartUpload(r.Context(), identity.Algorithm(algorithm))
	if err != nil {
		return err
	}
	progress(w, t, registry.UploadStatus{Session: session})
	return done(w, http.StatusAccepted)
}

// mount answers the request if it asks for a mount that can be had.
func mount(w http.ResponseWriter, r *http.Request, t target, q query, repo *registry.Repository) (bool, error) {
	if !q.has("mount") {
		return false, nil
	}
	digest, err := q.digest("mount")
	if err != nil {
		return false, err
	}
	from, err := q.get("from")
	if err != nil {
		return false, err
	}
	mounted, err := repo.MountBlob(r.Context(), digest, from)
	if err != nil || !mounted {
		return false, err
	}
	return true, created(w, t, digest)
}

// pushBlob takes a whole blob from the body of a POST (end-4b).
func pushBlob(w http.ResponseWriter, r *http.Request, t target, q query, repo *registry.Repository) error {
	digest, err := q.digest("digest")
	if err != nil {
		return err
	}
	chunk, err := body(r)
	if err != nil {
		return err
	}
	digest, err = repo.PushBlob(r.Context(), digest, chunk)
	if err != nil {
		return err
	}
	return created(w, t, digest)
}

// body is the chunk that a request brings.
func body(r *http.Request) (registry.Chunk, error) {
	chunk := registry.Chunk{Length: r.ContentLength, Body: r.Body, Abort: func() { web.Abort(r) }}
	err := parseContentRange(r.Header.Values("Content-Range"), &chunk)
	return chunk, err
}

// appendUpload takes a chunk (end-5).
func (d *door) appendUpload(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	chunk, err := body(r)
	if err != nil {
		return err
	}
	status, err := repo.AppendUpload(r.Context(), t.item, chunk)
	if err != nil {
		return where(w, t, err)
	}
	progress(w, t, status)
	return done(w, http.StatusAccepted)
}

// finishUpload takes the last chunk, if there is one, and ends the upload (end-6).
func (d *door) finishUpload(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	q, err := parseQuery(r, registry.BlobUploadInvalid)
	if err != nil {
		return err
	}
	digest, err := q.digest("digest")
	if err != nil {
		return err
	}
	chunk, err := body(r)
	if err != nil {
		return err
	}
	digest, err = repo.FinishUpload(r.Context(), t.item, chunk, digest)
	if err != nil {
		return where(w, t, err)
	}
	return created(w, t, digest)
}

// uploadStatus tells how far an upload is (end-13).
func (d *door) uploadStatus(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	status, err := repo.UploadStatus(r.Context(), t.item)
	if err != nil {
		return err
	}
	progress(w, t, status)
	return done(w, http.StatusNoContent)
}

// cancelUpload ends an upload without a blob (end-14).
func (d *door) cancelUpload(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	if err := repo.CancelUpload(r.Context(), t.item); err != nil {
		return err
	}
	return done(w, http.StatusNoContent)
}

// where tells a client whose chunk was out of order how far the upload is.
func where(w http.ResponseWriter, t target, err error) error {
	var refusal *registry.Error
	if !errors.As(err, &refusal) {
		return err
	}
	status, ok := refusal.Detail.(registry.UploadStatus)
	if !ok {
		return err
	}
	progress(w, t, status)
	told := *refusal
	told.Detail = map[string]int64{"offset": status.Offset}
	return &told
}

// progress sets the headers that say where an upload goes on. The Range of an
// upload without bytes is that of one with a single byte: the specification has
// no other form, and clients expect this one.
func progress(w http.ResponseWriter, t target, status registry.UploadStatus) {
	header := w.Header()
	header.Set("Location", "/v2/"+t.name+"/blobs/uploads/"+status.Session)
	header.Set("Range", "0-"+strconv.FormatInt(max(0, status.Offset-1), 10))
	header.Set("Docker-Upload-UUID", status.Session)
}

// created answers that a blob is in the repository.
func created(w http.ResponseWriter, t target, digest identity.Digest) error {
	header := w.Header()
	header.Set("Location", "/v2/"+t.name+"/blobs/"+digest.String())
	header.Set("Docker-Content-Digest", digest.String())
	return done(w, http.StatusCreated)
}
