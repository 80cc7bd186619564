package metastore_test

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// world is what a random history is about: few names, so that changes meet.
type world struct {
	repositories, contents, tags, uploads []string
}

func newWorld(n int) world {
	named := func(what string, count int) (all []string) {
		for i := range count {
			all = append(all, fmt.Sprintf("%s-%d-%d", what, n, i))
		}
		return all
	}
	return world{named("repo", 2), named("content", 4), named("tag", 2), named("upload", 2)}
}

// answers are what a decision was told, as text.
type answers struct{ lines []string }

func (a *answers) note(what string, err error, values ...any) {
	line := what
	for _, v := range values {
		line += fmt.Sprintf(" %+v", v)
	}
	if err != nil {
		line += " error " + err.Error()
	}
	a.lines = append(a.lines, line)
}

// ask asks a view everything about the world.
func (w *world) ask(v registry.View, a *answers) {
	all, err := v.RepositoryPage(w.repositories[0][:len(w.repositories[0])-1], len(w.repositories))
	a.note("repositories", err, slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(w.repositories, name) }))
	for _, u := range w.uploads {
		w.askUpload(v, u, a)
	}
	for _, c := range w.contents {
		w.askBlob(v, c, a)
	}
	for _, r := range w.repositories {
		w.askRepository(v, r, a)
	}
}

func (w *world) askUpload(v registry.View, id string, a *answers) {
	u, err := v.Upload(id)
	if u == nil {
		u = new(registry.Upload)
	}
	a.note("upload "+id, err, *u)
}

func (w *world) askBlob(v registry.View, content string, a *answers) {
	for _, d := range digests(content) {
		b, err := v.Blob(d)
		if b == nil {
			b = new(registry.Blob)
		}
		a.note("blob "+content, err, *b)
	}
	holder, err := v.BlobHolder(primary(content))
	linked := false
	if err == nil && holder != "" { // any of several
		linked, err = v.Linked(holder, primary(content))
	}
	a.note("holder of "+content, err, holder != "", linked)
}

func (w *world) askRepository(v registry.View, r string, a *answers) {
	exists, err := v.RepositoryExists(r)
	a.note("repository "+r, err, exists)
	page, err := v.TagPage(r, "", 10)
	a.note("tags", err, page)
	algorithm, err := v.PreferredAlgorithm(r)
	a.note("algorithm", err, algorithm)
	for _, name := range w.tags {
		tag, err := v.Tag(r, name)
		if tag == nil {
			tag = new(registry.Tag)
		}
		m, _, _, mErr := v.TaggedManifest(r, name)
		if m == nil {
			m = new(registry.Manifest)
		}
		a.note("tag "+name, errors.Join(err, mErr), *tag, *m)
	}
	for _, c := range w.contents {
		for _, d := range digests(c) {
			m, _, err := v.Manifest(r, d)
			if m == nil {
				m = new(registry.Manifest)
			}
			linked, linkErr := v.Linked(r, d)
			b, _, blobErr := v.LinkedBlob(r, d)
			a.note("in "+r, errors.Join(err, linkErr, blobErr), *m, linked, b != nil)
		}
		named, err := v.TagsOf(r, primary(c), 10)
		by, byErr := v.Referencing(r, digests(c))
		referrers, pageErr := v.ReferrerPage(r, []identity.Digest(digests(c)), "", 0, 10, 1<<20)
		more, afterErr := v.ReferrerAfter(r, []identity.Digest(digests(c)), "", 0)
		a.note("of "+c, errors.Join(err, byErr, pageErr, afterErr), named, !by.IsZero(), referrers, more)
	}
}

// step is one change of a history.
type step struct {
	kind           string
	repository     string
	content, other string
	tag, upload    string
	asks           string // "", "little" or "all"
	keys           registry.Keys
	wrong          bool // it is refused after all
	generation     int64
}

var kinds = []string{"create", "store", "link", "unlink", "put", "put again", "delete", "tag", "untag", "identify",
	"move", "claim", "drop", "two at once", "nothing", "panic"}

