package registry

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"artifactstore/eventlog"
	"artifactstore/registry/identity"
)

// Sharing sums up the bytes of a repository; NameUnknown. A deleted one goes by the
// name that it has since.
func (r *Registry) Sharing(ctx context.Context, repository string) (s Sharing, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		exists, err := v.RepositoryExists(repository)
		if err != nil {
			return fmt.Errorf("look up repository: %w", err)
		}
		if !exists {
			return Errorf(NameUnknown, "there is no repository of this name")
		}
		s, err = v.Sharing(repository)
		return err
	})
	return s, err
}

// ManifestName names a manifest, live or deleted, by any of its digests.
type ManifestName struct {
	Repository string
	Digest     identity.Digest
}

// Freed says what goes with manifests.
type Freed struct {
	Manifests int64 // that were found, each once
	// Bytes is the sum of all: of Blobs byte sequences, of which ManifestBytes
	// are pushed bytes and NativeBytes native forms.
	Blobs, Bytes               int64
	ManifestBytes, NativeBytes int64
}

// MaxFreed is how many manifests Freed can be asked about at once.
const MaxFreed = 100_000

// maxShared bounds how many byte sequences that something else keeps as well are
// remembered, each by a number.
const maxShared = 1_000_000

// Freed says how many bytes would be free once these manifests were gone and the
// sweep had done its work: their own bytes, their native forms, and the blobs of
// which every user is among them. What keeps a blob beside them is a manifest that
// references it in a repository that holds it, a deleted one that can still be put
// back included, and a hold on a whole repository that holds it; a link that nothing
// uses does not. Holds on the manifests themselves are not asked.
//
// The result is exact if nothing changes meanwhile. Names of what is not there
// count for nothing; more than MaxFreed are refused (Unsupported), and so are
// manifests that share more than a million blobs.
func (r *Registry) Freed(ctx context.Context, manifests iter.Seq2[ManifestName, error]) (Freed, error) {
	f := &freeing{Registry: r, gone: map[eventlog.Sequence]bool{}, seen: map[eventlog.Sequence]struct{}{}}
	if err := f.name(ctx, manifests); err != nil {
		return Freed{}, err
	}
	all := make([]eventlog.Sequence, 0, len(f.gone))
	for m := range f.gone {
		all = append(all, m)
	}
	slices.Sort(all)
	f.Manifests = int64(len(all))
	if err := f.all(ctx, all); err != nil {
		return Freed{}, err
	}
	return f.Freed, nil
}

// freedPage is how many manifests are looked up in one read.
const freedPage = 100

// freeing is one question.
type freeing struct {
	*Registry
	Freed
	gone map[eventlog.Sequence]bool // put events of the manifests
	// seen are byte sequences that have been decided about and can be met again:
	// something else than one manifest keeps them.
	seen map[eventlog.Sequence]struct{}
}

