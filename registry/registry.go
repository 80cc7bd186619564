// Package registry is the domain: what a repository is, and what pushing,
// pulling, tagging and deleting mean. It decides; it keeps nothing itself.
// Facts and the state they imply are behind Ledger, bytes are behind Bytes,
// and front doors translate protocols into calls of Repository's methods.
//
// Refusals that the client caused are *Error. All methods are safe for
// concurrent use. When a method that changes something returns nil, the change
// has reached the disk.
package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"artifactstore/registry/fact"
	"artifactstore/registry/manifest"
)

// MaxName and MaxTag are the longest names that are accepted, in bytes.
const (
	MaxName = 255
	MaxTag  = 128
)

// Budget bounds the memory that requests use together.
type Budget interface {
	// Acquire waits until n bytes may be used, and returns the function that
	// gives them back. More than the whole budget counts as all of it.
	Acquire(ctx context.Context, n int64) (release func(), err error)
}

// Share bounds the memory that is held for as long as clients take to send or
// to read. Nobody waits for it, since a slow client could keep all others
// waiting: what it has no room for is refused.
type Share interface {
	// TryAcquire takes n bytes if there are that many.
	TryAcquire(n int64) (release func(), ok bool)
}

// Options are the rules of a registry. The zero value of a field means its default.
type Options struct {
	// AllowSparse accepts manifests whose references are absent.
	AllowSparse bool
	// DeleteDisabled refuses the deletion of tags, manifests and blobs by clients.
	DeleteDisabled bool
	// AllowErase allows operators to erase manifests for a legal cause.
	AllowErase bool
	// UploadExpiry is how long an upload session lives; default 24 h.
	UploadExpiry time.Duration
	// SweepAfter is for how long a blob that no manifest uses is left alone, as
	// it may be about to be used; default 1 h.
	SweepAfter time.Duration
	// SweepGrace is how long a blob that no manifest uses stays condemned before
	// its repository loses it; default 24 h. What was deleted stays for the
	// grace of the retention rules.
	SweepGrace time.Duration
	// EraseDelay is how long the object of what was forgotten stays in its
	// store; default 24 h. It should be longer than backups take and links to
	// objects are good for.
	EraseDelay time.Duration
	// MaxManifest is the size limit of a manifest in bytes; default 4 MiB.
	MaxManifest int64
	// Budget bounds the memory for parsing; nil means no bound.
	Budget Budget
	// Held bounds the bodies of manifests that are being read; nil means no
	// bound.
	Held Share
	// Log gets what clients are not told; default: discarded.
	Log *slog.Logger
}

// Registry is a set of repositories.
type Registry struct {
	ledger Ledger
	bytes  Bytes
	opts   Options
	limits manifest.Limits
	secret []byte // signs upload sessions
	active activeUploads
	book   ruleBook
	pulls  pulls
	jump   atomic.Uint64 // event of the jump of the clock that was logged last
	// scrubbing is held by the one Scrub that runs here.
	scrubbing sync.Mutex
}

