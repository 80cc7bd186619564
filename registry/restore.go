package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// restoreBatch is how many references the manifests have that are put back in one
// commit, unless a single one has more.
const restoreBatch = 5_000

// maxRestore is how many manifests one undo puts back.
const maxRestore = 10_000

// deleted is a deleted manifest that is to be put back.
type deleted struct {
	primary, digest identity.Digest
	children        []identity.Digest // primary digests of manifests that it lists
	blobs           []identity.Digest // primary digests of what it needs beside them
}

// errGone: a manifest that an undo needs is neither there nor can it be put back.
type errGone struct{ manifest identity.Digest }

func (e *errGone) Error() string { return "manifest " + e.manifest.String() + " was forgotten" }

// restore puts a manifest back, if it was deleted, with the children that it needs,
// and commits with the last of them what act adds. act may run several times.
func (u *undo) restore(ctx context.Context, repository string, root identity.Digest, keys Keys, act func(View, *Change) error) error {
	var plan []*deleted
	err := u.r.ledger.Read(ctx, func(v View) (err error) {
		if err := act(v, new(Change)); err != nil {
			return err
		}
		plan, err = u.plan(v, repository, root)
		return err
	})
	for err == nil {
		var some []*deleted
		some, plan = chunk(plan)
		k := restoreKeys(repository, some)
		if len(plan) == 0 {
			k.Tags, k.Manifests = keys.Tags, append(k.Manifests, keys.Manifests...)
		}
		var c *restoring
		err = u.update(ctx, k, func(v View, change *Change) error {
			c = u.restoring(v, change, repository)
			for _, d := range some {
				if err := c.manifest(d.primary); err != nil {
					return err
				}
			}
			if len(plan) > 0 {
				return nil
			}
			m, _, err := v.Manifest(repository, root)
			if err == nil && m == nil && !c.back[root] {
				err = u.changed()
			}
			if err != nil {
				return err
			}
			return act(v, change)
		})
		if err == nil {
			u.result.Restored = append(u.result.Restored, c.restored...)
			u.result.Notes = append(u.result.Notes, c.notes...)
		}
		if len(plan) == 0 {
			break
		}
	}
	if gone, ok := errors.AsType[*errGone](err); ok {
		return u.explain(ctx, "manifest "+gone.manifest.String(), func(later fact.Fact) string {
			if f, ok := later.(*fact.ManifestForgotten); ok && f.Repository == repository && f.Manifest == gone.manifest {
				return "was forgotten"
			}
			return ""
		})
	}
	return err
}

// chunk cuts what fits into one commit off a plan.
func chunk(plan []*deleted) (some, rest []*deleted) {
	size := 0
	for i, d := range plan {
		size += 1 + len(d.children) + len(d.blobs)
		if i > 0 && size > restoreBatch {
			return plan[:i], plan[i:]
		}
	}
	return plan, nil
}

func restoreKeys(repository string, all []*deleted) Keys {
	k := Keys{Repositories: []string{repository}}
	for _, d := range all {
		k.Manifests = append(append(k.Manifests, d.primary), d.children...)
		k.Digests = append(k.Digests, d.blobs...)
	}
	return k
}

// plan lists the deleted manifests that must be put back so that one is, children
// first, and refuses if something that they need is not there any more.
func (u *undo) plan(v View, repository string, root identity.Digest) ([]*deleted, error) {
	var plan []*deleted
	p := u.restoring(v, new(Change), repository)
	done := map[identity.Digest]bool{}
	for todo := []identity.Digest{root}; len(todo) > 0; {
		d := todo[len(todo)-1]
		m, _, err := v.Manifest(repository, d)
		if err != nil {
			return nil, fmt.Errorf("look up manifest: %w", err)
		}
		if m != nil || done[d] {
			todo = todo[:len(todo)-1]
			continue
		}
		if len(done)+len(todo) > maxRestore {
			return nil, u.conflict("more than %d deleted manifests would have to be put back with it; undo the deletion of its children first", maxRestore)
		}
		needs, err := p.needs(d)
		if err != nil {
			return nil, err
		}
		if children := p.missing(needs.children, done); len(children) > 0 {
			todo = append(todo, children...)
			continue
		}
		if err := p.manifest(d); err != nil {
			return nil, err
		}
		todo = todo[:len(todo)-1]
		done[d] = true
		plan = append(plan, needs)
	}
	return plan, nil
}

