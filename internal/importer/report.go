package importer

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// maxRefusals is how many refusals a report lists; it counts all.
const maxRefusals = 10_000

// Report is what came of an import.
type Report struct {
	Source string `json:"source"`
	Target string `json:"target"`
	DryRun bool   `json:"dryRun,omitempty"`
	// Complete: the import went through the whole source.
	Complete     bool  `json:"complete"`
	Repositories int   `json:"repositories"`
	Tags         Count `json:"tags"`
	Manifests    Count `json:"manifests"`
	Blobs        Count `json:"blobs"`
	// Bytes were copied, those of manifests included.
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	// Refused are the first refusals, sorted. RefusedMore are not listed.
	Refused     []Refusal `json:"refused"`
	RefusedMore int       `json:"refusedMore,omitempty"`
}

// Count counts what an import met.
type Count struct {
	Copied int64 `json:"copied"` // or would be, in a dry run
	// There is what the target had already. A blob that it had in another
	// repository is among them.
	There   int64 `json:"there"`
	Refused int64 `json:"refused"`
}

// Refusal is something that was not brought.
type Refusal struct {
	Repository string        `json:"repository"`
	Tags       []string      `json:"tags,omitempty"`
	Digest     digest.Digest `json:"digest,omitempty"`
	Reason     string        `json:"reason"`
}

// tally is a report that is being made. It is safe for concurrent use.
type tally struct {
	tags, manifests, blobs counter
	bytes                  atomic.Int64
	// total and at are the repositories there are and the one that is worked on.
	total, at atomic.Int64
	name      atomic.Pointer[string]

	mu      sync.Mutex
	refused []Refusal
	more    int
	index   map[digest.Digest]int // of refused manifests of this repository
}

type counter struct{ copied, there, refused atomic.Int64 }

func (c *counter) count() Count {
	return Count{Copied: c.copied.Load(), There: c.there.Load(), Refused: c.refused.Load()}
}

// enter begins a repository.
func (t *tally) enter(name string) {
	t.at.Add(1)
	t.name.Store(&name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.index = make(map[digest.Digest]int)
}

// refuse notes a refusal. With the digest of a manifest that was refused
// before, its tags are added to that.
func (t *tally) refuse(r Refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.index[r.Digest]; ok && r.Digest != "" {
		t.refused[i].Tags = append(t.refused[i].Tags, r.Tags...)
		return
	}
	if len(t.refused) >= maxRefusals {
		t.more++
		return
	}
	if r.Digest != "" {
		t.index[r.Digest] = len(t.refused)
	}
	t.refused = append(t.refused, r)
}

// report returns the report so far.
func (t *tally) report(started time.Time) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &Report{Repositories: int(t.at.Load()), Tags: t.tags.count(), Manifests: t.manifests.count(), Blobs: t.blobs.count(),
		Bytes: t.bytes.Load(), Seconds: time.Since(started).Seconds(), Refused: slices.Clone(t.refused), RefusedMore: t.more}
	if r.Refused == nil {
		r.Refused = []Refusal{}
	}
	for _, refusal := range r.Refused {
		slices.Sort(refusal.Tags)
	}
	slices.SortFunc(r.Refused, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), slices.Compare(a.Tags, b.Tags),
			cmp.Compare(a.Digest, b.Digest), cmp.Compare(a.Reason, b.Reason))
	})
	return r
}

// Failures is how many refusals there were.
func (r *Report) Failures() int { return len(r.Refused) + r.RefusedMore }

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	verb, copied := "Imported", "copied"
	if r.DryRun {
		verb, copied = "Would import", "to copy"
	}
	repositories := fmt.Sprintf("%d repositories", r.Repositories)
	if r.Repositories == 1 {
		repositories = "1 repository"
	}
	fmt.Fprintf(w, "%s %s from %s to %s.\n\n", verb, repositories, r.Source, r.Target)
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\t%s\tthere already\trefused\t\n", copied)
	for _, row := range []struct {
		name string
		Count
	}{{"tags", r.Tags}, {"manifests", r.Manifests}, {"blobs", r.Blobs}} {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", row.name, row.Copied, row.There, row.Refused)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	took := ""
	if !r.DryRun {
		took = " in " + time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond).String()
	}
	_, err := fmt.Fprintf(w, "\n%s %s%s.\n", size(r.Bytes), copied, took)
	if len(r.Refused) > 0 {
		_, err = fmt.Fprintf(w, "\nRefused:\n")
	}
	for _, refusal := range r.Refused {
		_, err = fmt.Fprintf(w, "  %s\n    %s\n", plain(refusal.where()), plain(refusal.Reason))
	}
	if r.RefusedMore > 0 {
		_, err = fmt.Fprintf(w, "  and %d more\n", r.RefusedMore)
	}
	return err
}

// plain makes text of a source harmless for a terminal, and one line.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

// where names what was refused, as in "team/app:v1,v2@sha256:...".
func (r *Refusal) where() string {
	text := r.Repository
	if len(r.Tags) > 0 {
		text += ":" + strings.Join(r.Tags, ",")
	}
	if r.Digest != "" {
		text += "@" + r.Digest.String()
	}
	return text
}

// size writes a number of bytes for people.
func size(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// show writes a line about the progress every interval until stop is closed.
func (t *tally) show(w io.Writer, interval time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := int64(0)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		name, bytes := "", t.bytes.Load()
		if p := t.name.Load(); p != nil {
			name = plain(*p)
		}
		rate := size(int64(float64(bytes-last) / interval.Seconds()))
		last = bytes
		fmt.Fprintf(w, "repository %d of %d, %s: %d manifests, %d tags, %s copied, %s/s\n", t.at.Load(), t.total.Load(), name,
			t.manifests.copied.Load()+t.manifests.there.Load(), t.tags.copied.Load()+t.tags.there.Load(), size(bytes), rate)
	}
}
