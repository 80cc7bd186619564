package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"artifactstore/conformance/harness"
)

const (
	pageLength = 100
	pages      = 300 // how often a page is read, by one client
	listName   = "bench/lists"
)

// listTags fills a repository with tags and reads pages of them, from the
// start and from the middle.
func (b *bench) listTags(ctx context.Context) error {
	image := harness.NewImage(1<<41, 1, 100)
	if err := image.Push(ctx, b.client, listName, "first"); err != nil {
		return err
	}
	start := time.Now()
	if err := b.fillTags(ctx, image); err != nil {
		return err
	}
	fmt.Printf("%-42s %6.0f /s     %d tags, 200 a request\n", "tags set", float64(b.tags)/time.Since(start).Seconds(), b.tags)
	path := fmt.Sprintf("/v2/%s/tags/list?n=%d", listName, pageLength)
	if err := b.readPages(ctx, "first page of tags", path); err != nil {
		return err
	}
	return b.readPages(ctx, "page of tags in the middle", fmt.Sprintf("%s&last=t%08d", path, b.tags/2))
}

// fillTags sets the tags of the list, as many at once as a server should
// accept in one request.
func (b *bench) fillTags(ctx context.Context, image *harness.Image) error {
	const each = 200
	for set := 0; set < b.tags; set += each {
		var query strings.Builder
		for i := range min(each, b.tags-set) {
			fmt.Fprintf(&query, "&tag=t%08d", set+i)
		}
		reference := image.Digest + "?" + query.String()[1:]
		if err := b.client.PutManifest(ctx, listName, reference, harness.ImageManifest, image.Manifest); err != nil {
			return err
		}
	}
	return nil
}

// listReferrers pushes referrers of one subject and reads pages of them.
func (b *bench) listReferrers(ctx context.Context) error {
	subject := harness.NewImage(1<<42, 1, 100)
	if err := subject.Push(ctx, b.client, listName, "subject"); err != nil {
		return err
	}
	empty := []byte("{}")
	if err := b.client.PushBlob(ctx, listName, harness.SHA256(empty), empty); err != nil {
		return err
	}
	described := harness.Describe(harness.ImageManifest, subject.Manifest)
	r, err := b.load(ctx, smallClients, b.referrers, func(ctx context.Context, i uint64) error {
		data := harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
			ArtifactType: "application/vnd.example.signature", Config: harness.Describe(harness.EmptyJSON, empty),
			Layers: []harness.Descriptor{}, Subject: &described, Annotations: map[string]string{"number": fmt.Sprint(i)}})
		return b.client.PutManifest(ctx, listName, harness.SHA256(data), harness.ImageManifest, data)
	})
	if err != nil {
		return err
	}
	r.print("push of referrers, 16 clients")
	path := fmt.Sprintf("/v2/%s/referrers/%s?n=%d", listName, subject.Digest, pageLength)
	return b.readPages(ctx, fmt.Sprintf("first page of %d referrers", b.referrers), path)
}

// readPages reads one page again and again and prints the latency.
func (b *bench) readPages(ctx context.Context, what, path string) error {
	r, err := b.load(ctx, 1, pages, b.ask(harness.Request{Method: http.MethodGet, Path: path}))
	if err != nil {
		return err
	}
	r.print(fmt.Sprintf("%s, %d a page", what, pageLength))
	return nil
}
