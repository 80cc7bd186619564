package distribution

import (
	"net/http"
	"strings"

	"artifactstore/registry"
)

// manifest is the repository and the reference of a manifest's path.
func (d *door) manifest(r *http.Request, t target) (*registry.Repository, registry.Reference, error) {
	repo, err := d.repository(r, t)
	if err != nil {
		return nil, registry.Reference{}, err
	}
	ref, err := registry.ParseReference(t.item)
	return repo, ref, err
}

// getManifest serves the pushed bytes of a manifest to GET and HEAD (end-3). The
// type that was pushed is served, whatever Accept says.
func (d *door) getManifest(w http.ResponseWriter, r *http.Request, t target) error {
	repo, ref, err := d.manifest(r, t)
	if err != nil {
		return err
	}
	content, err := repo.Manifest(r.Context(), ref)
	if err != nil {
		return err
	}
	describe(w, content, content.MediaType)
	if notModified(r, content.Digest.String()) {
		return unmodified(w)
	}
	if r.Method == http.MethodHead {
		if err := content.Check(r.Context()); err != nil {
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return transmit(w, r, content, byteRange{0, content.Size}, http.StatusOK)
}

// putManifest stores a manifest and sets its tags (end-7).
func (d *door) putManifest(w http.ResponseWriter, r *http.Request, t target) error {
	repo, ref, err := d.manifest(r, t)
	if err != nil {
		return err
	}
	push := registry.ManifestPush{Reference: ref, Length: r.ContentLength, Body: r.Body}
	push.MediaType, _, _ = strings.Cut(r.Header.Get("Content-Type"), ";")
	push.MediaType = strings.TrimSpace(push.MediaType)
	q, err := parseQuery(r, registry.ManifestInvalid)
	if err != nil {
		return err
	}
	push.Tags = q.values["tag"]
	if err := conditions(r, &push); err != nil {
		return err
	}
	result, err := repo.PutManifest(r.Context(), push)
	if err != nil {
		return err
	}
	digest := result.Digest.String()
	header := w.Header()
	header.Set("Location", "/v2/"+t.name+"/manifests/"+digest)
	header.Set("Docker-Content-Digest", digest)
	header.Set("Etag", entityTag(digest))
	if !result.Subject.IsZero() {
		header.Set("OCI-Subject", result.Subject.String())
	}
	for _, tag := range result.Tags {
		header.Add("OCI-Tag", tag)
	}
	return done(w, http.StatusCreated)
}

// conditions reads If-Match and If-None-Match of a push (RFC 9110, section
// 13.1). A condition that is not understood is refused: to ignore it would move
// a tag that the client wants left alone.
func conditions(r *http.Request, push *registry.ManifestPush) error {
	bad := func(message string) error {
		return withStatus{registry.Errorf(registry.Unsupported, "%s", message), http.StatusBadRequest}
	}
	if fields := r.Header.Values("If-Match"); len(fields) > 0 {
		tags, any, ok := parseTags(fields, true)
		if !ok {
			return bad(`If-Match must have digests in quotes, or be "*"`)
		}
		push.IfMatch = append([]string{}, tags...)
		if any {
			push.IfMatch = []string{"*"}
		}
	}
	if fields := r.Header.Values("If-None-Match"); len(fields) > 0 {
		if _, any, _ := parseTags(fields, false); !any {
			return bad(`If-None-Match must be "*" in a push`)
		}
		push.IfNoneMatch = true
	}
	return nil
}

// deleteManifest removes a tag, or a manifest with its tags (end-9).
func (d *door) deleteManifest(w http.ResponseWriter, r *http.Request, t target) error {
	repo, ref, err := d.manifest(r, t)
	if err != nil {
		return err
	}
	if err := unconditional(r); err != nil {
		return err
	}
	if err := repo.DeleteManifest(r.Context(), ref); err != nil {
		return err
	}
	return done(w, http.StatusAccepted)
}
