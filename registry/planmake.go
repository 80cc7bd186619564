package registry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"artifactstore/eventlog"
	"artifactstore/retention"
)

// maker makes one plan. It goes over one repository after the other and keeps
// what it decides as items of the plan. Before each look it reads the events
// since the last one: where one touches what the plan already has of a
// repository, that repository is gone over again. So once it is done everything
// in the plan is true at one place of the log.
type maker struct {
	r       *Registry
	request PlanRequest
	info    PlanInfo
	// seen is the sequence up to which events were read.
	seen    eventlog.Sequence
	ordinal int64 // of the last item
	// again are repositories that were touched, tries how often each was
	// gone over.
	again map[string]bool
	tries map[string]int
}

// planTries is how often a plan goes over a repository before it is given up.
const planTries = 5

// MakePlan decides about every manifest of some repositories and keeps what it
// decided, the reasons included, as a plan that can be executed. It changes
// nothing else. The clock must be believed. Refusals: RetentionInvalid (a
// pattern), Conflict (the clock is in doubt), Unavailable (the repositories
// change faster than they can be looked at).
func (r *Registry) MakePlan(ctx context.Context, caller Caller, request PlanRequest) (*PlanInfo, error) {
	if len(request.Repositories) > 0 {
		if err := retention.CheckRepositories(request.Repositories); err != nil {
			return nil, &Error{Code: RetentionInvalid, Message: "the plan's repositories are invalid: " + lines(err)}
		}
	}
	if _, err := r.dropPlans(ctx, MaxPlans-1); err != nil {
		return nil, err
	}
	m := &maker{r: r, request: request, again: map[string]bool{}, tries: map[string]int{}}
	if err := m.make(ctx, caller); err != nil {
		return nil, notBelieved(err)
	}
	return &m.info, nil
}

func (m *maker) make(ctx context.Context, caller Caller) error {
	if err := m.begin(ctx, caller); err != nil {
		return err
	}
	err := m.r.eachRepository(ctx, func(name string) error {
		if !m.wants(name) {
			return nil
		}
		return m.repository(ctx, name)
	})
	for err == nil && m.info.State == PlanMaking {
		if err = m.repeat(ctx); err == nil {
			err = m.finish(ctx)
		}
	}
	return err
}

// begin writes the row of the plan.
func (m *maker) begin(ctx context.Context, caller Caller) error {
	m.info = PlanInfo{ID: newID(), State: PlanMaking}
	m.info.Patterns, m.info.Actor, m.info.Actions = m.request.Repositories, caller.Actor, map[string]PlanCount{}
	return m.r.change(ctx, func(v View) (*Change, error) {
		if _, err := believed(v); err != nil {
			return nil, err
		}
		head, err := v.Head()
		if err != nil {
			return nil, fmt.Errorf("read the head: %w", err)
		}
		m.seen, m.info.Sequence, m.info.Created = head, head, v.Now()
		row, err := m.info.row()
		return &Change{Working: Working{Plans: []Plan{row}}}, err
	})
}

func (m *maker) wants(name string) bool {
	return len(m.request.Repositories) == 0 ||
		slices.ContainsFunc(m.request.Repositories, func(pattern string) bool { return retention.Match(pattern, name) })
}

// repeat goes over the repositories that were touched.
func (m *maker) repeat(ctx context.Context) error {
	for len(m.again) > 0 {
		if err := m.repository(ctx, slices.Min(slices.Collect(maps.Keys(m.again)))); err != nil {
			return err
		}
	}
	return nil
}

// repository goes over one repository until nothing touches it meanwhile.
func (m *maker) repository(ctx context.Context, name string) error {
	for {
		if m.tries[name]++; m.tries[name] > planTries {
			return Errorf(Unavailable, "repository %s changes faster than a plan of it can be made; leave it out, or try again", name)
		}
		if m.tries[name] > 1 {
			if err := m.r.dropItems(ctx, m.info.ID, name); err != nil {
				return err
			}
		}
		delete(m.again, name)
		err := m.walk(ctx, name)
		switch {
		case errors.Is(err, errNoRepository):
			// What was listed of it goes.
			return m.r.dropItems(ctx, m.info.ID, name)
		case !errors.Is(err, errRank):
			return err
		}
	}
}

// walk goes over the manifests of a repository; errRank if it must be done again.
func (m *maker) walk(ctx context.Context, name string) error {
	j, err := m.r.judge(ctx, name)
	if err != nil {
		return err
	}
	for after, more := eventlog.Sequence(0), true; more; {
		if err := m.catchUp(ctx); err != nil {
			return err
		}
		var page []PlanItem
		page, after, more, err = m.look(ctx, j, after)
		if err != nil {
			return err
		}
		if m.again[name] {
			return errRank
		}
		if len(page) == 0 {
			continue
		}
		m.ordinal += int64(len(page))
		err = m.r.change(ctx, func(View) (*Change, error) {
			return &Change{Working: Working{PlanItems: map[string][]PlanItem{m.info.ID: page}}}, nil
		})
		if err != nil {
			return fmt.Errorf("keep items of a plan: %w", err)
		}
		if m.request.Progress != nil {
			m.request.Progress(m.ordinal)
		}
	}
	return nil
}

