// Package importer brings artifacts along from elsewhere: from the folder of
// another registry, from an archive, or from a registry that is running. It is a
// client of ours: what it brings passes the checks that every push passes.
//
// It trusts no source. What does not have the digest it is named by is not
// brought and reported, and nothing in a folder or an archive makes it read
// outside of that.
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest is the size of the largest manifest that is read.
const MaxManifest = 4 << 20

// maxNames bounds a list of names that is held in memory.
const maxNames = 1 << 20

var (
	// errMissing: the source does not have it.
	errMissing = errors.New("it is not in the source")
	// errLength: the source gave more or fewer bytes than it said.
	errLength = errors.New("the source gave more or fewer bytes than the manifest says")
	// errGone: the source cannot be reached, so that going on makes no sense.
	errGone = errors.New("the source does not answer")
)

// Source is where artifacts come from. Its methods, and those of what it
// returns, may be called concurrently.
type Source interface {
	// String names the source for people, as in "a distribution store (DIR)".
	String() string
	// Repositories returns the names of all repositories, in order.
	Repositories(ctx context.Context) ([]string, error)
	// Repository returns one of them, which need not exist.
	Repository(name string) (Repository, error)
	// Close lets go of files and connections.
	Close() error
}

// Repository is what a source has under one name.
type Repository interface {
	// Tags lists the tags, in any order. An error stands for the tag it
	// comes with; with no tag it is that of the whole list.
	Tags(ctx context.Context) iter.Seq2[string, error]
	// Resolve returns the digest that a tag names.
	Resolve(ctx context.Context, tag string) (digest.Digest, error)
	// Manifests lists the manifests that the source knows of by itself,
	// whether or not a tag leads to them. Errors are those of Tags.
	Manifests(ctx context.Context) iter.Seq2[digest.Digest, error]
	// Manifest returns a manifest of at most MaxManifest bytes. The bytes
	// are unverified; errMissing.
	Manifest(ctx context.Context, d digest.Digest) (Manifest, error)
	// Blob opens a blob, which the caller closes. The bytes are unverified,
	// but the size is that of the descriptor if the source knows it;
	// errMissing.
	Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
	// HasBlob finds out, without reading it, whether Blob would find one.
	HasBlob(ctx context.Context, desc ocispec.Descriptor) error
}

// A referrerLister is a repository of a source that does not list all of its
// manifests, but those that refer to one.
type referrerLister interface {
	// Referrers lists the manifests whose subject is d.
	Referrers(ctx context.Context, d digest.Digest) iter.Seq2[digest.Digest, error]
}

// Manifest is a manifest as a source has it.
type Manifest struct {
	// MediaType is what the source says, or "" if only the bytes tell.
	MediaType string
	Raw       []byte
}

// errSize is the error for content that is not as long as its descriptor says.
func errSize(got, want int64) error {
	return fmt.Errorf("it has %d bytes in the source, and not %d as its manifest says", got, want)
}

// checkDigest refuses a digest that cannot be verified or is none. It comes
// before a digest is made part of a path.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%q is no digest that can be verified: %w", d, err)
	}
	return nil
}