func drawStep(t *rapid.T, w world) step {
	from := func(all []string, label string) string { return rapid.SampledFrom(all).Draw(t, label) }
	s := step{
		kind: from(kinds, "kind"), repository: from(w.repositories, "repository"),
		content: from(w.contents, "content"), other: from(w.contents, "other"),
		tag: from(w.tags, "tag"), upload: from(w.uploads, "upload"),
		asks:       from([]string{"", "", "little", "all"}, "asks"),
		wrong:      rapid.IntRange(0, 7).Draw(t, "wrong") == 0,
		generation: rapid.Int64Range(0, 9).Draw(t, "generation"),
	}
	right := registry.Keys{Repositories: []string{s.repository}, Tags: []string{s.tag}, Uploads: []string{s.upload},
		Digests: slices.Concat([]identity.Digest(digests(s.content)), []identity.Digest(digests(s.other)))}
	switch from([]string{"right", "some", "wrong", "none"}, "keys") {
	case "right":
		s.keys = right
	case "some":
		s.keys = registry.Keys{Repositories: right.Repositories, Digests: right.Digests[2:3], Uploads: right.Uploads}
	case "wrong":
		s.keys = registry.Keys{Repositories: []string{"no such", w.repositories[0]}, Tags: []string{"none", w.tags[1]},
			Digests: []identity.Digest{digest(identity.SHA512, "none"), digest(identity.SHA512, w.contents[0])}, Uploads: []string{"none"}}
	}
	return s
}

// decide makes the change of a step, of which the views allow it.
func (s *step) decide(w *world, a *answers) func(registry.View) (*registry.Change, error) {
	return func(v registry.View) (*registry.Change, error) {
		a.lines = nil // it may run again
		switch s.asks {
		case "little":
			w.askBlob(v, s.content, a)
		case "all":
			w.ask(v, a)
		}
		c, err := s.change(v)
		if err == nil && s.wrong {
			err = errRefused
		}
		if err == nil && s.kind == "panic" {
			panic("at the disco")
		}
		return c, err
	}
}

// have adds what must be there before.
func (s *step) have(v registry.View, c *registry.Change, content string) (there bool, err error) {
	exists, err := v.RepositoryExists(s.repository)
	if err != nil {
		return false, err
	}
	if !exists {
		c.Add(&fact.RepositoryCreated{Repository: s.repository})
	}
	b, err := v.Blob(primary(content))
	if b == nil && err == nil {
		c.Entries = append(c.Entries, stored(content))
	}
	return exists && b != nil, err
}

func (s *step) change(v registry.View) (*registry.Change, error) {
	c := new(registry.Change)
	switch s.kind {
	case "create", "two at once":
		_, err := s.have(v, c, s.content)
		return c, err
	case "store":
		b, err := v.Blob(digest(identity.SHA256, s.content))
		if b == nil && err == nil {
			c.Entries = append(c.Entries, stored(s.content))
		}
		return c, err
	case "link", "unlink":
		_, err := s.have(v, c, s.content)
		if s.kind == "link" {
			c.Add(&fact.BlobLinked{Repository: s.repository, Blob: primary(s.content)})
		} else {
			c.Add(&fact.BlobUnlinked{Repository: s.repository, Blob: primary(s.content)})
		}
		return c, err
	case "put", "put again":
		return c, s.put(v, c)
	case "identify", "move":
		_, err := s.have(v, c, s.content)
		if s.kind == "identify" {
			c.Add(&fact.BlobIdentified{Blob: primary(s.content), Digest: digest(identity.SHA512, s.content)})
		} else {
			c.Add(&fact.BlobMoved{Blob: primary(s.content), To: fact.Receipt{Store: "files", Locator: fmt.Sprint("a/", s.generation)}})
		}
		return c, err
	case "claim":
		u, err := v.Upload(s.upload)
		next := registry.Upload{ID: s.upload, Repository: s.repository, State: registry.UploadOpen, Generation: s.generation, Expires: time.Unix(2e9, 0)}
		if u != nil {
			next.Generation += u.Generation
		}
		c.Puts = []registry.Upload{next}
		return c, err
	case "drop":
		c.Drops = []string{s.upload}
		return c, nil
	}
	return s.unmake(v, c)
}

