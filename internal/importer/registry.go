package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// registrySource is a registry that is running.
type registrySource struct {
	endpoint Endpoint
	client   *remote.Registry
	names    []string // of repositories, instead of the catalog
}

// OpenRegistry returns a registry as a source. If all patterns are plain names
// they are its repositories and the catalog is not asked for: many registries
// have none, or not for everybody.
func OpenRegistry(e Endpoint, p Patterns) (Source, error) {
	client, err := e.client()
	if err != nil {
		return nil, err
	}
	s := &registrySource{endpoint: e, client: client}
	if names, plain := p.names(); plain {
		s.names = slices.Compact(slices.Sorted(slices.Values(names)))
	}
	return s, nil
}

func (s *registrySource) String() string { return fmt.Sprintf("the registry %s", s.endpoint) }

// Close implements Source.
func (s *registrySource) Close() error { return nil }

// endless notices a list that a registry gives no end: some answer every page
// with a link to the same one.
type endless struct {
	last  []string
	empty int
}

// page is told of every page, by the names in it.
func (e *endless) page(names []string) error {
	const maxEmpty = 1000 // in a row: a registry may show nothing of many pages
	e.empty++
	if len(names) > 0 {
		e.empty = 0
	}
	if e.empty > maxEmpty || len(names) > 0 && slices.Equal(names, e.last) {
		return errEndless
	}
	e.last = names
	return nil
}

var errEndless = errors.New("its pages have no end: the registry gives the same one again and again")

// Repositories implements Source.
func (s *registrySource) Repositories(ctx context.Context) ([]string, error) {
	if s.names != nil {
		return s.names, nil
	}
	var names []string
	var pages endless
	err := s.client.Repositories(ctx, "", func(page []string) error {
		if err := pages.page(page); err != nil {
			return err
		}
		if names = append(names, page...); len(names) > maxNames {
			return fmt.Errorf("it has more than %d repositories: choose some with --repo", maxNames)
		}
		return nil
	})
	if unreachable(err) {
		return nil, fmt.Errorf("%s does not answer: %w", s.endpoint, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s gave no list of its repositories (%w): name each with --repo, or log in with 'docker login %s' as somebody who may see it",
			s.endpoint, plainly(err), s.endpoint.Host)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Repository implements Source.
func (s *registrySource) Repository(name string) (Repository, error) {
	r, err := s.client.Repository(context.Background(), name)
	if err != nil {
		return nil, err
	}
	return &registryRepository{client: r.(*remote.Repository)}, nil
}

type registryRepository struct {
	client *remote.Repository
}

// errStop ends a listing that nobody wants more of.
var errStop = errors.New("stop")

// Tags implements Repository.
func (r *registryRepository) Tags(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var pages endless
		err := r.client.Tags(ctx, "", func(page []string) error {
			if err := pages.page(page); err != nil {
				return err
			}
			for _, tag := range page {
				if !yield(tag, checkTag(tag)) {
					return errStop
				}
			}
			return nil
		})
		if err != nil && err != errStop {
			yield("", fmt.Errorf("list tags: %w", sourceError(err)))
		}
	}
}

// Resolve implements Repository. It asks by HEAD first, which some registries
// do not count as a pull.
func (r *registryRepository) Resolve(ctx context.Context, tag string) (digest.Digest, error) {
	desc, err := r.client.Resolve(ctx, tag)
	if err != nil && !errors.Is(err, errdef.ErrNotFound) && !unreachable(err) {
		var body io.ReadCloser
		if desc, body, err = r.client.FetchReference(ctx, tag); err == nil {
			err = body.Close()
		}
	}
	return desc.Digest, sourceError(err)
}

// Manifests implements Repository: a registry lists no manifests without tags.
func (r *registryRepository) Manifests(context.Context) iter.Seq2[digest.Digest, error] {
	return func(func(digest.Digest, error) bool) {}
}

// Manifest implements Repository.
func (r *registryRepository) Manifest(ctx context.Context, d digest.Digest) (m Manifest, err error) {
	if err := checkDigest(d); err != nil {
		return m, err
	}
	again := func(err error) bool { return brokenOff(err) && !errors.Is(err, errGone) }
	err = persist(ctx, again, func() error {
		desc, body, err := r.client.FetchReference(ctx, d.String())
		if err != nil {
			return sourceError(err)
		}
		m, err = readOpened(body, desc.Size, nil)
		m.MediaType = desc.MediaType
		return err
	})
	return m, err
}

// Blob implements Repository.
func (r *registryRepository) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDigest(desc.Digest); err != nil {
		return nil, err
	}
	found, body, err := r.client.Blobs().(fetcher).FetchReference(ctx, desc.Digest.String())
	if err == nil && found.Size != desc.Size {
		err = firstError(body.Close(), errSize(found.Size, desc.Size))
	}
	if err != nil {
		return nil, sourceError(err)
	}
	return body, nil
}

