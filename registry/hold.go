package registry

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// MaxHolds is how many holds can be on a repository and in it together.
const MaxHolds = 1000

// HoldRequest asks that nothing which a target is or keeps goes.
type HoldRequest struct {
	// Name tells holds on one target apart; its grammar is
	// [a-z0-9][a-z0-9._-]{0,62}. People who are refused see it.
	Name string
	// Repository and Reference are the target: a tag, a manifest by any of its
	// digests, or without a reference the whole repository. The repository may
	// be a deleted one, by the name that it has since then.
	Repository string
	Reference  Reference
	// Until is the end, zero for a hold that ends when it is released.
	Until  time.Time
	Reason string
}

// HoldInfo is a hold as operators see it.
type HoldInfo struct {
	Hold
	// Reason is why it was placed, "" if that was erased.
	Reason string
	// Ended: its end has come. It holds nothing any more, and stays in lists
	// until it is released.
	Ended bool
}

var holdGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// check refuses what can be refused without looking at the state.
func (q *HoldRequest) check() error {
	if !holdGrammar.MatchString(q.Name) {
		return Errorf(HoldInvalid, "the name of a hold has 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit")
	}
	if ceil(q.Until).UTC().Year() > lastYear {
		return Errorf(HoldInvalid, "the end of the hold is too far away; a hold without an end holds until it is released")
	}
	if err := checkTarget(q.Repository, q.Reference); err != nil {
		return err
	}
	return checkReason(q.Reason)
}

// checkTarget refuses what cannot be the target of a hold.
func checkTarget(repository string, ref Reference) error {
	if ref.Tag != "" && !ref.Digest.IsZero() {
		return Errorf(HoldInvalid, "a hold is on a tag or on a manifest, not on both")
	}
	if ref.Tag != "" {
		if err := checkTag(ref.Tag); err != nil {
			return err
		}
	}
	return checkAnyName(repository)
}

// keys name what the decision about a target asks for.
func targetKeys(repository string, ref Reference) Keys {
	k := Keys{Repositories: []string{repository}}
	if ref.Tag != "" {
		k.Tags = []string{ref.Tag}
	}
	if !ref.Digest.IsZero() {
		k.Manifests = []identity.Digest{ref.Digest}
	}
	return k
}

// ceil is a time in whole microseconds, not earlier.
func ceil(t time.Time) time.Time {
	if whole := t.Truncate(time.Microsecond); whole.Before(t) {
		return whole.Add(time.Microsecond)
	}
	return t
}

// PlaceHold places a hold, or changes the end and the reason of the one that has
// this name on this target. A manifest that was deleted and can still be put back
// can be held: it then stays where it is. Refusals: HoldInvalid (the name, or an end
// that is past), Conflict (there are MaxHolds), ReasonInvalid, NameInvalid,
// NameUnknown, TagInvalid, ManifestUnknown (no such tag or manifest).
func (r *Registry) PlaceHold(ctx context.Context, caller Caller, request HoldRequest) (HoldInfo, error) {
	if err := request.check(); err != nil {
		return HoldInfo{}, err
	}
	placed := &fact.HoldPlaced{Name: request.Name}
	if !request.Until.IsZero() {
		placed.Until = ceil(request.Until).UnixMicro()
	}
	var info HoldInfo
	err := r.ledger.Update(ctx, caller, targetKeys(request.Repository, request.Reference), func(v View) (*Change, error) {
		state, err := r.existing(v, request.Repository)
		if err != nil {
			return nil, err
		}
		if placed.Target, err = holdable(v, request.Repository, request.Reference); err != nil {
			return nil, err
		}
		now, err := v.Trusted()
		if err != nil {
			return nil, fmt.Errorf("read the clock: %w", err)
		}
		if !request.Until.IsZero() && !request.Until.After(now) {
			return nil, Errorf(HoldInvalid, "the end of the hold is in the past; to end a hold, release it")
		}
		before, err := v.Hold(request.Name, placed.Target)
		if err != nil {
			return nil, fmt.Errorf("look up hold: %w", err)
		}
		if before == nil && state.Holds >= MaxHolds {
			return nil, Errorf(Conflict, "the repository has %d holds, which is as many as it can have; release those that are not needed", state.Holds)
		}
		info = HoldInfo{Reason: request.Reason, Hold: Hold{Name: placed.Name, Target: placed.Target, Placed: v.Now(), Actor: caller.Actor}}
		if placed.Until != 0 {
			info.Until = time.UnixMicro(placed.Until).UTC()
		}
		return &Change{Entries: []Entry{{Fact: placed, Reason: request.Reason}}}, nil
	})
	if err != nil {
		return HoldInfo{}, err
	}
	return r.readBack(ctx, info), nil
}

