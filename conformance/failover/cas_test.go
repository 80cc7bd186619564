package failover_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"artifactstore/conformance/harness"
)

// casTag is what a writer knows of a tag that it moves only from where it
// believes it to be.
type casTag struct {
	repository, name string
	at               string // the last digest that it has seen there, "" for none
	moves            []move
}

// move is an attempt to move a tag to a manifest that nobody else pushes.
type move struct {
	from, to string
	manifest []byte
	acked    bool
}

// move moves the tag once, from wherever it turns out to be.
func (w *writer) move(tag *casTag, i int) error {
	for try := 0; ; try++ {
		manifest := harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
			Config: harness.Describe(harness.ImageConfig, emptyConfig), Layers: []harness.Descriptor{},
			Annotations: map[string]string{"move": fmt.Sprintf("%d %s %d %d", w.seed, tag.name, i, try)}})
		m := move{from: tag.at, to: harness.SHA256(manifest), manifest: manifest}
		err := w.persist(func(ctx context.Context) error { return w.tryMove(ctx, tag, &m) })
		if m.acked {
			tag.at = m.to
		}
		tag.moves = append(tag.moves, m)
		if err != nil && !errors.Is(err, errMoved) {
			return err
		}
		if m.acked {
			return nil
		}
		if err := w.persist(func(ctx context.Context) error { return w.look(ctx, tag) }); err != nil {
			return err
		}
	}
}

// errMoved: the tag was somewhere else. An earlier attempt, of which the answer
// was lost, may have moved it before somebody else did.
var errMoved = fmt.Errorf("%w: the tag has moved", errWrong)

func (w *writer) tryMove(ctx context.Context, tag *casTag, m *move) error {
	if tag.name == "own" { // its blob is in the writer's own repository
		if err := w.pushBlob(ctx, emptyConfig, atOnce); err != nil {
			return err
		}
	}
	condition := map[string]string{"If-None-Match": "*"}
	if m.from != "" {
		condition = map[string]string{"If-Match": `"` + m.from + `"`}
	}
	reply, err := w.do(ctx, manifestRequest(tag.repository, tag.name, m.manifest, condition), http.StatusCreated)
	switch {
	case err == nil, reply.Status == http.StatusPreconditionFailed && reply.Header.Get("Docker-Content-Digest") == m.to:
		m.acked = true // the second: an earlier attempt has done it
		return nil
	case reply.Status == http.StatusPreconditionFailed:
		return errMoved
	}
	return err
}

// look asks where the tag is.
func (w *writer) look(ctx context.Context, tag *casTag) error {
	r := harness.Request{Method: http.MethodGet, Path: "/v2/" + tag.repository + "/manifests/" + tag.name}
	reply, err := w.do(ctx, r, http.StatusOK)
	if err == nil {
		tag.at = harness.SHA256(reply.Body)
	}
	return err
}
