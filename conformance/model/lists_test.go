package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"artifactstore/conformance/harness"
)

// pageQuery returns the query of a list from its start or after a name, in
// pages or whole. size is 0 for no pages.
func (h *history) pageQuery(path string, names []string) (query string, want []string, size int) {
	want = names
	if h.IntN(3) == 0 {
		last := pick(h, []string{"0", "a", "b", "v1", "v1x", "zz"}) // good as tags and as names
		if len(names) > 0 && h.IntN(3) > 0 {
			last = pick(h, names)
		}
		path, want = harness.AddQuery(path, "last", last), after(names, last)
	}
	if h.IntN(3) > 0 {
		size = 1 + h.IntN(5)
		path = harness.AddQuery(path, "n", fmt.Sprint(size))
	}
	return path, want, size
}

func (h *history) listTags(ctx context.Context) error { return h.checkTags(ctx, h.repository()) }

// checkTags reads the tags of a repository, in pages or whole.
func (h *history) checkTags(ctx context.Context, r *repository) error {
	path := "/v2/" + r.name + "/tags/list"
	if !r.exists {
		reply, err := h.do(ctx, harness.Request{Method: get, Path: path})
		if err != nil {
			return err
		}
		return expect(reply, "list of tags", http.StatusNotFound, "NAME_UNKNOWN")
	}
	path, want, size := h.pageQuery(path, r.tagNames())
	return h.readNames(ctx, path, want, size, func(body []byte) ([]string, error) {
		var list struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, err
		}
		if list.Name != r.name || list.Tags == nil {
			return nil, fmt.Errorf("list of tags: %.300s", body)
		}
		return list.Tags, nil
	})
}

func (h *history) listRepositories(ctx context.Context) error {
	path, want, size := h.pageQuery("/v2/_catalog", h.model.catalog())
	return h.readNames(ctx, path, want, size, func(body []byte) ([]string, error) {
		var list struct {
			Repositories []string `json:"repositories"`
		}
		if err := json.Unmarshal(body, &list); err != nil || list.Repositories == nil {
			return nil, fmt.Errorf("list of repositories: %w: %.300s", err, body)
		}
		return list.Repositories, nil
	})
}

// readNames reads all pages of a list. Each must have exactly the names that
// are its turn, and only the last has no Link.
func (h *history) readNames(ctx context.Context, path string, want []string, size int, decode func([]byte) ([]string, error)) error {
	for {
		reply, err := h.do(ctx, harness.Request{Method: get, Path: path})
		if err != nil {
			return err
		}
		if err := expect(reply, "list", http.StatusOK, ""); err != nil {
			return err
		}
		names, err := decode(reply.Body)
		if err != nil {
			return err
		}
		page := want
		if size > 0 {
			page = want[:min(size, len(want))]
		}
		if !slices.Equal(names, page) {
			return fmt.Errorf("list %s: %q, the model says %q", path, names, page)
		}
		want = want[len(page):]
		if path = reply.Next(); (path == "") != (len(want) == 0) {
			return fmt.Errorf("list: the next page is %q, and %d names are left", path, len(want))
		}
		if path == "" {
			return nil
		}
	}
}

// listReferrers reads what refers to a manifest, which need not be there.
func (h *history) listReferrers(ctx context.Context) error {
	if len(h.made) == 0 {
		return nil
	}
	subject := h.made[min(h.IntN(len(h.made)), h.IntN(len(h.made)))]
	types := []string{"", "", "application/vnd.example.one", harness.ImageConfig}
	return h.checkReferrers(ctx, h.repository(), h.digest(&subject.blob), pick(h, types), h.IntN(4))
}

// checkReferrers reads all pages of a list of referrers. size is 0 for no pages.
func (h *history) checkReferrers(ctx context.Context, r *repository, digest, artifactType string, size int) error {
	path, filtered := "/v2/"+r.name+"/referrers/"+digest, ""
	if artifactType != "" {
		path, filtered = harness.AddQuery(path, "artifactType", artifactType), "artifactType"
	}
	if size > 0 {
		path = harness.AddQuery(path, "n", fmt.Sprint(size))
	}
	want := r.referrers(digest, artifactType)
	for path != "" {
		reply, err := h.do(ctx, harness.Request{Method: get, Path: path})
		if err != nil {
			return err
		}
		if err := expect(reply, "referrers", http.StatusOK, ""); err != nil {
			return err
		}
		if err := expectHeader(reply, "referrers", "OCI-Filters-Applied", filtered); err != nil {
			return err
		}
		page := want
		if size > 0 {
			page = want[:min(size, len(want))]
		}
		if err := sameReferrers(r, reply, page); err != nil {
			return fmt.Errorf("referrers of %s in %s: %w", digest, r.name, err)
		}
		want = want[len(page):]
		if path = reply.Next(); (path == "") != (len(want) == 0) {
			return fmt.Errorf("referrers: the next page is %q, and %d are left", path, len(want))
		}
	}
	return nil
}

func sameReferrers(r *repository, reply harness.Reply, want []*manifest) error {
	var index harness.Index
	if err := json.Unmarshal(reply.Body, &index); err != nil {
		return err
	}
	if index.SchemaVersion != 2 || index.MediaType != harness.ImageIndex || len(index.Manifests) != len(want) {
		return fmt.Errorf("%.600s, the model says %d of them", reply.Body, len(want))
	}
	for i, got := range index.Manifests {
		m := want[i]
		if got.Digest != r.manifests[m].digest || got.MediaType != m.mediaType || got.Size != int64(len(m.data)) ||
			got.ArtifactType != m.artifactType || !maps.Equal(got.Annotations, m.annotations) {
			return fmt.Errorf("number %d is %+v, the model says %s, %d bytes, %q", i, got, r.manifests[m].digest, len(m.data), m.artifactType)
		}
	}
	return nil
}

// readEverything compares all that the server can be asked for with the model.
func (h *history) readEverything(ctx context.Context) error {
	if err := h.listRepositories(ctx); err != nil {
		return err
	}
	for _, r := range h.model.repositories {
		if err := h.checkTags(ctx, r); err != nil {
			return err
		}
		for _, name := range tagPool {
			if err := h.checkTag(ctx, r, name, head); err != nil {
				return err
			}
		}
		for _, b := range h.blobs {
			if err := h.checkBlob(ctx, r, b, get); err != nil {
				return err
			}
		}
		for _, m := range h.made {
			if err := h.readAll(ctx, r, m); err != nil {
				return err
			}
		}
	}
	return h.askUpload(ctx)
}

// readAll compares what a repository has of a manifest. Of the many that are
// not there, and of those that nothing refers to, a part must do.
func (h *history) readAll(ctx context.Context, r *repository, m *manifest) error {
	const part = 5
	digest := h.digest(&m.blob)
	if _, ok := r.manifests[m]; ok || h.IntN(part) == 0 {
		if err := h.checkManifest(ctx, r, m, get); err != nil {
			return err
		}
	}
	if len(r.referrers(digest, "")) > 0 || h.IntN(part) == 0 {
		return h.checkReferrers(ctx, r, digest, "", 0)
	}
	return nil
}
