package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// What an operator decides about one manifest. Each needs a reason, which is kept
// with the event.

// Extend puts off the end of a manifest. One that has expired is current again.
// It returns the new end, which is until, rounded up to a microsecond. Refusals:
// RetentionInvalid (not later than the present end, or not in the future),
// ReasonInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) Extend(ctx context.Context, ref Reference, until time.Time, reason string) (time.Time, error) {
	end := until.Truncate(time.Microsecond).UTC()
	if end.Before(until) {
		end = end.Add(time.Microsecond)
	}
	err := r.amend(ctx, ref, reason, func(v View, m *Manifest) (fact.Fact, error) {
		if err := retention.Extend(m.Expires, end); err != nil {
			return nil, &Error{Code: RetentionInvalid, Message: "the manifest cannot be extended: " + err.Error()}
		}
		if !end.After(v.Now()) || end.Year() > lastYear {
			return nil, Errorf(RetentionInvalid, "the manifest cannot be extended: the new end must lie in the future, and before the year %d", lastYear+1)
		}
		return &fact.Extended{Repository: r.name, Manifest: m.Blob.Digests.Primary(), From: microseconds(m.Expires), To: microseconds(end)}, nil
	})
	return end, err
}

// lastYear is the last one that RFC 3339 can say.
const lastYear = 9999

// ChangeClass gives a manifest another retention class, whose term begins now.
// Refusals: RetentionInvalid (no such class, or it has it already), Denied (it was
// made a permanent record), ReasonInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) ChangeClass(ctx context.Context, ref Reference, class, reason string) (retention.Assigned, error) {
	var given retention.Assigned
	err := r.amend(ctx, ref, reason, func(v View, m *Manifest) (fact.Fact, error) {
		rules, err := r.book.rules(v)
		if err != nil {
			return nil, err
		}
		given, err = rules.ChangeClass(retention.Class(m.Class), m.Rule != "", retention.Class(class), v.Now())
		switch {
		case errors.Is(err, retention.ErrPermanent):
			return nil, Errorf(Denied, "the class cannot be changed: %v, by %s", err, m.Rule)
		case err != nil:
			return nil, &Error{Code: RetentionInvalid, Message: "the class cannot be changed: " + err.Error()}
		}
		return &fact.ClassChanged{Repository: r.name, Manifest: m.Blob.Digests.Primary(), From: m.Class, To: string(given.Class),
			Expires: microseconds(given.Expires)}, nil
	})
	return given, err
}

// amend commits one event about a manifest, with a reason.
func (r *Repository) amend(ctx context.Context, ref Reference, reason string, decide func(View, *Manifest) (fact.Fact, error)) error {
	if err := checkReason(reason); err != nil {
		return err
	}
	keys := Keys{Tags: []string{ref.Tag}}
	if ref.Tag == "" {
		keys = Keys{Manifests: []identity.Digest{ref.Digest}}
	}
	return r.update(ctx, keys, func(v View, c *Change) error {
		m, _, _, err := r.lookUp(v, ref)
		if err != nil {
			return fmt.Errorf("look up manifest: %w", err)
		}
		if m == nil {
			return r.unknown(v, ManifestUnknown, "manifest")
		}
		f, err := decide(v, m)
		if err != nil {
			return err
		}
		c.Entries = append(c.Entries, Entry{Fact: f, Reason: reason})
		return nil
	})
}

// EraseManifest erases a manifest, live or deleted, for a legal cause, at once and
// for ever, whatever its class and the policies say. Its blobs go with the next
// sweeps, if nothing else uses them. Refusals: Unsupported (not enabled), Denied (a
// hold freezes it), ReasonInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) EraseManifest(ctx context.Context, d identity.Digest, reason string) error {
	if !r.opts.AllowErase {
		return Errorf(Unsupported, "erasing is disabled on this registry; its operator can enable it with retention.erase")
	}
	if err := checkReason(reason); err != nil {
		return err
	}
	for more := true; more; {
		err := r.update(ctx, Keys{Manifests: []identity.Digest{d}}, func(v View, c *Change) (err error) {
			more, err = r.erase(v, c, d, reason)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// erase adds the events that a manifest goes for ever, each with the reason.
func (r *Repository) erase(v View, c *Change, d identity.Digest, reason string) (more bool, err error) {
	m, _, err := v.Manifest(r.name, d)
	if err != nil {
		return false, fmt.Errorf("look up manifest: %w", err)
	}
	if m == nil {
		g, err := v.Grave(r.name, d)
		if err != nil {
			return false, fmt.Errorf("look up deleted manifest: %w", err)
		}
		if g == nil {
			return false, r.unknown(v, ManifestUnknown, "manifest")
		}
		m = &g.Manifest
	}
	more, err = forgetManifest(v, c, r.name, m, fact.CauseErased)
	for i := range c.Entries {
		c.Entries[i].Reason = reason
	}
	return more, err
}