// restoring adds to a change the events that put manifests back.
type restoring struct {
	u          *undo
	v          View
	change     *Change
	repository string
	back       map[identity.Digest]bool // manifests that this change puts back
	blobs      map[identity.Digest]bool // and blobs
	restored   []identity.Digest
	notes      []string
}

func (u *undo) restoring(v View, c *Change, repository string) *restoring {
	return &restoring{u: u, v: v, change: c, repository: repository,
		back: map[identity.Digest]bool{}, blobs: map[identity.Digest]bool{}}
}

// changed is the refusal when something happens between two steps.
func (u *undo) changed() error {
	return u.conflict("what it needs changed at this very moment; try again")
}

// missing are those of manifests that are deleted and not put back yet.
func (p *restoring) missing(children []identity.Digest, done map[identity.Digest]bool) (all []identity.Digest) {
	for _, d := range children {
		if !p.back[d] && !done[d] {
			all = append(all, d)
		}
	}
	return all
}

// needs lists what a deleted manifest needs: its children that are deleted too, and
// its blobs.
func (p *restoring) needs(d identity.Digest) (*deleted, error) {
	g, err := p.v.Grave(p.repository, d)
	if err != nil {
		return nil, fmt.Errorf("look up deleted manifest: %w", err)
	}
	if g == nil {
		return nil, &errGone{d}
	}
	needs := &deleted{primary: d, digest: g.Digest}
	err = p.references(g, func(ref *ReferenceInfo) error {
		child, err := p.child(ref)
		switch {
		case err != nil:
			return err
		case child:
			needs.children = append(needs.children, ref.Target)
		default:
			needs.blobs = append(needs.blobs, ref.Target)
		}
		return nil
	})
	return needs, err
}

// references calls found with those that were there when the manifest was pushed.
func (p *restoring) references(g *Grave, found func(*ReferenceInfo) error) error {
	for after, more := int64(-1), true; more; {
		page, err := p.v.References(g.Sequence, after, tagBatch)
		if err != nil {
			return fmt.Errorf("read references: %w", err)
		}
		for i := range page {
			after = page[i].Ordinal
			if page[i].Target.IsZero() {
				continue
			}
			if err := found(&page[i]); err != nil {
				return err
			}
		}
		more = len(page) == tagBatch
	}
	return nil
}

// child tells whether a reference is to a manifest that is deleted. One that is
// there needs nothing, and is not told apart from a blob that is.
func (p *restoring) child(ref *ReferenceInfo) (bool, error) {
	if ref.Role != manifest.RoleManifest {
		return false, nil
	}
	m, _, err := p.v.Manifest(p.repository, ref.Target)
	if err != nil || m != nil {
		return false, err
	}
	g, err := p.v.Grave(p.repository, ref.Target)
	if err != nil || g != nil {
		return g != nil, err
	}
	link, err := p.v.Link(p.repository, ref.Target) // an index may list blobs
	if err == nil && link == nil {
		err = &errGone{ref.Target}
	}
	return false, err
}

// manifest adds the events that put a deleted manifest back. Its children are there
// or are put back by the same change; what it needs beside them is brought back.
func (p *restoring) manifest(d identity.Digest) error {
	if p.back[d] {
		return nil
	}
	m, _, err := p.v.Manifest(p.repository, d)
	if err != nil || m != nil {
		return err
	}
	g, err := p.v.Grave(p.repository, d)
	if err != nil {
		return fmt.Errorf("look up deleted manifest: %w", err)
	}
	if g == nil {
		return &errGone{d}
	}
	err = p.references(g, func(ref *ReferenceInfo) error {
		if ref.Role == manifest.RoleManifest {
			if there, err := p.there(ref.Target); err != nil || there {
				return err
			}
		}
		return p.blob(ref.Target)
	})
	if err != nil {
		return err
	}
	p.change.Add(&fact.ManifestRestored{Repository: p.repository, Manifest: d})
	p.back[d] = true
	p.restored = append(p.restored, g.Digest)
	return p.note(g)
}

