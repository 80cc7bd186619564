package admin

import (
	"context"
	"net/http"
	"time"

	"artifactstore/registry"
)

// SweepRequest is the body of POST /sweep: a stream whose progress is a
// SweepPhase and whose result is a SweepReport.
type SweepRequest struct {
	DryRun bool `json:"dryRun,omitempty"`
}

// Amount is how many there were, and how large they were together.
type Amount struct {
	Number int64 `json:"number"`
	Bytes  int64 `json:"bytes"`
}

// SweepPhase says what a phase of a sweep has done, or would do.
type SweepPhase struct {
	// Phase is links, blobs, deleted manifests, deleted repositories or objects.
	Phase   string `json:"phase"`
	Visited int64  `json:"visited"` // rows
	// Condemned blobs go unless they are used again, Revived ones are kept
	// after all, Released ones were lost by a repository.
	Condemned Amount `json:"condemned"`
	Revived   Amount `json:"revived"`
	Released  Amount `json:"released"`
	// Forgotten byte sequences are gone for ever, Erased objects were deleted.
	Forgotten Amount `json:"forgotten"`
	Erased    Amount `json:"erased"`
	// Manifests and Repositories cannot be put back any more.
	Manifests    int64 `json:"manifests"`
	Repositories int64 `json:"repositories"`
	Held         int64 `json:"held"`   // would have gone if no hold froze it
	Failed       int64 `json:"failed"` // objects that could not be deleted this time
}

// SweepReport says what a sweep has done, or would do.
type SweepReport struct {
	DryRun bool         `json:"dryRun"`
	Phases []SweepPhase `json:"phases"`
	// Rough: a dry run has lost count; a sweep would forget more than it tells.
	Rough bool `json:"rough"`
}

// ScrubRequest is the body of POST /scrub: a stream whose progress and result
// are a ScrubReport.
type ScrubRequest struct{}

// ScrubReport is how far a scrub has come, and what it has found.
type ScrubReport struct {
	Began       time.Time  `json:"began"`
	Ended       *time.Time `json:"ended,omitempty"` // absent: it goes on
	Verified    int64      `json:"verified"`        // byte sequences
	Bytes       int64      `json:"bytes"`           // of them
	Damaged     int64      `json:"damaged"`         // put under quarantine
	Healed      int64      `json:"healed"`          // were under quarantine and are right again
	Unread      int64      `json:"unread"`          // could not be read this time
	Descriptors int64      `json:"descriptors"`     // of referrers, compared
	Mended      int64      `json:"mended"`          // of them, made anew
}

// FsckRequest is the body of POST /fsck: a stream whose progress and result are
// an FsckReport, of which only the result has findings.
type FsckRequest struct {
	// Repair repairs what can be repaired, Deep reads all bytes.
	Repair bool `json:"repair,omitempty"`
	Deep   bool `json:"deep,omitempty"`
	// ManyOrphans deletes orphans also where they are more than what is named.
	ManyOrphans bool `json:"manyOrphans,omitempty"`
}

// FsckReport is what fsck has looked at and found.
type FsckReport struct {
	// Stage is what is being looked at, the log first; absent once all has been.
	Stage string `json:"stage,omitempty"`
	// LogProblem is what is wrong with the log, or with the views that follow
	// from it; absent if they are right. Then nothing is repaired.
	LogProblem string `json:"logProblem,omitempty"`

	Blobs   int64 `json:"blobs"`
	Bytes   int64 `json:"bytes"`
	Objects int64 `json:"objects"`
	Rows    int64 `json:"rows"`
	// Counts are by kind of finding; Findings are the first thousand.
	Counts   map[string]FsckCount `json:"counts"`
	Findings []Finding            `json:"findings,omitempty"`
	// Refused says why orphans of a store were left alone.
	Refused []string `json:"refused,omitempty"`
}