// put puts a manifest that refers to another content, whether that is there or not.
func (s *step) put(v registry.View, c *registry.Change) error {
	if _, err := s.have(v, c, s.content); err != nil {
		return err
	}
	put := &fact.ManifestPut{Repository: s.repository, Manifest: primary(s.content), Native: primary("native"),
		Digest: digest(identity.SHA256, s.content), MediaType: "m", Size: 1, Class: "transient",
		References: []fact.Reference{{Role: "layer", MediaType: "l", Digest: digest(identity.SHA256, s.other), Size: 1}}}
	var descriptor []byte
	if s.kind == "put again" {
		put.SubjectDigest, descriptor = digest(identity.SHA512, s.other), []byte(`{"of":"`+s.content+`"}`)
	}
	c.AddContent(put, descriptor)
	return nil
}

// unmake moves and deletes what names manifests.
func (s *step) unmake(v registry.View, c *registry.Change) (*registry.Change, error) {
	m, _, err := v.Manifest(s.repository, digest(identity.SHA256, s.content))
	if err != nil {
		return nil, err
	}
	now, err := v.Tag(s.repository, s.tag)
	if err != nil {
		return nil, err
	}
	switch {
	case s.kind == "tag" && m != nil:
		moved := tag(s.repository, s.tag, s.content)
		if now != nil {
			moved.From = now.Manifest
		}
		c.Add(moved)
	case s.kind == "untag" && now != nil:
		c.Add(&fact.TagDeleted{Repository: s.repository, Tag: s.tag, Manifest: now.Manifest})
	case s.kind == "delete" && m != nil:
		named, err := v.TagsOf(s.repository, primary(s.content), 10)
		if err != nil {
			return nil, err
		}
		for _, name := range named {
			c.Add(&fact.TagDeleted{Repository: s.repository, Tag: name, Manifest: primary(s.content)})
		}
		c.Add(&fact.ManifestDeleted{Repository: s.repository, Manifest: primary(s.content)})
	default:
		return nil, errRefused
	}
	return c, nil
}

// outcome is an error as both databases tell it.
func outcome(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}

// TestSharedHistoryIsTheSameAsOneByOne: random changes, many in a batch and with
// whatever keys, see and do what they do one by one on SQLite.
func TestSharedHistoryIsTheSameAsOneByOne(t *testing.T) {
	t.Parallel()
	o := metastore.Options{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
	single := &store{path: filepath.Join(t.TempDir(), "artifactstore.db"), options: o}
	single.open(t)
	t.Cleanup(func() { _ = single.Close() })
	batched := join(t, harness.StartPostgres(t), node{Options: o})
	for _, s := range []*store{single, batched} {
		s.update(t, &registry.Change{Entries: []registry.Entry{stored("native")}})
	}
	if !full() {
		checks := flag.Lookup("rapid.checks").Value
		before := checks.String()
		must(t, checks.Set("30"))
		defer func() { must(t, checks.Set(before)) }()
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w := newWorld(n)
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step { return drawStep(t, w) }), 1, 14).Draw(t, "steps")
			told := make([]answers, 2*len(steps))
			var decisions []decision
			var want []error
			for i := range steps {
				want = append(want, single.Update(t.Context(), caller, steps[i].keys, steps[i].decide(&w, &told[2*i])))
				decisions = append(decisions, decision{steps[i].keys, steps[i].decide(&w, &told[2*i+1])})
			}
			got := together(batched, decisions...)
			for i := range steps {
				if outcome(got[i]) != outcome(want[i]) {
					t.Fatalf("step %d (%s): %v, want %v", i, steps[i].kind, got[i], want[i])
				}
				compare(t, fmt.Sprintf("step %d (%s)", i, steps[i].kind), told[2*i+1].lines, told[2*i].lines)
			}
		}
		// A decision is told what a reader is.
		var read, decided, reference answers
		for _, err := range []error{
			batched.Read(t.Context(), func(v registry.View) error { w.ask(v, &read); return nil }),
			batched.Update(t.Context(), caller, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
				decided.lines = nil
				w.ask(v, &decided)
				return nil, nil
			}),
			single.Read(t.Context(), func(v registry.View) error { w.ask(v, &reference); return nil }),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		compare(t, "a decision", decided.lines, reference.lines)
		compare(t, "a reader", read.lines, reference.lines)
	})
	if a, b := single.dump(t), batched.dump(t); a != b {
		compare(t, "the views", strings.Split(b, "\n"), strings.Split(a, "\n"))
	}
	sound(t, single)
	sound(t, batched)
}

func compare(t rapid.TB, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%s:\ngot  %q\nwant %q", what, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}
