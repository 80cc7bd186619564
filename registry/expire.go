package registry

import (
	"context"
	"errors"
	"fmt"

	"artifactstore/eventlog"
)

// EnforceOptions say how retention is applied.
type EnforceOptions struct {
	// Progress is told of each batch, if it is not nil.
	Progress func(EnforceReport)
}

// EnforceReport says what retention has done.
type EnforceReport struct {
	// Repositories and Manifests are how many were looked at.
	Repositories, Manifests int64
	// Marked manifests have expired and stay for the grace, Renewed ones are
	// current again, Collected ones are gone, with Tags tags.
	Marked, Renewed, Collected, Tags int64
	// InDoubt: nothing more was done, because the clock went ahead and nobody
	// has confirmed it.
	InDoubt bool
}

// Enforce applies the retention policies to all repositories: it marks what has
// expired, takes the mark from what is kept again, and lets go what has been
// marked for the grace. Nothing happens while the clock is in doubt. It goes in
// small batches beside other traffic, can be stopped at any point and run again,
// and several nodes may run it at once. The report is of what was done, also if
// there is an error.
func (r *Registry) Enforce(ctx context.Context, o EnforceOptions) (EnforceReport, error) {
	e := enforcement{r: r, progress: o.Progress}
	err := e.all(ctx)
	if errors.Is(err, errInDoubt) {
		e.report.InDoubt, err = true, nil
	}
	return e.report, err
}

// enforcement is one run of Enforce.
type enforcement struct {
	r        *Registry
	progress func(EnforceReport)
	report   EnforceReport
}

// repositoryPage is how many names of repositories are read at a time.
const repositoryPage = 1000

func (e *enforcement) all(ctx context.Context) error {
	return e.r.eachRepository(ctx, func(name string) error {
		err := e.repository(ctx, name)
		switch {
		case errors.Is(err, errNoRepository):
			return nil
		case errors.Is(err, errRank):
			e.r.opts.Log.Warn("retention left a repository for later", "repository", name, "error", err)
			return nil
		}
		return err
	})
}

// eachRepository calls a function with the name of each repository that is not
// deleted, in byte order, outside of any view.
func (r *Registry) eachRepository(ctx context.Context, do func(name string) error) error {
	for after, more := "", true; more; {
		var names []string
		err := r.ledger.Read(ctx, func(v View) (err error) {
			names, err = v.RepositoryPage(after, repositoryPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("list repositories: %w", err)
		}
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
			after = name
		}
		more = len(names) == repositoryPage
	}
	return nil
}

// repository goes over the manifests of one repository that may have come to
// their end.
func (e *enforcement) repository(ctx context.Context, name string) error {
	concerned, err := e.concerned(ctx, name)
	if err != nil || !concerned {
		return err
	}
	j, err := e.r.judge(ctx, name)
	if err != nil {
		return err
	}
	e.report.Repositories++
	tries := 0
	for after, more := eventlog.Sequence(0), true; more; {
		page, err := e.page(ctx, j, after)
		if err == nil {
			err = e.apply(ctx, j, page.due)
		}
		switch {
		case errors.Is(err, errRank):
			if tries++; tries > rankTries {
				return tooFast(name)
			}
			if j, err = e.r.judge(ctx, name); err != nil {
				return err
			}
			continue // what was done is not found again
		case err != nil:
			return err
		}
		tries, after, more = 0, page.last, page.more
		e.report.Manifests += page.looked
		e.tell()
	}
	return nil
}

func (e *enforcement) tell() {
	if e.progress != nil {
		e.progress(e.report)
	}
}

// concerned tells whether anything in a repository can come to an end, which
// costs one look where it cannot.
func (e *enforcement) concerned(ctx context.Context, name string) (is bool, err error) {
	err = e.r.ledger.Read(ctx, func(v View) error {
		j, err := e.r.newJudge(v, name)
		if err != nil {
			return err
		}
		first, err := j.candidates(v, 0, 1)
		is = len(first) > 0
		return err
	})
	return is, err
}

// candidates are manifests after a sequence of which some can have an end.
func (j *judge) candidates(v View, after eventlog.Sequence, limit int) (all []Manifest, err error) {
	if j.untaggedAfter() > 0 {
		all, err = v.ManifestsAfter(j.repository, after, limit)
	} else {
		all, err = v.Ending(j.repository, after, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	return all, nil
}

// manifestPage is how many manifests are looked at in one read.
const manifestPage = 100

// duePage is what a look at some manifests has found.
type duePage struct {
	due    []*verdict
	last   eventlog.Sequence
	looked int64
	more   bool
}

// page looks for manifests to do something about, without doing it.
func (e *enforcement) page(ctx context.Context, j *judge, after eventlog.Sequence) (page duePage, err error) {
	err = e.r.ledger.Read(ctx, func(v View) error {
		page = duePage{}
		now, err := believed(v)
		if err != nil {
			return err
		}
		if err := j.valid(v); err != nil {
			return err
		}
		all, err := j.candidates(v, after, manifestPage)
		if err != nil {
			return err
		}
		holds, err := binding(v, j.repository)
		if err != nil {
			return err
		}
		page.looked, page.more = int64(len(all)), len(all) == manifestPage
		for i := range all {
			page.last = all[i].Sequence
			if !j.may(&all[i], now) {
				continue
			}
			d, err := j.about(v, all[i].Blob.Digests.Primary(), now, holds)
			if err != nil {
				return err
			}
			if d != nil && d.acts() {
				page.due = append(page.due, d)
			}
		}
		return nil
	})
	return page, err
}

// acts tells whether something is to be done.
func (d *verdict) acts() bool { return d.action != PlanKeep && d.action != PlanWait }

// apply does what is to be done about manifests, each of them decided once more.
func (e *enforcement) apply(ctx context.Context, j *judge, due []*verdict) error {
	for len(due) > 0 {
		batch := some(due)
		done, err := e.commit(ctx, j, batch)
		if err != nil {
			return err
		}
		e.report.Marked += done.marked
		e.report.Renewed += done.renewed
		e.report.Collected += done.collected
		e.report.Tags += done.tags
		j.lost += done.tags
		due = due[done.finished:]
		e.tell()
	}
	return nil
}

// some are the first of a list that are likely to fit into one change.
func some(due []*verdict) []*verdict {
	weight := 0
	for i, d := range due {
		weight += d.weight()
		if i > 0 && (i == maxActs || weight > maxWeight) {
			return due[:i]
		}
	}
	return due
}

// commit does what is to be done about a batch of manifests, or as much of it as
// goes into one change.
func (e *enforcement) commit(ctx context.Context, j *judge, batch []*verdict) (done acts, err error) {
	keys := Keys{Repositories: []string{j.repository}}
	for _, d := range batch {
		keys.Manifests = append(keys.Manifests, d.item.Blob.Digests.Primary())
	}
	err = e.r.ledger.Update(ctx, System, keys, func(v View) (*Change, error) {
		done = acts{}
		now, err := believed(v)
		if err != nil {
			return nil, err
		}
		if err := j.valid(v); err != nil {
			return nil, err
		}
		holds, err := binding(v, j.repository)
		if err != nil {
			return nil, err
		}
		c := new(Change)
		for _, d := range keys.Manifests {
			decided, err := j.about(v, d, now, holds)
			if err != nil {
				return nil, err
			}
			if fits, err := done.act(v, c, j.repository, decided); err != nil || !fits {
				return c, err
			}
		}
		return c, nil
	})
	return done, err
}