// New opens a registry over a ledger and a data plane, which stay the caller's.
func New(ctx context.Context, ledger Ledger, bytes Bytes, opts Options) (*Registry, error) {
	if opts.UploadExpiry == 0 {
		opts.UploadExpiry = 24 * time.Hour
	}
	if opts.SweepAfter == 0 {
		opts.SweepAfter = defaultSweepAfter
	}
	if opts.SweepGrace == 0 {
		opts.SweepGrace = defaultSweepGrace
	}
	if opts.EraseDelay == 0 {
		opts.EraseDelay = defaultEraseDelay
	}
	if opts.MaxManifest == 0 {
		opts.MaxManifest = 4 << 20
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{ledger: refusing{ledger}, bytes: bytes, opts: opts, limits: manifest.DefaultLimits()}
	err := ledger.Read(ctx, func(v View) (err error) {
		r.secret, err = v.Secret("uploads")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the secret of upload sessions: %w", err)
	}
	return r, nil
}

// Ready returns why pushes would be refused now, or nil.
func (r *Registry) Ready(ctx context.Context) error { return r.bytes.Room(ctx) }

// Repository is one repository on behalf of one caller. It need not exist: the
// first push makes it.
type Repository struct {
	*Registry
	name   string
	caller Caller
}

// nameGrammar is the <name> of the OCI distribution specification, "Pulling manifests".
var nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// Repository returns the repository of this name; NameInvalid if it is no name.
func (r *Registry) Repository(name string, caller Caller) (*Repository, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return &Repository{Registry: r, name: name, caller: caller}, nil
}

func checkName(name string) error {
	if len(name) > MaxName {
		return Errorf(NameInvalid, "the repository name is longer than %d characters", MaxName)
	}
	if !nameGrammar.MatchString(name) {
		return Errorf(NameInvalid, "the repository name must be lower case words of a-z and 0-9, joined by '.', '_', '__' or '-', in components separated by '/'")
	}
	return nil
}

// Name is the repository's name.
func (r *Repository) Name() string { return r.name }

// update commits a change to this repository on behalf of its caller. keys need
// not name the repository.
func (r *Repository) update(ctx context.Context, keys Keys, decide func(View, *Change) error) error {
	keys.Repositories = append(keys.Repositories, r.name)
	return r.ledger.Update(ctx, r.caller, keys, func(v View) (*Change, error) {
		c := new(Change)
		if err := decide(v, c); err != nil {
			return nil, err
		}
		return c, nil
	})
}

// ensure makes the repository exist.
func (r *Repository) ensure(v View, c *Change) error {
	exists, err := v.RepositoryExists(r.name)
	if err != nil {
		return fmt.Errorf("look up repository: %w", err)
	}
	if !exists {
		c.Add(&fact.RepositoryCreated{Repository: r.name})
	}
	return nil
}

// unknown is the refusal for something absent: NameUnknown if the whole
// repository is.
func (r *Repository) unknown(v View, code Code, what string) error {
	exists, err := v.RepositoryExists(r.name)
	if err != nil {
		return fmt.Errorf("look up repository: %w", err)
	}
	if !exists {
		return Errorf(NameUnknown, "there is no repository of this name")
	}
	return Errorf(code, "the repository has no such %s", what)
}

// storage turns the ways in which stores and the ledger say no into refusals.
func storage(err error) error {
	var e *Error
	switch {
	case err == nil, errors.As(err, &e):
		return err
	case errors.Is(err, fact.ErrFull):
		return &Error{Code: StorageFull, Message: "the registry has no room for more content; nothing was stored", Err: err}
	case errors.Is(err, ErrUnknown):
		return &Error{Code: Unavailable, Message: "the registry lost its database while it was storing this, and does not know whether it did; ask again", Err: err}
	case errors.Is(err, fact.ErrUnavailable):
		return &Error{Code: Unavailable, Message: "the registry cannot reach its storage now; try again", Err: err}
	case errors.Is(err, fact.ErrUnusable):
		return &Error{Code: Unavailable, Message: "the registry is being looked after by its operator; try again later", Err: err}
	case errors.Is(err, fact.ErrBroken):
		return &Error{Code: Unavailable, Message: "the registry takes no pushes until its operator has looked after its storage", Err: err}
	}
	return err
}

// refusing is a ledger whose failures are refusals where they can be.
type refusing struct{ Ledger }

func (l refusing) Update(ctx context.Context, caller Caller, keys Keys, decide func(View) (*Change, error)) error {
	return storage(l.Ledger.Update(ctx, caller, keys, decide))
}

func (l refusing) Read(ctx context.Context, query func(View) error) error {
	return storage(l.Ledger.Read(ctx, query))
}

// newID returns 32 random hex digits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// isID tells whether a text has the form of what newID returns.
func isID(text string) bool {
	return len(text) == 32 && strings.Trim(text, "0123456789abcdef") == ""
}

// settleTime bounds what must be finished after a client has gone.
const settleTime = 30 * time.Second

// detached returns a context for work that must outlive its request.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), settleTime)
}