// fetcher gives content with its true size. oras-go's store of blobs is one.
type fetcher interface {
	FetchReference(ctx context.Context, reference string) (ocispec.Descriptor, io.ReadCloser, error)
}

// HasBlob implements Repository.
func (r *registryRepository) HasBlob(ctx context.Context, desc ocispec.Descriptor) error {
	if err := checkDigest(desc.Digest); err != nil {
		return err
	}
	found, err := r.client.Blobs().Resolve(ctx, desc.Digest.String())
	if err == nil && found.Size != desc.Size {
		return errSize(found.Size, desc.Size)
	}
	return sourceError(err)
}

// Referrers implements referrerLister, by the referrers API or, where there is
// none, by the tag that stands for it.
func (r *registryRepository) Referrers(ctx context.Context, d digest.Digest) iter.Seq2[digest.Digest, error] {
	return func(yield func(digest.Digest, error) bool) {
		var pages endless
		page := func(page []ocispec.Descriptor) error {
			names := make([]string, len(page))
			for i, desc := range page {
				names[i] = desc.Digest.String()
			}
			if err := pages.page(names); err != nil {
				return err
			}
			for _, desc := range page {
				if !yield(desc.Digest, checkDigest(desc.Digest)) {
					return errStop
				}
			}
			return nil
		}
		subject := ocispec.Descriptor{Digest: d}
		err := r.client.Referrers(ctx, subject, "", page)
		if unknown(err) && r.client.SetReferrersCapability(false) == nil {
			err = r.client.Referrers(ctx, subject, "", page)
		}
		if err != nil && err != errStop && !errors.Is(err, errdef.ErrNotFound) {
			yield("", fmt.Errorf("list referrers: %w", sourceError(err)))
		}
	}
}

// unknown tells whether a registry answered as one does that does not know the
// request. To a path that is none of theirs they have more answers than 404.
func unknown(err error) bool {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return false
}

// sourceError says in few words what a registry answered.
func sourceError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errdef.ErrNotFound):
		return errMissing
	case unreachable(err):
		return fmt.Errorf("%w: %w", errGone, err)
	}
	var answer *errcode.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("%w any more for now: %w", errGone, plainly(err))
	}
	return plainly(err)
}

// plainly returns what a registry answered without the URL of the request.
func plainly(err error) error {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) {
		return err
	}
	return &refusedRequest{answer}
}

// refusedRequest is an answer of a registry that is an error.
type refusedRequest struct{ answer *errcode.ErrorResponse }

func (e *refusedRequest) Error() string {
	text := fmt.Sprintf("%d %s", e.answer.StatusCode, http.StatusText(e.answer.StatusCode))
	for _, one := range e.answer.Errors {
		text += fmt.Sprintf(", %s: %s", one.Code, one.Message)
		if detail, ok := one.Detail.(map[string]any); ok && detail["digest"] != nil {
			text += fmt.Sprintf(" (%v)", detail["digest"])
		}
	}
	return text
}

func (e *refusedRequest) Unwrap() error { return e.answer }
