package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Target is the registry that artifacts are brought to.
type Target struct {
	endpoint Endpoint
	client   *remote.Registry
	large    chan struct{} // one for each large manifest that is being pushed
}

// A registry holds manifests in memory while they are pushed, and refuses more
// large ones than it has room for.
const (
	largeManifest  = 256 << 10
	largeManifests = 2
)

// NewTarget returns the registry at an endpoint.
func NewTarget(e Endpoint) (*Target, error) {
	client, err := e.client()
	if err != nil {
		return nil, err
	}
	return &Target{e, client, make(chan struct{}, largeManifests)}, nil
}

// Ping finds out whether the registry is there, and is this one: another, such as
// the one that is imported, would have everything, or take no notice of the
// conditions under which tags are set.
func (t *Target) Ping(ctx context.Context) error {
	err := t.client.Ping(ctx)
	if unreachable(err) {
		return fmt.Errorf("nothing answers at %s: start it ('artifactstore serve'), name another with --to URL, or import into a stopped store with --data FOLDER", t.endpoint)
	}
	if err != nil {
		return fmt.Errorf("%s is no registry that can be pushed to: %w", t.endpoint, plainly(err))
	}
	base, err := t.base(ctx)
	if err != nil {
		return fmt.Errorf("ask %s: %w", t.endpoint, plainly(err))
	}
	if base.Get("Artifactstore-Api") == "" {
		return fmt.Errorf("%s is another registry than artifactstore: name the server with --to URL, or import into a stopped store with --data FOLDER", t.endpoint)
	}
	return nil
}

// base returns the header with which the registry answers that it is there.
func (t *Target) base(ctx context.Context) (http.Header, error) {
	at := url.URL{Scheme: "https", Host: t.client.Reference.Host(), Path: "/v2/"}
	if t.client.PlainHTTP {
		at.Scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.client.Client.Do(req)
	if err != nil {
		return nil, err
	}
	return resp.Header, resp.Body.Close()
}

// errTaken: a tag names another manifest than the one it was to be set to.
type errTaken struct{ wanted, current digest.Digest }

func (e errTaken) Error() string {
	return fmt.Sprintf("the tag names %s in the source and %s here; --overwrite moves it", e.wanted, e.current)
}

// errStopped is an error of the target that the next request would meet too.
type errStopped struct{ error }

func (e errStopped) Unwrap() error { return e.error }

// targetError says in few words what the target answered, and stops the import
// if it takes no more.
func targetError(err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case err == nil:
		return nil
	case unreachable(err):
		return errStopped{fmt.Errorf("the registry does not answer any more: %w", err)}
	case !errors.As(err, &answer):
		return fmt.Errorf("push: %w", err)
	}
	short := fmt.Errorf("the registry refused it: %w", plainly(err))
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		return errStopped{short}
	}
	return short
}

// answered tells whether the registry refused with this code.
func answered(err error, code string) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && len(answer.Errors) > 0 && answer.Errors[0].Code == code
}

// targetRepository is a repository of the target, which need not exist yet.
type targetRepository struct {
	client *remote.Repository
	large  chan struct{} // the target's
}

func (t *Target) repository(ctx context.Context, name string) (*targetRepository, error) {
	r, err := t.client.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	client := r.(*remote.Repository)
	// No index of referrers is to be made and tagged: the target does that.
	if err := client.SetReferrersCapability(true); err != nil {
		return nil, err
	}
	return &targetRepository{client, t.large}, nil
}

// manifest describes the manifest of a tag or digest; errMissing.
func (r *targetRepository) manifest(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	desc, err := r.client.Resolve(ctx, reference)
	if errors.Is(err, errdef.ErrNotFound) {
		return desc, errMissing
	}
	return desc, targetError(err)
}

// hasBlob tells whether a blob is there.
func (r *targetRepository) hasBlob(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	there, err := r.client.Blobs().Exists(ctx, desc)
	return there, targetError(err)
}

