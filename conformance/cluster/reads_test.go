package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// reader asks a node for what another one has just acknowledged.
type reader struct {
	ctx        context.Context
	node       *harness.Client
	repository string
}

// expect returns an error unless a request has this answer.
func (r reader) expect(method, path string, status int, digest string) error {
	reply, err := r.node.Do(r.ctx, harness.Request{Method: method, Path: "/v2/" + r.repository + path})
	if err == nil {
		err = reply.Expect(status)
	}
	if got := reply.Header.Get("Docker-Content-Digest"); err == nil && digest != "" && got != digest {
		err = fmt.Errorf("it has the digest %s", got)
	}
	if err != nil {
		return fmt.Errorf("%s %s%s: %w", method, r.repository, path, err)
	}
	return nil
}

// lists returns an error unless a text is, or is not, in what a path answers.
func (r reader) lists(path, text string, there bool) error {
	reply, err := r.node.Get(r.ctx, "/v2/"+r.repository+path)
	if err == nil {
		err = reply.Expect(http.StatusOK)
	}
	if err == nil && strings.Contains(string(reply.Body), text) != there {
		err = fmt.Errorf("%q is there, or not, wrongly: %s", text, reply.Body)
	}
	if err != nil {
		return fmt.Errorf("%s%s: %w", r.repository, path, err)
	}
	return nil
}

// TestWhatOneNodeAnsweredHoldsOnAll: writers push and delete on one node, and
// ask the others at once.
func TestWhatOneNodeAnsweredHoldsOnAll(t *testing.T) {
	t.Parallel()
	rounds := harness.Setting(t, roundsVariable, 60)
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	all := clients(t, c)
	const writers = 6
	failures := make([]error, writers)
	together(writers, func(w int) {
		for round := range rounds {
			if failures[w] == nil {
				failures[w] = writeAndRead(t.Context(), all, w, round)
			}
		}
	})
	if err := errors.Join(failures...); err != nil {
		t.Error(err)
	}
}

// writeAndRead pushes an image with a referrer on one node, reads it on the
// others, deletes it on another one and looks again.
func writeAndRead(ctx context.Context, all []*harness.Client, w int, round uint64) error {
	at := int(round) + w
	image := harness.NewImage(uint64(w)<<32+round, 1, 100+int(round%4)*40_000) // inline or in the bucket
	subject := harness.Describe(harness.ImageManifest, image.Manifest)
	referrer := harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest, ArtifactType: "application/vnd.example.sbom",
		Config: harness.Describe(harness.ImageConfig, image.Config), Layers: []harness.Descriptor{}, Subject: &subject})
	repository, tag := fmt.Sprintf("reads/w%d", w), fmt.Sprintf("v%d", round)
	writer := all[at%len(all)]
	if err := image.Push(ctx, writer, repository, tag); err != nil {
		return err
	}
	if err := writer.PutManifest(ctx, repository, harness.SHA256(referrer), harness.ImageManifest, referrer); err != nil {
		return err
	}
	layer := harness.SHA256(image.Layers[0])
	err := onOthers(ctx, all, at, repository, func(r reader) []error {
		return []error{
			r.expect(http.MethodHead, "/blobs/"+layer, http.StatusOK, layer),
			hasBlob(ctx, r.node, repository, layer, image.Layers[0]),
			r.expect(http.MethodGet, "/manifests/"+tag, http.StatusOK, image.Digest),
			r.expect(http.MethodHead, "/manifests/"+image.Digest, http.StatusOK, image.Digest),
			r.lists("/tags/list?n=1000&last="+tag[:len(tag)-1], `"`+tag+`"`, true),
			r.lists("/referrers/"+image.Digest, harness.SHA256(referrer), true),
		}
	})
	if err != nil || round%2 == 0 {
		return err
	}
	r := reader{ctx, all[(at+1)%len(all)], repository}
	for _, reference := range []string{tag, image.Digest, harness.SHA256(referrer)} {
		if err := r.expect(http.MethodDelete, "/manifests/"+reference, http.StatusAccepted, ""); err != nil {
			return err
		}
	}
	return onOthers(ctx, all, at+1, repository, func(r reader) []error {
		return []error{
			r.expect(http.MethodHead, "/manifests/"+tag, http.StatusNotFound, ""),
			r.expect(http.MethodGet, "/manifests/"+image.Digest, http.StatusNotFound, ""),
			r.lists("/tags/list", `"`+tag+`"`, false),
			r.lists("/referrers/"+image.Digest, harness.SHA256(referrer), false),
		}
	})
}

// onOthers does reads on all nodes but one, at once.
func onOthers(ctx context.Context, all []*harness.Client, but int, repository string, reads func(reader) []error) error {
	failures := make([]error, len(all))
	together(len(all), func(i int) {
		if i != but%len(all) {
			failures[i] = errors.Join(reads(reader{ctx, all[i], repository})...)
		}
	})
	return errors.Join(failures...)
}

// TestOneOfThreeNodesCreatesATag: all three are asked to create it at once.
func TestOneOfThreeNodesCreatesATag(t *testing.T) {
	t.Parallel()
	rounds := harness.Setting(t, roundsVariable, 100)
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	all := clients(t, c)
	images := make([]*harness.Image, len(all))
	for i := range images {
		images[i] = harness.NewImage(uint64(i), 1, 100)
		harness.Must(t, images[i].Push(t.Context(), all[i], "race/app", images[i].Digest))
	}
	wins := make([]int, len(all))
	for round := range rounds {
		path := fmt.Sprintf("/v2/race/app/manifests/v%d", round)
		replies, failures := make([]harness.Reply, len(all)), make([]error, len(all))
		together(len(all), func(i int) {
			replies[i], failures[i] = all[i].Do(t.Context(), harness.Request{Method: http.MethodPut, Path: path,
				Header: map[string]string{"Content-Type": harness.ImageManifest, "If-None-Match": "*"}, Body: images[i].Manifest})
		})
		harness.Must(t, errors.Join(failures...))
		winner := slices.IndexFunc(replies, func(r harness.Reply) bool { return r.Status == http.StatusCreated })
		if winner < 0 {
			t.Fatalf("round %d: nobody created it: %d %s", round, replies[0].Status, replies[0].Body)
		}
		wins[winner]++
		for i, reply := range replies {
			if i != winner {
				harness.Must(t, reply.Expect(http.StatusPreconditionFailed))
				if got := conflict(t, reply); got != images[winner].Digest {
					t.Fatalf("round %d: the loser is told %q, the winner brought %s", round, got, images[winner].Digest)
				}
			}
			if got := get(t, all[i], path, http.StatusOK).Header.Get("Docker-Content-Digest"); got != images[winner].Digest {
				t.Fatalf("round %d: node %d serves %s, the winner brought %s", round, i+1, got, images[winner].Digest)
			}
		}
	}
	t.Logf("the nodes have created %v tags", wins)
}

// conflict is the digest that an answer of 412 names.
func conflict(t *testing.T, reply harness.Reply) string {
	t.Helper()
	var body struct {
		Errors []struct {
			Detail struct {
				Digest string `json:"digest"`
			} `json:"detail"`
		} `json:"errors"`
	}
	harness.Must(t, json.Unmarshal(reply.Body, &body))
	if len(body.Errors) != 1 {
		t.Fatalf("the answer has %d errors: %s", len(body.Errors), reply.Body)
	}
	return body.Errors[0].Detail.Digest
}
