package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
	"artifactstore/retention"
)

// put is one push of a manifest.
type put struct {
	r      *Repository
	push   ManifestPush
	parsed *manifest.Parsed
	raw    []byte

	digest identity.Digest // to answer with, and that the tags get
	tags   []string
	// held are the digest sets of the references that are in the
	// repository, and of the subject: the native form depends on them.
	held          map[identity.Digest]identity.DigestSet
	stored        map[identity.Digest]*Blob // where they are
	bytes, native *incoming
}

func (p *put) subject() identity.Digest {
	if p.parsed.Subject == nil {
		return identity.Digest{}
	}
	return p.parsed.Subject.Digest
}

// identify computes the digest to answer with and collects the tags.
func (p *put) identify() error {
	named := p.push.Reference.Digest
	if named.IsZero() {
		p.digest = identity.FromBytes(identity.SHA256, p.raw)
		p.tags = append(p.tags, p.push.Reference.Tag)
	} else if p.digest = identity.FromBytes(named.Algorithm(), p.raw); p.digest != named {
		return &Error{Code: DigestInvalid, Message: "the manifest does not have the digest that was named",
			Detail: map[string]string{"digest": named.String(), "actual": p.digest.String()}}
	}
	for _, t := range p.push.Tags {
		if !slices.Contains(p.tags, t) {
			p.tags = append(p.tags, t)
		}
	}
	return nil
}

// errResolve tells that a reference appeared or went since the native form was
// built.
var errResolve = errors.New("references must be resolved again")

// store builds the native form from the references that are held now, brings
// both byte sequences in, and commits; if the references change meanwhile, it
// starts over.
func (p *put) store(ctx context.Context) error {
	for range 4 {
		err := p.attempt(ctx)
		if !errors.Is(err, errResolve) {
			return err
		}
	}
	return Errorf(Unavailable, "the references of the manifest changed under the push several times; try again")
}

func (p *put) attempt(ctx context.Context) (err error) {
	if err := storage(p.r.bytes.Room(ctx)); err != nil {
		return err
	}
	err = p.r.ledger.Read(ctx, func(v View) (err error) {
		p.held, err = p.resolve(v)
		return err
	})
	if err == nil {
		err = p.checkPresent(ctx)
	}
	if err != nil {
		return err
	}
	p.bytes, err = p.bring(ctx, p.raw, p.digest)
	if err != nil {
		return err
	}
	defer func() {
		p.bytes.release()
		if err != nil {
			p.bytes.abandon(ctx)
		}
	}()
	form, err := p.form(p.bytes.sealed)
	if err != nil {
		return err
	}
	p.native, err = p.bring(ctx, form, identity.Digest{})
	if err != nil {
		return err
	}
	defer func() {
		p.native.release()
		if err != nil {
			p.native.abandon(ctx)
		}
	}()
	return commit(ctx, p.r, []*incoming{p.bytes, p.native}, p.keys(), p.decide)
}

// bring takes a byte sequence of ours through the same steps as an upload.
func (p *put) bring(ctx context.Context, data []byte, d identity.Digest) (*incoming, error) {
	s, err := p.r.newSession(ctx, d.Algorithm())
	if err != nil {
		return nil, err
	}
	in := p.r.receive(s)
	in.up.Staged.Last = true
	if err := in.ingest(ctx, bytes.NewReader(data), d.Algorithm()); err != nil {
		in.abandon(ctx)
		return nil, err
	}
	if err := in.seal(ctx, d); err != nil {
		in.abandon(ctx)
		return nil, err
	}
	return in, nil
}

// form is the canonical CBOR of the manifest.
func (p *put) form(source fact.Sealed) ([]byte, error) {
	native := manifest.Build(p.parsed, source.Digests, source.Size, func(d identity.Digest) (identity.DigestSet, bool) {
		set, ok := p.held[d]
		return set, ok
	})
	form, err := native.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode native form: %w", err)
	}
	return form, nil
}

// resolve finds the references in the repository, and refuses those that are
// absent and may not be, or are not what their descriptor says.
func (p *put) resolve(v View) (map[identity.Digest]identity.DigestSet, error) {
	held := make(map[identity.Digest]identity.DigestSet)
	p.stored = make(map[identity.Digest]*Blob)
	for _, ref := range p.parsed.References() {
		b, err := p.find(v, ref)
		if err != nil {
			return nil, err
		}
		if b == nil {
			if !p.r.opts.AllowSparse && !ref.NonDistributable {
				return nil, absent(ref.Digest, nil)
			}
			continue
		}
		if b.Size != ref.Size {
			return nil, &Error{Code: SizeInvalid, Message: "a descriptor of the manifest gives another size than the content has",
				Detail: map[string]any{"digest": ref.Digest.String(), "size": ref.Size, "actual": b.Size}}
		}
		held[ref.Digest], p.stored[ref.Digest] = b.Digests, b
	}
	if s := p.parsed.Subject; s != nil {
		m, _, err := v.Manifest(p.r.name, s.Digest)
		if err != nil {
			return nil, fmt.Errorf("look up subject: %w", err)
		}
		if m != nil {
			held[s.Digest] = m.Blob.Digests
		}
	}
	return held, nil
}