// name finds the manifests.
func (f *freeing) name(ctx context.Context, manifests iter.Seq2[ManifestName, error]) error {
	page := make([]ManifestName, 0, freedPage)
	flush := func() error {
		err := f.ledger.Read(ctx, func(v View) error {
			for _, m := range page {
				if err := f.find(v, m); err != nil {
					return err
				}
			}
			return nil
		})
		page = page[:0]
		if err == nil && len(f.gone) > MaxFreed {
			err = Errorf(Unsupported, "what would be free can be told of %d manifests at once", MaxFreed)
		}
		return err
	}
	for m, err := range manifests {
		if err != nil {
			return err
		}
		if page = append(page, m); len(page) == freedPage {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (f *freeing) find(v View, name ManifestName) error {
	m, _, err := v.Manifest(name.Repository, name.Digest)
	if err == nil && m == nil {
		var g *Grave
		if g, err = v.Grave(name.Repository, name.Digest); g != nil {
			m = &g.Manifest
		}
	}
	if err != nil {
		return fmt.Errorf("look up manifest: %w", err)
	}
	if m != nil {
		f.gone[m.Sequence] = true
	}
	return nil
}

// all adds up what goes with the manifests, in reads of a bounded size.
func (f *freeing) all(ctx context.Context, manifests []eventlog.Sequence) error {
	at := freedPlace{within: map[eventlog.Sequence]bool{}}
	for at.manifest < len(manifests) {
		var step *freedStep
		err := f.ledger.Read(ctx, func(v View) error {
			step = &freedStep{freeing: f, v: v, freedPlace: at, now: map[eventlog.Sequence]bool{}}
			step.within = maps.Clone(at.within)
			return step.run(manifests)
		})
		if err != nil {
			return err
		}
		at = step.freedPlace
		f.add(&step.sum)
		for b := range step.now {
			f.seen[b] = struct{}{}
		}
		if len(f.seen) > maxShared {
			return Errorf(Unsupported, "the manifests share more than %d blobs; ask about fewer at once", maxShared)
		}
	}
	return nil
}

func (n *Freed) add(o *Freed) {
	n.Blobs += o.Blobs
	n.Bytes += o.Bytes
	n.ManifestBytes += o.ManifestBytes
	n.NativeBytes += o.NativeBytes
}

// freedPlace is how far a question has come.
type freedPlace struct {
	manifest int // its place in the list
	from     int64
	// within are the byte sequences of the manifest that were met.
	within map[eventlog.Sequence]bool
}

// freedStep is what is done in one read.
type freedStep struct {
	*freeing
	v View
	freedPlace
	sum Freed
	now map[eventlog.Sequence]bool // as seen
}

// keepsPage is about how many byte sequences are looked at in one read.
const keepsPage = 1000

func (s *freedStep) run(manifests []eventlog.Sequence) error {
	for visited := int64(0); visited < keepsPage && s.manifest < len(manifests); {
		m, to := manifests[s.manifest], s.from+keepsPage
		items, err := s.v.Keeps(m, s.from, to)
		if err != nil {
			return fmt.Errorf("look up what a manifest keeps: %w", err)
		}
		for i := range items {
			if err := s.weigh(&items[i]); err != nil {
				return err
			}
		}
		references, err := s.v.ReferenceCount(m)
		if err != nil {
			return fmt.Errorf("count references: %w", err)
		}
		visited += min(int64(references), to) - s.from + 2
		if s.from = to; to >= int64(references) {
			s.manifest, s.from = s.manifest+1, 0
			clear(s.within)
		}
	}
	return nil
}

// weigh counts a byte sequence if it goes.
func (s *freedStep) weigh(item *KeptItem) error {
	if s.within[item.Blob] {
		return nil
	}
	s.within[item.Blob] = true
	if !item.Alone {
		if _, seen := s.seen[item.Blob]; seen || s.now[item.Blob] {
			return nil
		}
		s.now[item.Blob] = true
		kept, err := s.kept(item)
		if kept || err != nil {
			return err
		}
	}
	s.sum.Blobs++
	s.sum.Bytes += item.Size
	switch item.Role {
	case KeptManifest:
		s.sum.ManifestBytes += item.Size
	case KeptNative:
		s.sum.NativeBytes += item.Size
	}
	return nil
}

// kept tells whether anything else than the manifests keeps a byte sequence.
func (s *freedStep) kept(item *KeptItem) (bool, error) {
	b, err := s.v.Blob(item.Digest)
	if err != nil || b == nil {
		return true, err
	}
	for after, more := eventlog.Sequence(0), true; more; {
		page, err := s.v.KeeperManifests(b, after, keepsPage)
		if err != nil {
			return true, fmt.Errorf("look up keepers: %w", err)
		}
		for _, after = range page {
			if !s.gone[after] {
				return true, nil
			}
		}
		more = len(page) == keepsPage
	}
	for after, more := (UserPlace{}), true; more; {
		page, err := s.v.Uses(b, after, keepsPage)
		if err != nil {
			return true, fmt.Errorf("look up users: %w", err)
		}
		for _, u := range page {
			if after = u.Place; u.Linked && !s.gone[eventlog.Sequence(u.Place.Manifest)] {
				return true, nil
			}
		}
		more = len(page) == keepsPage
	}
	return s.frozen(b)
}

// frozen tells whether a repository that holds a blob is under a hold.
func (s *freedStep) frozen(b *Blob) (bool, error) {
	names, err := s.v.HeldHolders(b, keepsPage)
	if err != nil {
		return true, fmt.Errorf("look up held repositories: %w", err)
	}
	for _, name := range names {
		holds, err := binding(s.v, name)
		if err != nil || len(repositoryHolds(holds)) > 0 {
			return true, err
		}
	}
	return len(names) == keepsPage, nil
}