// there tells whether a manifest is there, or is put back by the same change.
func (p *restoring) there(d identity.Digest) (bool, error) {
	if p.back[d] {
		return true, nil
	}
	m, _, err := p.v.Manifest(p.repository, d)
	if err != nil || m != nil {
		return m != nil, err
	}
	g, err := p.v.Grave(p.repository, d)
	if err == nil && g != nil {
		err = p.u.changed()
	}
	return false, err
}

// note says what an operator should know of a manifest that is back.
func (p *restoring) note(g *Grave) error {
	now, err := p.v.Trusted()
	if err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	switch {
	case !g.Marked.IsZero():
		p.notes = append(p.notes, fmt.Sprintf("manifest %s expired on %s: it goes again after another grace unless it is renewed, by a push or by extending its retention", g.Digest, date(g.Marked)))
	case !g.Expires.IsZero() && !now.Before(g.Expires):
		p.notes = append(p.notes, fmt.Sprintf("the class of manifest %s ended on %s: it goes again unless something keeps it, or its retention is extended", g.Digest, date(g.Expires)))
	}
	return nil
}

// blob adds the event that makes a blob the repository's for good: it may be
// condemned, or taken out of it.
func (p *restoring) blob(primary identity.Digest) error {
	if p.blobs[primary] {
		return nil
	}
	link, err := p.v.Link(p.repository, primary)
	if err != nil {
		return fmt.Errorf("look up blob: %w", err)
	}
	switch {
	case link == nil:
		b, err := p.v.Blob(primary)
		if err != nil {
			return fmt.Errorf("look up content: %w", err)
		}
		if b == nil {
			return p.u.conflict("blob %s, which it needs, was deleted and forgotten; push it, and what needs it", primary)
		}
		p.change.Add(&fact.BlobLinked{Repository: p.repository, Blob: primary})
	case !link.Due.IsZero():
		p.change.Add(&fact.BlobRevived{Repository: p.repository, Blob: primary})
	}
	p.blobs[primary] = true
	return nil
}

// goneTag is a tag that was deleted together with a manifest.
type goneTag struct {
	name string
	by   eventlog.Sequence
}