func absent(d identity.Digest, err error) error {
	return &Error{Code: ManifestBlobUnknown, Message: "the manifest references content that the repository does not have; push that first",
		Detail: map[string]string{"digest": d.String()}, Err: err}
}

// checkPresent refuses references whose bytes are missing or damaged, so that
// the client pushes them again, which heals them.
func (p *put) checkPresent(ctx context.Context) error {
	for d, b := range p.stored {
		present, err := p.r.present(ctx, b)
		if err != nil {
			return err
		}
		if !present {
			return absent(d, fact.ErrGone)
		}
	}
	return nil
}

// find looks a reference up. An index may list blobs beside manifests: build
// caches are pushed that way.
func (p *put) find(v View, ref manifest.Reference) (*Blob, error) {
	if ref.Role == manifest.RoleManifest {
		m, _, err := v.Manifest(p.r.name, ref.Digest)
		if err != nil {
			return nil, fmt.Errorf("look up manifest: %w", err)
		}
		if m != nil && m.MediaType != ref.MediaType {
			return nil, &Error{Code: ManifestInvalid, Message: "a descriptor of the index gives another media type than the manifest has",
				Detail: map[string]string{"digest": ref.Digest.String(), "mediaType": ref.MediaType, "actual": m.MediaType}}
		}
		if m != nil {
			return &m.Blob, nil
		}
	}
	b, err := linkedBlob(v, p.r.name, ref.Digest)
	if err != nil {
		return nil, fmt.Errorf("look up blob: %w", err)
	}
	return b, nil
}

// keys name what decide asks for.
func (p *put) keys() Keys {
	k := Keys{Tags: p.tags, Manifests: []identity.Digest{p.bytes.sealed.Digests.Primary()}}
	for _, ref := range p.parsed.References() {
		if ref.Role == manifest.RoleManifest {
			k.Manifests = append(k.Manifests, ref.Digest)
		}
		k.Digests = append(k.Digests, ref.Digest)
		if b := p.stored[ref.Digest]; b != nil {
			k.Digests = append(k.Digests, b.Digests.Primary())
		}
	}
	if s := p.subject(); !s.IsZero() {
		k.Manifests = append(k.Manifests, s)
	}
	return k
}

// decide adds the events of the manifest and its tags.
func (p *put) decide(v View, c *Change) error {
	primary := p.bytes.sealed.Digests.Primary()
	current, _, err := v.Manifest(p.r.name, primary)
	if err != nil {
		return fmt.Errorf("look up manifest: %w", err)
	}
	moves, err := p.moves(v, current, primary)
	if err != nil {
		return err
	}
	held, err := p.resolve(v)
	if err != nil {
		return err
	}
	if !sameSets(held, p.held) {
		return errResolve
	}
	if err := p.r.ensure(v, c); err != nil {
		return err
	}
	if err := p.enter(v, c, current); err != nil {
		return err
	}
	if err := p.revive(v, c); err != nil {
		return err
	}
	for _, m := range moves {
		c.Add(m)
	}
	return nil
}

// revive takes back that blobs which the manifest uses were condemned.
func (p *put) revive(v View, c *Change) error {
	seen := make(map[identity.Digest]bool)
	for _, ref := range p.parsed.References() {
		b := p.stored[ref.Digest]
		if b == nil || seen[b.Digests.Primary()] {
			continue
		}
		primary := b.Digests.Primary()
		seen[primary] = true
		link, err := v.Link(p.r.name, primary)
		if err != nil {
			return fmt.Errorf("look up link: %w", err)
		}
		if link != nil && !link.Due.IsZero() {
			c.Add(&fact.BlobRevived{Repository: p.r.name, Blob: primary})
		}
	}
	return nil
}

func sameSets(a, b map[identity.Digest]identity.DigestSet) bool {
	if len(a) != len(b) {
		return false
	}
	for d, set := range a {
		if !set.Equal(b[d]) {
			return false
		}
	}
	return true
}