// FsckCount counts the findings of a kind.
type FsckCount struct {
	Found    int64 `json:"found"`
	Repaired int64 `json:"repaired"`
}

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"`
	Store   string `json:"store,omitempty"`
	Name    string `json:"name,omitempty"` // of the object in its store
	Size    int64  `json:"size"`
	Problem string `json:"problem"`
	// Repaired tells whether it was.
	Repaired bool `json:"repaired"`
}

func (d *door) sweep(w http.ResponseWriter, r *http.Request) error {
	var request SweepRequest
	if err := d.body(r, &request); err != nil {
		return err
	}
	if !request.DryRun {
		if err := d.changeable(); err != nil {
			return err
		}
	}
	return work(d, w, r, "a sweep", func(ctx context.Context, tell func(SweepPhase)) (SweepReport, error) {
		o := d.Sweep
		o.DryRun = request.DryRun
		o.Progress = func(p registry.SweepProgress) { tell(phaseJSON(p)) }
		report, err := d.Registry.Sweep(ctx, o)
		return SweepReport{DryRun: report.DryRun, Phases: each(report.Phases, phaseJSON), Rough: report.Rough}, err
	})
}

func phaseJSON(p registry.SweepProgress) SweepPhase {
	return SweepPhase{Phase: string(p.Phase), Visited: p.Visited, Condemned: Amount(p.Condemned), Revived: Amount(p.Revived),
		Released: Amount(p.Released), Forgotten: Amount(p.Forgotten), Erased: Amount(p.Erased),
		Manifests: p.Manifests, Repositories: p.Repositories, Held: p.Held, Failed: p.Failed}
}

func (d *door) scrub(w http.ResponseWriter, r *http.Request) error {
	if err := d.change(r, &ScrubRequest{}); err != nil {
		return err
	}
	return work(d, w, r, "a scrub", func(ctx context.Context, tell func(ScrubReport)) (ScrubReport, error) {
		o := d.Scrub
		o.Interval = 0 // it was asked for
		o.Progress = func(p registry.ScrubReport) { tell(scrubJSON(p)) }
		report, err := d.Registry.Scrub(ctx, o)
		return scrubJSON(report), err
	})
}

func scrubJSON(p registry.ScrubReport) ScrubReport {
	return ScrubReport{Began: p.Began, Ended: moment(p.Ended), Verified: p.Verified, Bytes: p.Bytes, Damaged: p.Damaged,
		Healed: p.Healed, Unread: p.Unread, Descriptors: p.Descriptors, Mended: p.Mended}
}

func (d *door) fsck(w http.ResponseWriter, r *http.Request) error {
	var request FsckRequest
	if err := d.body(r, &request); err != nil {
		return err
	}
	if request.Repair {
		if err := d.changeable(); err != nil {
			return err
		}
	}
	return work(d, w, r, "an fsck", func(ctx context.Context, tell func(FsckReport)) (FsckReport, error) {
		problem := ""
		if d.Check != nil {
			tell(FsckReport{Stage: "log", Counts: map[string]FsckCount{}})
			var err error
			if problem, err = d.Check(ctx); err != nil {
				return FsckReport{}, err
			}
		}
		report, err := d.Registry.Fsck(ctx, registry.FsckOptions{
			Deep: request.Deep, ManyOrphans: request.ManyOrphans, Pace: d.Scrub.Pace,
			Repair: request.Repair && problem == "", // the views say what has a name
			Progress: func(p registry.FsckReport) {
				p.Findings = nil // they come with the result
				tell(fsckJSON(p, problem))
			},
		})
		return fsckJSON(report, problem), err
	})
}

func fsckJSON(p registry.FsckReport, problem string) FsckReport {
	counts := make(map[string]FsckCount, len(p.Counts))
	for kind, n := range p.Counts {
		counts[kind] = FsckCount(n)
	}
	return FsckReport{Stage: p.Stage, LogProblem: problem, Blobs: p.Blobs, Bytes: p.Bytes, Objects: p.Objects, Rows: p.Rows, Counts: counts,
		Findings: each(p.Findings, func(f registry.Finding) Finding { return Finding(f) }), Refused: p.Refused}
}

// moment is a time, or nil if there is none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