func (u *undo) manifestDeleted(ctx context.Context, f *fact.ManifestDeleted) error {
	u.repository(f.Repository)
	tags, err := u.tagsOf(ctx, f)
	if err != nil {
		return err
	}
	moves, err := u.tagMoves(ctx, f, tags)
	if err != nil {
		return err
	}
	for first := true; first || len(moves) > 0; first = false {
		some := moves[:min(tagBatch, len(moves))]
		keys := Keys{Repositories: []string{f.Repository}, Manifests: []identity.Digest{f.Manifest}}
		for _, m := range some {
			keys.Tags = append(keys.Tags, m.Tag)
		}
		var moved []string
		err := u.restore(ctx, f.Repository, f.Manifest, keys, func(v View, c *Change) error {
			moved = nil
			if err := u.deletedBy(v, f, len(moves) > 0); err != nil {
				return err
			}
			for _, m := range some {
				t, err := v.Tag(m.Repository, m.Tag)
				if err != nil {
					return fmt.Errorf("look up tag: %w", err)
				}
				if t == nil { // else it was made just now
					c.Add(m)
					moved = append(moved, m.Tag)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		u.result.Moved = append(u.result.Moved, moved...)
		moves = moves[len(some):]
	}
	return nil
}

// deletedBy makes sure that it was the event that deleted the manifest last. What an
// undo that was cut off has put back already is fine while there is more to do.
func (u *undo) deletedBy(v View, f *fact.ManifestDeleted, more bool) error {
	state, err := v.RepositoryState(f.Repository)
	if err != nil {
		return fmt.Errorf("look up repository: %w", err)
	}
	if state == nil || state.ID > int64(u.event.Sequence) {
		return u.lostRepository(v, f.Repository)
	}
	m, _, err := v.Manifest(f.Repository, f.Manifest)
	if err != nil {
		return fmt.Errorf("look up manifest: %w", err)
	}
	if m != nil {
		switch {
		case m.Sequence > u.event.Sequence:
			return u.conflict("event %d has put the manifest again since, on %s", m.Sequence, date(m.Pushed))
		case !more && len(u.result.Restored) == 0:
			return u.conflict("the manifest is there: it was put back before")
		}
		return nil
	}
	g, err := v.Grave(f.Repository, f.Manifest)
	if err != nil {
		return fmt.Errorf("look up deleted manifest: %w", err)
	}
	switch {
	case g == nil:
		return &errGone{f.Manifest}
	case g.By > u.event.Sequence:
		return u.conflict("event %d has deleted the manifest again since, on %s; undo that one", g.By, date(g.Deleted))
	case g.By < u.event.Sequence:
		return u.lostRepository(v, f.Repository)
	}
	return nil
}

// maxApart is how many events of others may be between two commits with which the
// tags of one manifest were deleted.
const maxApart = 5_000

// tagsOf finds the tags that were deleted with the manifest of the event, by the
// same request: in the same commit or, if they were too many for one, just before.
func (u *undo) tagsOf(ctx context.Context, f *fact.ManifestDeleted) (tags []goneTag, err error) {
	before, others := u.event.Sequence, 0
	for before > 1 {
		var page []eventlog.Event
		from := max(before, tagBatch+1) - tagBatch - 1
		err := u.r.ledger.Read(ctx, func(v View) (err error) {
			page, err = eventsBetween(v, from, before)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		for _, e := range slices.Backward(page) {
			tag := new(fact.TagDeleted)
			same := e.Kind == fact.KindTagDeleted && e.Actor == u.event.Actor && e.Request == u.event.Request
			if same {
				if err := e.Decode(tag); err != nil {
					return nil, err
				}
			}
			switch {
			case same && tag.Repository == f.Repository && tag.Manifest == f.Manifest:
				tags, others = append(tags, goneTag{tag.Tag, e.Sequence}), 0
			case len(tags) > 0 && u.event.Request != "" && others < maxApart:
				others++
			default:
				return tags, nil
			}
		}
		before = from + 1
	}
	return tags, nil
}

// eventsBetween returns the events after one sequence and before another.
func eventsBetween(v View, after, before eventlog.Sequence) (all []eventlog.Event, err error) {
	for after+1 < before {
		page, err := v.EventsAfter(after, int(before-after-1))
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		after = page[len(page)-1].Sequence
	}
	return all, nil
}

// tagReads is how many tags are looked up in one read.
const tagReads = 100

// tagMoves returns the events that put tags back, and notes which are left.
func (u *undo) tagMoves(ctx context.Context, f *fact.ManifestDeleted, tags []goneTag) (moves []*fact.TagMoved, err error) {
	slices.SortFunc(tags, func(a, b goneTag) int { return strings.Compare(a.name, b.name) })
	for some := range slices.Chunk(tags, tagReads) {
		err := u.r.ledger.Read(ctx, func(v View) error {
			for _, t := range some {
				history, err := v.TagMoves(f.Repository, t.name, 0, 1)
				if err != nil {
					return fmt.Errorf("read the history of a tag: %w", err)
				}
				if len(history) == 0 {
					continue // of another repository of this name: the manifest will say so
				}
				if history[0].Sequence != t.by {
					u.result.Left = append(u.result.Left, LeftTag{Tag: t.name, Event: history[0].Sequence})
					continue
				}
				m := &fact.TagMoved{Repository: f.Repository, Tag: t.name, To: f.Manifest}
				if m.Digest, err = answeredWith(v, f.Repository, t.name, t.by); err != nil {
					return fmt.Errorf("read the history of a tag: %w", err)
				}
				if m.Digest.IsZero() {
					m.Digest = f.Manifest
				}
				moves = append(moves, m)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return moves, nil
}

// isDeleted tells whether a name is that of a deleted repository which was called so.
func isDeleted(name, called string) bool {
	old, _, deleted := strings.Cut(name, "#")
	return deleted && old == called
}