// enter adds the event of the manifest, unless it is there.
func (p *put) enter(v View, c *Change, current *Manifest) error {
	if current != nil {
		if current.MediaType != p.parsed.MediaType {
			return Errorf(ManifestInvalid, "the repository has this manifest already, as %s", current.MediaType)
		}
		return p.renew(v, c, current)
	}
	given, err := p.class(v)
	if err != nil {
		return err
	}
	if err := p.reopen(v, c); err != nil {
		return err
	}
	sealed := p.bytes.sealed
	f := &fact.ManifestPut{
		Repository: p.r.name, Manifest: sealed.Digests.Primary(), Native: p.native.sealed.Digests.Primary(),
		Digest: p.digest, MediaType: p.parsed.MediaType, ArtifactType: p.parsed.ArtifactType, Size: sealed.Size,
		SubjectDigest: p.subject(), References: []fact.Reference{}, Class: string(given.Class), Expires: microseconds(given.Expires),
	}
	for _, ref := range p.parsed.References() {
		f.References = append(f.References, fact.Reference{Role: ref.Role, MediaType: ref.MediaType,
			Digest: ref.Digest, Target: p.held[ref.Digest].Primary(), Size: ref.Size})
	}
	if p.parsed.Subject == nil {
		c.Add(f)
	} else {
		c.AddContent(f, manifest.ReferrerDescriptor(p.parsed, p.digest, sealed.Size))
	}
	c.Add(&fact.DefaultApplied{Repository: f.Repository, Manifest: f.Manifest, Class: f.Class, Expires: f.Expires,
		Rule: given.Rule, Chosen: given.Chosen})
	return nil
}

// classAnnotation is the annotation by which a manifest asks for a retention class.
const classAnnotation = "dev.artifactstore.retention.class"

// class decides the retention class of the manifest.
func (p *put) class(v View) (retention.Assigned, error) {
	rules, err := p.r.book.rules(v)
	if err != nil {
		return retention.Assigned{}, err
	}
	given, err := rules.Class(p.r.name, p.parsed.Annotations[classAnnotation], v.Now())
	if err != nil {
		return given, fmt.Errorf("retention of manifest: %w", refused(err))
	}
	return given, nil
}

// microseconds is a time in a payload; zero is 0.
func microseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// renew makes a manifest that has expired current again: its term begins anew.
func (p *put) renew(v View, c *Change, current *Manifest) error {
	if current.Marked.IsZero() && (current.Expires.IsZero() || v.Now().Before(current.Expires)) {
		return nil
	}
	rules, err := p.r.book.rules(v)
	if err != nil {
		return err
	}
	expires := rules.Renew(retention.Class(current.Class), current.Expires, v.Now())
	c.Add(&fact.Renewed{Repository: p.r.name, Manifest: current.Blob.Digests.Primary(), Class: current.Class, Expires: microseconds(expires)})
	return nil
}

// reopen drops what is left of the manifest from before it was deleted, which
// this push replaces.
func (p *put) reopen(v View, c *Change) error {
	g, err := v.Grave(p.r.name, p.bytes.sealed.Digests.Primary())
	if err != nil {
		return fmt.Errorf("look up deleted manifest: %w", err)
	}
	if g != nil && !g.Subject.IsZero() {
		c.Forget = append(c.Forget, g.Sequence)
	}
	return nil
}

// moves checks the conditions of the push and returns the tags' events.
func (p *put) moves(v View, current *Manifest, primary identity.Digest) ([]fact.Fact, error) {
	if len(p.tags) == 0 {
		if current == nil {
			return nil, p.push.condition("the manifest", nil, false)
		}
		return nil, p.push.condition("the manifest", &current.Blob, true)
	}
	var moves []fact.Fact
	for _, name := range p.tags {
		m, t, _, err := v.TaggedManifest(p.r.name, name)
		if err != nil {
			return nil, fmt.Errorf("look up tag: %w", err)
		}
		f := &fact.TagMoved{Repository: p.r.name, Tag: name, To: primary, Digest: p.digest}
		var names *Blob
		if m != nil {
			names, f.From = &m.Blob, t.Manifest
		}
		if err := p.push.condition("tag "+name, names, f.From == primary); err != nil {
			return nil, err
		}
		if t != nil && f.From != primary {
			if err := p.r.mayMoveTag(v, name); err != nil {
				return nil, err
			}
		}
		if t == nil || f.From != primary || t.Digest != p.digest {
			moves = append(moves, f)
		}
	}
	return moves, nil
}

// condition checks If-None-Match and If-Match against what is there now. What
// is already as the push wants it satisfies If-Match: a client that lost the
// answer asks again.
func (p *ManifestPush) condition(what string, now *Blob, done bool) error {
	if p.IfNoneMatch && now != nil {
		return failed(what+" exists already", now)
	}
	if p.IfMatch == nil || done {
		return nil
	}
	if now == nil {
		return failed(what+" does not exist", nil)
	}
	for _, want := range p.IfMatch {
		if want == "*" {
			return nil
		}
		if d, err := identity.Parse(want); err == nil && now.Digests.Has(d) {
			return nil
		}
	}
	return failed(what+" is not what the condition says", now)
}

func failed(message string, now *Blob) error {
	e := &Error{Code: PreconditionFailed, Message: message}
	if now != nil {
		d, ok := now.Digests.Get(identity.SHA256)
		if !ok {
			d = now.Digests.Primary()
		}
		e.Detail = map[string]string{"digest": d.String()}
	}
	return e
}
