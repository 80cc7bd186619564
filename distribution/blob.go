package distribution

import (
	"fmt"
	"net/http"
	"strconv"

	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// blob is the repository and the digest of a blob's path.
func (d *door) blob(r *http.Request, t target) (*registry.Repository, identity.Digest, error) {
	repo, err := d.repository(r, t)
	if err != nil {
		return nil, identity.Digest{}, err
	}
	digest, err := registry.ParseDigest(t.item)
	return repo, digest, err
}

// getBlob serves a blob, or a part of it, to GET and HEAD (end-2). A GET may be
// sent to the store instead, never a HEAD.
func (d *door) getBlob(w http.ResponseWriter, r *http.Request, t target) error {
	repo, digest, err := d.blob(r, t)
	if err != nil {
		return err
	}
	content, err := repo.Blob(r.Context(), digest)
	if err != nil {
		return err
	}
	describe(w, content, "application/octet-stream")
	w.Header().Set("Accept-Ranges", "bytes")
	if r.Method == http.MethodHead {
		if err := content.Check(r.Context()); err != nil {
			return err
		}
	}
	if notModified(r, content.Digest.String()) {
		return unmodified(w)
	}
	if r.Method == http.MethodHead { // which has no ranges: RFC 9110, section 14.2
		w.WriteHeader(http.StatusOK)
		return nil
	}
	part, all := byteRange{0, content.Size}, true
	if ranged(r, content.Digest.String()) {
		if part, all, err = parseRange(r.Header.Get("Range"), content.Size); err != nil {
			w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(content.Size, 10))
			return err
		}
	}
	if sent, err := d.redirect(w, r, content); sent || err != nil {
		return err
	}
	if all {
		return transmit(w, r, content, byteRange{0, content.Size}, http.StatusOK)
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.offset, part.offset+part.length-1, content.Size))
	w.Header().Set("Content-Length", strconv.FormatInt(part.length, 10))
	return transmit(w, r, content, part, http.StatusPartialContent)
}

// judged are conditions that a store would judge by tags and times of its own.
var judged = [...]string{"If-Match", "If-Unmodified-Since", "If-Modified-Since", "If-Range"}

// redirect sends the client to the store, if it can fetch the content there. A
// range is the client's to ask for again. The URL expires, and serves whoever
// has it, so nobody keeps the answer.
func (d *door) redirect(w http.ResponseWriter, r *http.Request, content *registry.Content) (sent bool, err error) {
	if d.o.NoRedirect {
		return false, nil
	}
	for _, name := range judged {
		if r.Header[name] != nil {
			return false, nil
		}
	}
	url, err := content.Link(r.Context())
	if err != nil || url == "" {
		return false, err
	}
	header := w.Header()
	for _, name := range []string{"Content-Type", "Etag", "Accept-Ranges"} {
		header.Del(name) // of what the store serves
	}
	header.Set("Location", url)
	header.Set("Cache-Control", "no-store")
	return true, done(w, http.StatusTemporaryRedirect)
}

// ranged tells that the request asks for a part: it has one Range, and If-Range,
// if present, has the tag of what is served (RFC 9110, section 13.1.5).
func ranged(r *http.Request, digest string) bool {
	if len(r.Header.Values("Range")) != 1 {
		return false
	}
	condition := r.Header.Values("If-Range")
	return len(condition) == 0 || len(condition) == 1 && condition[0] == entityTag(digest)
}

// deleteBlob takes a blob out of a repository (end-10).
func (d *door) deleteBlob(w http.ResponseWriter, r *http.Request, t target) error {
	repo, digest, err := d.blob(r, t)
	if err != nil {
		return err
	}
	if err := unconditional(r); err != nil {
		return err
	}
	if err := repo.DeleteBlob(r.Context(), digest); err != nil {
		return err
	}
	return done(w, http.StatusAccepted)
}

// unconditional refuses a delete with conditions: to ignore them would delete
// what the client wants kept.
func unconditional(r *http.Request) error {
	if r.Header["If-Match"] == nil && r.Header["If-None-Match"] == nil {
		return nil
	}
	return withStatus{registry.Errorf(registry.Unsupported, "a delete cannot have conditions"), http.StatusBadRequest}
}