// look decides about a page of manifests, and reads what happened before it.
func (m *maker) look(ctx context.Context, j *judge, after eventlog.Sequence) (page []PlanItem, last eventlog.Sequence, more bool, err error) {
	err = m.r.ledger.Read(ctx, func(v View) error {
		page, last, more = nil, after, true
		behind, err := m.read(v)
		if err != nil || behind || m.again[j.repository] {
			return err // look again
		}
		if err := j.valid(v); err != nil {
			return err
		}
		now, err := believed(v)
		if err != nil {
			return err
		}
		holds, err := binding(v, j.repository)
		if err != nil {
			return err
		}
		all, err := v.ManifestsAfter(j.repository, after, manifestPage)
		if err != nil {
			return fmt.Errorf("list manifests: %w", err)
		}
		for i := range all {
			last = all[i].Sequence
			d, err := j.about(v, all[i].Blob.Digests.Primary(), now, holds)
			if err != nil {
				return err
			}
			item, err := d.planned(j.repository, m.ordinal+1+int64(len(page)))
			if err != nil {
				return err
			}
			page = append(page, item)
		}
		more = len(all) == manifestPage
		return nil
	})
	return page, last, more, err
}

// catchUp reads the events since the last look, as long as there are many.
func (m *maker) catchUp(ctx context.Context) error {
	for behind := true; behind; {
		err := m.r.ledger.Read(ctx, func(v View) (err error) {
			behind, err = m.read(v)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads some events since the last look, and notes which repositories of
// the plan they touch. It tells whether there are more of them.
func (m *maker) read(v View) (behind bool, err error) {
	found, last, behind, err := touching(v, m.info.ID, m.seen)
	if err != nil {
		return false, err
	}
	for _, t := range found {
		if t.all {
			return false, errPolicies
		}
		m.again[t.repository] = true
	}
	m.seen = last
	return behind, nil
}

// errPolicies: the policies changed while a plan was being made.
var errPolicies = Errorf(Conflict, "the retention policies were changed while the plan was being made; make it again")

// finish completes the plan, unless something has touched it.
func (m *maker) finish(ctx context.Context) error {
	info := m.info
	if err := m.sum(ctx, &info); err != nil {
		return err
	}
	if err := m.catchUp(ctx); err != nil || len(m.again) > 0 {
		return err
	}
	finished := false
	err := m.r.change(ctx, func(v View) (*Change, error) {
		finished = false
		found, last, behind, err := touching(v, info.ID, m.seen)
		if err != nil || behind || len(found) > 0 {
			return nil, err // and read it
		}
		info.State, info.Sequence = PlanOpen, last
		row, err := info.row()
		finished = true
		return &Change{Durable: true, Working: Working{Plans: []Plan{row}}}, err
	})
	if err != nil {
		return fmt.Errorf("finish plan: %w", err)
	}
	if finished {
		m.info = info
	}
	return nil
}

// sum adds up what the plan comes to.
func (m *maker) sum(ctx context.Context, info *PlanInfo) error {
	info.Actions, info.Repositories, info.Manifests, info.Freed = map[string]PlanCount{}, 0, 0, nil
	last := ""
	for d, err := range m.r.decisions(ctx, info.ID, "") {
		if err != nil {
			return err
		}
		count := info.Actions[d.Action]
		count.Manifests++
		count.Tags += d.TagCount
		info.Actions[d.Action] = count
		info.Manifests++
		if d.Repository != last {
			last = d.Repository
			info.Repositories++
		}
	}
	if info.Actions[PlanCollect].Manifests > MaxFreed {
		return nil
	}
	freed, err := m.r.Freed(ctx, func(yield func(ManifestName, error) bool) {
		for d, err := range m.r.decisions(ctx, info.ID, PlanCollect) {
			if !yield(ManifestName{d.Repository, d.Manifest}, err) {
				return
			}
		}
	})
	if err != nil {
		return fmt.Errorf("count what a plan would free: %w", err)
	}
	info.Freed = &freed.Bytes
	return nil
}

// decisions goes over the items of a plan.
func (r *Registry) decisions(ctx context.Context, id, action string) iter.Seq2[PlanDecision, error] {
	return func(yield func(PlanDecision, error) bool) {
		for after, more := int64(0), true; more; {
			var page []PlanDecision
			var err error
			if page, more, err = r.PlanItems(ctx, id, action, after, 1000); err != nil {
				yield(PlanDecision{}, err)
				return
			}
			for _, d := range page {
				after = d.Ordinal
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}