// readBack adds the sequence to a hold that was placed. Without it the hold is as
// good: it is not worth an error that it cannot be read.
func (r *Registry) readBack(ctx context.Context, info HoldInfo) HoldInfo {
	err := r.ledger.Read(ctx, func(v View) error {
		h, err := v.Hold(info.Name, info.Target)
		if err == nil && h != nil {
			info.Sequence = h.Sequence
		}
		return err
	})
	if err != nil {
		r.opts.Log.Warn("a hold was placed and could not be read back", "hold", info.Name, "error", err)
	}
	return info
}

// holdable finds what a hold is to be on. A tag must be there.
func holdable(v View, repository string, ref Reference) (fact.Target, error) {
	if ref.Tag != "" {
		t, err := v.Tag(repository, ref.Tag)
		if err != nil {
			return fact.Target{}, fmt.Errorf("look up tag: %w", err)
		}
		if t == nil {
			return fact.Target{}, Errorf(ManifestUnknown, "the repository has no such tag")
		}
	}
	return targetOf(v, repository, ref)
}

// existing returns a repository, also a deleted one; NameUnknown.
func (r *Registry) existing(v View, name string) (*RepositoryState, error) {
	state, err := v.RepositoryState(name)
	if err != nil {
		return nil, fmt.Errorf("look up repository: %w", err)
	}
	if state == nil {
		return nil, Errorf(NameUnknown, "there is no repository of this name")
	}
	return state, nil
}

// ReleaseHold takes a hold away; a digest may be any of the manifest's. Refusals:
// HoldUnknown, ReasonInvalid, NameInvalid, NameUnknown.
func (r *Registry) ReleaseHold(ctx context.Context, caller Caller, name, repository string, ref Reference, reason string) error {
	if err := checkTarget(repository, ref); err != nil {
		return err
	}
	if err := checkReason(reason); err != nil {
		return err
	}
	return r.ledger.Update(ctx, caller, targetKeys(repository, ref), func(v View) (*Change, error) {
		if _, err := r.existing(v, repository); err != nil {
			return nil, err
		}
		target := fact.Target{Repository: repository, Tag: ref.Tag, Manifest: ref.Digest}
		if !ref.Digest.IsZero() {
			// The manifest of a hold that has ended may be gone, its bytes not.
			b, err := v.Blob(ref.Digest)
			if err != nil {
				return nil, fmt.Errorf("look up digest: %w", err)
			}
			if b != nil {
				target.Manifest = b.Digests.Primary()
			}
		}
		var h *Hold
		var err error
		if holdGrammar.MatchString(name) {
			h, err = v.Hold(name, target)
		}
		if err != nil {
			return nil, fmt.Errorf("look up hold: %w", err)
		}
		if h == nil {
			return nil, Errorf(HoldUnknown, "there is no hold of this name on %s", target)
		}
		return &Change{Entries: []Entry{{Fact: &fact.HoldReleased{Name: name, Target: target}, Reason: reason}}}, nil
	})
}

// HoldPage lists the n holds of all repositories that follow a place, by name; next
// is the place of the last one, more tells that further ones follow.
func (r *Registry) HoldPage(ctx context.Context, after HoldPlace, n int) (page []HoldInfo, next HoldPlace, more bool, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		holds, places, err := v.HoldPage(after, n+1)
		if err != nil {
			return err
		}
		holds, more = cutList(holds, n)
		if len(holds) > 0 {
			next = places[len(holds)-1]
		}
		page, err = describeHolds(v, holds)
		return err
	})
	if err != nil {
		return nil, HoldPlace{}, false, fmt.Errorf("list holds: %w", err)
	}
	return page, next, more, nil
}

// HoldsOn returns all holds on a repository and in it, by target and name;
// NameInvalid, NameUnknown. There are at most MaxHolds. The repository may be a
// deleted one, by the name that it has since then.
func (r *Registry) HoldsOn(ctx context.Context, repository string) (all []HoldInfo, err error) {
	if err := checkAnyName(repository); err != nil {
		return nil, err
	}
	err = r.ledger.Read(ctx, func(v View) error {
		if _, err := r.existing(v, repository); err != nil {
			return err
		}
		holds, err := v.HoldsIn(repository)
		if err != nil {
			return fmt.Errorf("list holds: %w", err)
		}
		all, err = describeHolds(v, holds)
		return err
	})
	return all, err
}

// describeHolds adds what the log and the clock say of holds.
func describeHolds(v View, holds []Hold) ([]HoldInfo, error) {
	now, err := v.Trusted()
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	placed := make([]eventlog.Sequence, len(holds))
	for i := range holds {
		placed[i] = holds[i].Sequence
	}
	reasons, err := v.Reasons(placed)
	if err != nil {
		return nil, fmt.Errorf("read reasons: %w", err)
	}
	all := make([]HoldInfo, len(holds))
	for i, h := range holds {
		all[i] = HoldInfo{Hold: h, Reason: reasons[h.Sequence], Ended: !h.Until.IsZero() && !now.Before(h.Until)}
	}
	return all, nil
}
