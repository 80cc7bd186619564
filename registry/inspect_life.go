package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/retention"
)

// RetentionInfo is how long a manifest is kept, and why.
type RetentionInfo struct {
	// Manifest has Untagged only while no tag names it.
	Manifest
	// Decision is what the policies say of it now.
	Decision retention.Decision
	// Holds are those that freeze it, be they on something else.
	Holds []HoldInfo
}

// Retention says how long a manifest is kept, and why; ManifestUnknown,
// NameUnknown, Unavailable if the repository changes faster than it can be looked
// at. Where the policy ranks tags, it reads all of them.
func (r *Repository) Retention(ctx context.Context, ref Reference) (info *RetentionInfo, err error) {
	for range rankTries {
		j, err := r.judge(ctx, r.name)
		if errors.Is(err, errNoRepository) {
			return nil, Errorf(NameUnknown, "there is no repository of this name")
		}
		if err != nil {
			return nil, err
		}
		err = r.ledger.Read(ctx, func(v View) (err error) {
			info, err = r.retention(v, j, ref)
			return err
		})
		if !errors.Is(err, errRank) && !errors.Is(err, errNoRepository) {
			return info, err
		}
	}
	return nil, tooFast(r.name)
}

func (r *Repository) retention(v View, j *judge, ref Reference) (*RetentionInfo, error) {
	if err := j.valid(v); err != nil {
		return nil, err
	}
	m, _, _, err := r.lookUp(v, ref)
	if err != nil {
		return nil, fmt.Errorf("look up manifest: %w", err)
	}
	if m == nil {
		return nil, r.unknown(v, ManifestUnknown, "manifest")
	}
	now, err := v.Trusted()
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	holds, err := binding(v, r.name)
	if err != nil {
		return nil, err
	}
	decided, err := j.about(v, m.Blob.Digests.Primary(), now, holds)
	if err != nil {
		return nil, err
	}
	on, err := manifestHolds(v, r.name, m, holds)
	if err != nil {
		return nil, err
	}
	info := &RetentionInfo{Manifest: *m, Decision: decided.Decision}
	tags, err := v.TagsOf(r.name, m.Blob.Digests.Primary(), 1)
	if err != nil {
		return nil, fmt.Errorf("look up tags: %w", err)
	}
	if len(tags) > 0 {
		info.Untagged = time.Time{}
	}
	info.Holds, err = describeHolds(v, on)
	return info, err
}

// DeletedManifests lists deleted manifests of the repository that can still be put
// back, in the order in which they were pushed, after the sequence of a put event;
// NameUnknown. Grace is how long after Deleted they can.
func (r *Repository) DeletedManifests(ctx context.Context, after eventlog.Sequence, n int) (page []Grave, grace time.Duration, more bool, err error) {
	page, more, err = inRepository(ctx, r, "deleted manifests", n, func(v View, limit int) ([]Grave, error) {
		rules, err := r.book.rules(v)
		if err != nil {
			return nil, err
		}
		grace = rules.Grace()
		return v.GravesIn(r.name, after, limit)
	})
	return page, grace, more, err
}

// Grace is how long what was deleted can be put back.
func (r *Registry) Grace(ctx context.Context) (grace time.Duration, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		rules, err := r.book.rules(v)
		grace = rules.Grace()
		return err
	})
	return grace, err
}

// DamagedBlobs lists byte sequences that were found missing or wrong and are not
// served, after a sequence.
func (r *Registry) DamagedBlobs(ctx context.Context, after eventlog.Sequence, n int) ([]Blob, bool, error) {
	return list(ctx, r, "damaged blobs", n, func(v View, limit int) ([]Blob, error) {
		return v.DamagedBlobs(after, limit)
	})
}

// Sharing sums up the bytes of the repository; NameUnknown. It reads a row for each
// of its blobs and manifests, and looks for it in others.
func (r *Repository) Sharing(ctx context.Context) (s Sharing, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		if _, err := r.info(v); err != nil {
			return err
		}
		s, err = v.Sharing(r.name)
		return err
	})
	return s, err
}

// LastScrub says how far the scrub that was begun last has come, or nil if there
// was none.
func (r *Registry) LastScrub(ctx context.Context) (report *ScrubReport, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		text, err := v.Pass(scrubPass)
		if err != nil || text == nil {
			return err
		}
		var state scrubState
		report = &state.Report
		return json.Unmarshal(text, &state)
	})
	if err != nil {
		return nil, fmt.Errorf("read the state of the scrub: %w", err)
	}
	return report, nil
}