// putBlob makes a blob one of the repository. It opens the bytes only if no
// repository of the target has them; sent tells that they were sent. Bytes are
// added to count as they go, and taken off if it fails.
func (r *targetRepository) putBlob(ctx context.Context, desc ocispec.Descriptor, open func() (io.ReadCloser, error), count *atomic.Int64) (sent bool, err error) {
	var failed error // of the source
	var body *content
	err = r.client.Mount(ctx, desc, "", func() (io.ReadCloser, error) {
		file, err := open()
		if err != nil {
			failed = err
			return nil, err
		}
		body = &content{body: file, left: desc.Size, count: count}
		return body, nil
	})
	if body != nil && body.failed() != nil {
		failed = body.failed()
	}
	if body != nil && err != nil {
		count.Add(-body.read.Load())
	}
	switch {
	case failed != nil:
		return false, failed
	case body != nil && answered(err, errcode.ErrorCodeDigestInvalid):
		return false, errors.New("the source has other bytes under this digest")
	}
	return err == nil && body != nil, targetError(err)
}

// turn waits until a manifest may be pushed; done lets the next one.
func (r *targetRepository) turn(ctx context.Context, raw []byte) (done func(), err error) {
	if len(raw) < largeManifest {
		return func() {}, nil
	}
	select {
	case r.large <- struct{}{}:
		return func() { <-r.large }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// putManifest stores a manifest under its digest.
func (r *targetRepository) putManifest(ctx context.Context, desc ocispec.Descriptor, raw []byte) error {
	done, err := r.turn(ctx, raw)
	if err != nil {
		return err
	}
	defer done()
	return targetError(r.client.Manifests().Push(ctx, desc, bytes.NewReader(raw)))
}

// tag sets a tag to a manifest that is there. If create is set, and the tag
// names another by now, the error is errTaken.
func (r *targetRepository) tag(ctx context.Context, tag string, d digest.Digest, create bool) error {
	desc, raw, err := r.fetch(ctx, d)
	if err != nil {
		return err
	}
	err = r.setTag(ctx, tag, desc, raw, create)
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode != http.StatusPreconditionFailed {
		return targetError(err)
	}
	current, err := r.manifest(ctx, tag)
	if err == nil && current.Digest != d {
		err = errTaken{d, current.Digest}
	}
	return err
}

// fetch returns a manifest of the target.
func (r *targetRepository) fetch(ctx context.Context, d digest.Digest) (ocispec.Descriptor, []byte, error) {
	desc, body, err := r.client.FetchReference(ctx, d.String())
	if err != nil {
		return desc, nil, targetError(err)
	}
	m, err := readOpened(body, desc.Size, nil)
	return desc, m.Raw, targetError(err)
}

// setTag pushes a manifest by a tag. The tag answers with the digest that it was
// pushed by, so one of another algorithm than sha256 is named as well.
func (r *targetRepository) setTag(ctx context.Context, tag string, desc ocispec.Descriptor, raw []byte, create bool) error {
	done, err := r.turn(ctx, raw)
	if err != nil {
		return err
	}
	defer done()
	ref := r.client.Reference
	at := url.URL{Scheme: "https", Host: ref.Host(), Path: "/v2/" + ref.Repository + "/manifests/" + tag}
	if r.client.PlainHTTP {
		at.Scheme = "http"
	}
	if desc.Digest.Algorithm() != digest.SHA256 {
		at.Path = "/v2/" + ref.Repository + "/manifests/" + desc.Digest.String()
		at.RawQuery = url.Values{"tag": {tag}}.Encode()
	}
	ctx = auth.AppendRepositoryScope(ctx, registry.Reference{Registry: ref.Registry, Repository: ref.Repository}, auth.ActionPull, auth.ActionPush)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, at.String(), bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", desc.MediaType)
	if create {
		req.Header.Set("If-None-Match", "*")
	}
	resp, err := r.client.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return nil
	}
	return readAnswer(resp)
}
