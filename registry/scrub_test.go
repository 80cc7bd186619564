package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// found returns the row of a byte sequence.
func (w *world) found(t *testing.T, d identity.Digest) *registry.Blob {
	t.Helper()
	var b *registry.Blob
	must(t, w.ledger.Read(t.Context(), func(v registry.View) (err error) {
		b, err = v.Blob(d)
		return err
	}))
	if b == nil {
		t.Fatalf("%s is not stored", d)
	}
	return b
}

// rewrite puts other bytes in place of a content row.
func (w *world) rewrite(t *testing.T, row eventlog.Sequence, data []byte) {
	t.Helper()
	must(t, w.ledger.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		c := &registry.Change{Durable: true}
		if data == nil {
			c.Forget = []eventlog.Sequence{row}
			return c, nil
		}
		c.Working.Contents = map[eventlog.Sequence][]byte{row: data}
		return c, nil
	}))
}

// flip damages the stored bytes with a digest: a bit of them is another one.
func (w *world) flip(t *testing.T, d identity.Digest) {
	t.Helper()
	b := w.found(t, d)
	if b.Receipt.Store == fact.Content {
		data, err := w.ledger.Object(t.Context(), b.Content)
		must(t, err)
		data[len(data)/2] ^= 1
		w.rewrite(t, b.Content, data)
		return
	}
	rc, err := w.driver.Open(t.Context(), b.Receipt.Locator, 0, -1)
	must(t, err)
	data, err := io.ReadAll(rc)
	must(t, errors.Join(err, rc.Close()))
	data[len(data)/2] ^= 1
	must(t, w.driver.Delete(t.Context(), b.Receipt.Locator))
	must(t, w.driver.Place(t.Context(), b.Receipt.Locator, int64(len(data)), strings.NewReader(string(data))))
}

// lose removes the stored bytes with a digest.
func (w *world) lose(t *testing.T, d identity.Digest) {
	t.Helper()
	b := w.found(t, d)
	if b.Receipt.Store == fact.Content {
		w.rewrite(t, b.Content, nil)
		return
	}
	must(t, w.driver.Delete(t.Context(), b.Receipt.Locator))
}

func (w *world) scrub(t *testing.T, o registry.ScrubOptions) registry.ScrubReport {
	t.Helper()
	report, err := w.Scrub(t.Context(), o)
	must(t, err)
	return report
}

// kinds counts the events after a sequence.
func (w *world) kinds(t *testing.T, after uint64) map[string]int {
	t.Helper()
	n := map[string]int{}
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		events, err := v.EventsAfter(eventlog.Sequence(after), 10_000)
		for _, e := range events {
			n[string(e.Kind)]++
		}
		return err
	}))
	return n
}

// stored is content of every kind: what it is called, its digest, and how a
// client pushes it.
type stored struct {
	name   string
	digest identity.Digest
	push   func(t *testing.T, r *registry.Repository)
	code   registry.Code // when it is under quarantine
	get    func(ctx context.Context, r *registry.Repository) (*registry.Content, error)
}

// everything pushes content of every kind to a repository.
func everything(t *testing.T, w *world, r *registry.Repository) []stored {
	t.Helper()
	var all []stored
	blob := func(name, data string) {
		all = append(all, stored{name: name, digest: digest(data), code: registry.BlobUnknown,
			push: func(t *testing.T, r *registry.Repository) { t.Helper(); push(t, r, data) },
			get: func(ctx context.Context, r *registry.Repository) (*registry.Content, error) {
				return r.Blob(ctx, digest(data))
			}})
	}
	blob("small blob", small)
	blob("large blob", large)
	manifest := func(name, data string) {
		put := func(t *testing.T, r *registry.Repository) {
			t.Helper()
			_, err := r.PutManifest(t.Context(), image(tagged(strings.ReplaceAll(name, " ", "-")), data))
			must(t, err)
		}
		all = append(all, stored{name: name, digest: digest(data), push: put, code: registry.ManifestUnknown,
			get: func(ctx context.Context, r *registry.Repository) (*registry.Content, error) {
				return r.Manifest(ctx, registry.Reference{Digest: digest(data)})
			}})
		push(t, r, small)
		put(t, r)
		var m *registry.Manifest
		must(t, w.ledger.Read(t.Context(), func(v registry.View) (err error) {
			m, _, err = v.Manifest(r.Name(), digest(data))
			return err
		}))
		all = append(all, stored{name: "native form of a " + name, digest: m.Native, push: put, code: registry.ManifestUnknown,
			get: func(ctx context.Context, _ *registry.Repository) (*registry.Content, error) { return w.Native(ctx, m) }})
	}
	manifest("manifest", body(small, 0, ""))
	manifest("long manifest", body(small, 10_000, ""))
	for _, s := range all {
		s.push(t, r)
	}
	return all
}

// served expects that content is what was pushed.
func (s *stored) served(t *testing.T, r *registry.Repository) {
	t.Helper()
	c, err := s.get(t.Context(), r)
	must(t, err)
	must(t, c.Check(t.Context()))
	rc, err := c.Open(t.Context(), 0, -1)
	must(t, err)
	data, err := io.ReadAll(io.LimitReader(rc, c.Size))
	must(t, errors.Join(err, rc.Close()))
	if !identity.Of(data).Has(s.digest) {
		t.Errorf("%s: other bytes are served", s.name)
	}
}

// withheld expects that content is refused in every way.
func (s *stored) withheld(t *testing.T, r *registry.Repository) {
	t.Helper()
	c, err := s.get(t.Context(), r)
	must(t, err)
	_, openErr := c.Open(t.Context(), 0, -1)
	_, linkErr := c.Link(t.Context())
	for _, err := range []error{c.Check(t.Context()), openErr, linkErr} {
		if e := refused(t, err, s.code); !strings.Contains(e.Message, "quarantine") || !strings.Contains(e.Message, "pushing the same content again") {
			t.Errorf("%s: the refusal says %q", s.name, e.Message)
		}
	}
}

func TestWhatTheScrubFindsIsNotServedUntilItIsPushedAgain(t *testing.T) {
	names := []string{"small blob", "large blob", "manifest", "native form of a manifest", "long manifest", "native form of a long manifest"}
	for i, name := range names {
		for how, damage := range map[string]func(*world, *testing.T, identity.Digest){"flipped": (*world).flip, "lost": (*world).lose} {
			t.Run(name+" "+how, func(t *testing.T) {
				w := open(t, registry.Options{})
				r := w.repo(t, "a")
				all := everything(t, w, r)
				s := all[i]
				if s.name != name {
					t.Fatalf("it is a %s", s.name)
				}
				damage(w, t, s.digest)
				if report := w.scrub(t, registry.ScrubOptions{}); report.Damaged != 1 || report.Ended.IsZero() {
					t.Fatalf("report %+v", report)
				}
				s.withheld(t, r)
				for _, other := range all {
					if other.digest != s.digest {
						c, err := other.get(t.Context(), r)
						must(t, err)
						_, err = c.Open(t.Context(), 0, -1)
						must(t, err)
					}
				}
				s.push(t, r)
				s.served(t, r)
				if report := w.scrub(t, registry.ScrubOptions{}); report.Damaged != 0 || report.Verified != int64(len(all)) {
					t.Errorf("after the push: report %+v", report)
				}
				w.clean(t)
			})
		}
	}
}

func TestAScrubThatFindsNothingSaysWhatItVerified(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	all := everything(t, w, r)
	before := head(t, w)
	report := w.scrub(t, registry.ScrubOptions{})
	if report.Verified != int64(len(all)) || report.Damaged+report.Unread+report.Healed != 0 {
		t.Errorf("report %+v", report)
	}
	if n := w.kinds(t, before); n[fact.KindLocationVerified] != 2 || len(n) != 1 { // one for each store
		t.Errorf("events %v", n)
	}
	for _, s := range all {
		if b := w.found(t, s.digest); b.Verified.Before(report.Began) || b.Damaged {
			t.Errorf("%s: verified %v, damaged %v", s.name, b.Verified, b.Damaged)
		}
	}
}

func TestAScrubSaysManyVerificationsAtOnce(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	for i := range 243 {
		push(t, r, fmt.Sprint(i))
	}
	before := head(t, w)
	calls := 0
	w.scrub(t, registry.ScrubOptions{Progress: func(registry.ScrubReport) { calls++ }})
	if n := w.kinds(t, before); n[fact.KindLocationVerified] != 3 || len(n) != 1 {
		t.Errorf("events %v", n)
	}
	if calls < 244 { // each may be a long one
		t.Errorf("progress was told %d times", calls)
	}
}

// TestAScrubCountsSmallContentForMore: else many small byte sequences would keep a
// processor busy, whatever the pace.
func TestAScrubCountsSmallContentForMore(t *testing.T) {
	w := open(t, registry.Options{})
	for i := range 20 {
		push(t, w.repo(t, "a"), fmt.Sprint(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	report, err := w.Scrub(ctx, registry.ScrubOptions{Pace: budget.NewPace(16<<10, 0)})
	if !errors.Is(err, context.DeadlineExceeded) || report.Verified > 1 {
		t.Errorf("the scrub has verified %d, %v", report.Verified, err)
	}
}

func TestAScrubGoesOnWhereItStoppedAndWaitsForItsTime(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	for i := range 350 {
		push(t, r, fmt.Sprint(i))
	}
	o := registry.ScrubOptions{Interval: 24 * time.Hour}
	if early := w.scrub(t, o); !early.Began.IsZero() {
		t.Errorf("what is new was read at once: %+v", early)
	}
	w.clock.advance(24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := o
	stopped.Progress = func(r registry.ScrubReport) {
		if r.Verified == 100 {
			cancel()
		}
	}
	first, err := w.Scrub(ctx, stopped)
	if !errors.Is(err, context.Canceled) || first.Verified != 100 || !first.Ended.IsZero() {
		t.Fatalf("stopped with %v, report %+v", err, first)
	}
	second := w.scrub(t, o)
	if second.Began != first.Began || second.Verified != 350 || second.Ended.IsZero() {
		t.Errorf("it went on to %+v", second)
	}
	before := head(t, w)
	if again := w.scrub(t, o); again != second || head(t, w) != before {
		t.Errorf("before its time: %+v", again)
	}
	w.clock.advance(23 * time.Hour)
	if again := w.scrub(t, o); again != second {
		t.Errorf("an hour before its time: %+v", again)
	}
	w.clock.advance(time.Hour)
	if again := w.scrub(t, o); again.Began == second.Began || again.Verified != 350 {
		t.Errorf("at its time: %+v", again)
	}
	if known, err := w.Scrubbed(t.Context()); err != nil || known.Verified != 350 {
		t.Errorf("known of the last pass: %+v, %v", known, err)
	}
}

func TestWhatIsPutBackIsServedAgainAfterAScrub(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	everything(t, w, r)
	for _, data := range []string{small, large} {
		w.flip(t, digest(data))
		w.scrub(t, registry.ScrubOptions{})
		if !w.found(t, digest(data)).Damaged {
			t.Fatal("not under quarantine")
		}
		w.flip(t, digest(data)) // back
		if report := w.scrub(t, registry.ScrubOptions{}); report.Healed != 1 || report.Damaged != 0 {
			t.Errorf("report %+v", report)
		}
		if got := read(t, r, digest(data)); got != data {
			t.Error("other bytes are served")
		}
	}
}

// unreadable is a data plane of which some bytes cannot be read.
type unreadable struct {
	registry.Bytes
	verify func(fact.Receipt) error
}

func (f *unreadable) Verify(ctx context.Context, r fact.Receipt, content eventlog.Sequence, digests identity.DigestSet, size int64, pace *budget.Pace) error {
	if err := f.verify(r); err != nil {
		return err
	}
	return f.Bytes.Verify(ctx, r, content, digests, size, pace)
}

func TestWhatCannotBeReadIsNotTakenForDamaged(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, large)
	push(t, r, large+large)
	bad := w.found(t, digest(large)).Receipt
	n := w.node(t, func(b registry.Bytes) registry.Bytes {
		return &unreadable{b, func(r fact.Receipt) error {
			if r == bad {
				return errors.New("input/output error")
			}
			return nil
		}}
	})
	report, err := n.Scrub(t.Context(), registry.ScrubOptions{})
	if err != nil || report.Unread != 1 || report.Verified != 1 || report.Damaged != 0 {
		t.Errorf("report %+v, %v", report, err)
	}
	if got := read(t, r, digest(large)); got != large {
		t.Error("other bytes are served")
	}
}

func TestAScrubWaitsForAStoreThatIsAway(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	push(t, r, large)
	push(t, r, large+large)
	away, bad := true, w.found(t, digest(large)).Receipt
	n := w.node(t, func(b registry.Bytes) registry.Bytes {
		return &unreadable{b, func(r fact.Receipt) error {
			if away && r == bad {
				return fmt.Errorf("verify: %w", fact.ErrUnavailable)
			}
			return nil
		}}
	})
	if report, err := n.Scrub(t.Context(), registry.ScrubOptions{}); !errors.Is(err, fact.ErrUnavailable) || report.Verified != 1 || report.Unread != 0 {
		t.Fatalf("report %+v, %v", report, err)
	}
	// What never can be reached keeps the pass no longer than that.
	if report, err := n.Scrub(t.Context(), registry.ScrubOptions{}); err != nil || report.Verified != 2 || report.Unread != 1 {
		t.Fatalf("report %+v, %v", report, err)
	}
	away = false
	if report, err := n.Scrub(t.Context(), registry.ScrubOptions{}); err != nil || report.Verified != 3 || report.Unread != 0 {
		t.Fatalf("report %+v, %v", report, err)
	}
}

// TestAStoreThatIsNotMountedIsLeftAlone: all is missing that is in it.
func TestAStoreThatIsNotMountedIsLeftAlone(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	for i := range 30 {
		push(t, r, fmt.Sprint(large, i))
	}
	locators := map[string]string{}
	for i := range 30 {
		locators[w.found(t, digest(fmt.Sprint(large, i))).Receipt.Locator] = fmt.Sprint(large, i)
	}
	for locator := range locators {
		must(t, w.driver.Delete(t.Context(), locator))
	}
	before := head(t, w)
	report := w.scrub(t, registry.ScrubOptions{})
	if report.Damaged != 0 || report.Unread != 30 || head(t, w) != before {
		t.Errorf("report %+v and %d events", report, head(t, w)-before)
	}
	// Once one is there, the others are missing.
	for locator, data := range locators {
		must(t, w.driver.Place(t.Context(), locator, int64(len(data)), strings.NewReader(data)))
		break
	}
	if report := w.scrub(t, registry.ScrubOptions{}); report.Damaged != 29 || report.Verified != 1 {
		t.Errorf("report %+v", report)
	}
}

// TestDamageIsNotSaidOfBytesThatWereReplaced: the client is quicker than the scrub.
func TestDamageIsNotSaidOfBytesThatWereReplaced(t *testing.T) {
	for name, data := range map[string]string{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			r := w.repo(t, "a")
			push(t, r, data)
			push(t, r, large+large) // so that the store is known
			w.lose(t, digest(data))
			late, ledger := w.lateNode(t)
			ledger.before = func() { push(t, r, data) }
			report, err := late.Scrub(t.Context(), registry.ScrubOptions{})
			must(t, err)
			if report.Damaged != 0 || w.found(t, digest(data)).Damaged {
				t.Errorf("report %+v", report)
			}
			if got := read(t, r, digest(data)); got != data {
				t.Error("other bytes are served")
			}
		})
	}
}

// TestClientsPushAgainWhatIsUnderQuarantine: they ask for the manifest by its
// digest first, and push nothing if it is there.
func TestClientsPushAgainWhatIsUnderQuarantine(t *testing.T) {
	ctx := t.Context()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, large)
	child := body(large, 0, "")
	_, err := r.PutManifest(ctx, image(tagged("child"), child))
	must(t, err)
	list := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}]}`,
		digest(child), len(child))
	top := image(tagged("top"), list)
	top.MediaType = "application/vnd.oci.image.index.v1+json"
	_, err = r.PutManifest(ctx, top)
	must(t, err)
	w.flip(t, digest(large))
	w.scrub(t, registry.ScrubOptions{})

	for _, data := range []string{list, child} {
		c, err := r.Manifest(ctx, registry.Reference{Digest: digest(data)})
		must(t, err)
		e := refused(t, c.Check(ctx), registry.ManifestUnknown)
		if detail, _ := e.Detail.(map[string]string); detail["digest"] != digest(large).String() {
			t.Errorf("the refusal names %v", e.Detail)
		}
		_, err = c.Open(ctx, 0, -1) // it can be read all the same
		must(t, err)
	}
	for _, tag := range []string{"top", "child"} {
		c, err := r.Manifest(ctx, tagged(tag))
		must(t, err)
		must(t, c.Check(ctx))
	}
	if mounted, err := w.repo(t, "b").MountBlob(ctx, digest(large), "a"); err != nil || mounted {
		t.Errorf("mounted what is damaged: %v, %v", mounted, err)
	}
	_, err = r.PutManifest(ctx, image(tagged("child"), child))
	refused(t, err, registry.ManifestBlobUnknown)
	push(t, w.repo(t, "b"), large) // whoever pushes it heals it for all
	for _, data := range []string{list, child} {
		c, err := r.Manifest(ctx, registry.Reference{Digest: digest(data)})
		must(t, err)
		must(t, c.Check(ctx))
	}
	if got := read(t, r, digest(large)); got != large {
		t.Error("other bytes are served")
	}
}

// TestAHealedObjectIsErasedLater: what it was is to be deleted.
func TestAHealedObjectIsErasedLater(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, large)
	old := w.found(t, digest(large))
	w.flip(t, digest(large))
	w.scrub(t, registry.ScrubOptions{})
	push(t, r, large)
	var given []registry.Erasure
	must(t, w.ledger.Read(t.Context(), func(v registry.View) (err error) {
		given, err = v.ErasuresOf(old.Digests.Primary())
		return err
	}))
	if len(given) != 1 || given[0].Receipt != old.Receipt {
		t.Errorf("to be deleted: %+v", given)
	}
	if now := w.found(t, digest(large)); now.Damaged || now.Receipt == old.Receipt {
		t.Errorf("now it is %+v", now)
	}
}

func TestHeadFindsWhatWasMovedMeanwhile(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, large)
	c, err := r.Blob(t.Context(), digest(large))
	must(t, err)
	w.lose(t, digest(large))
	push(t, r, large)
	must(t, c.Check(t.Context()))
}

// refers pushes a manifest and one that refers to it, and returns the row of the
// latter's descriptor.
func refers(t *testing.T, r *registry.Repository) (subject, referrer string, list func() []string) {
	t.Helper()
	push(t, r, small)
	subject = body(small, 0, "")
	referrer = body(small, 10, subject)
	for tag, data := range map[string]string{"subject": subject, "referrer": referrer} {
		_, err := r.PutManifest(t.Context(), image(tagged(tag), data))
		must(t, err)
	}
	return subject, referrer, func() (all []string) {
		page, _, err := r.Referrers(t.Context(), digest(subject), "", 0, 10, 1<<20)
		must(t, err)
		for _, one := range page {
			all = append(all, string(one.Descriptor))
		}
		return all
	}
}

func TestDescriptorsOfReferrersAreMadeAnew(t *testing.T) {
	for name, data := range map[string][]byte{"lost": nil, "another one": []byte(`{"mediaType":"x"}`), "no JSON": []byte("{{"), "empty": {}} {
		for _, deleted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", deleted ", deleted), func(t *testing.T) {
				w := open(t, registry.Options{})
				r := w.repo(t, "a")
				_, referrer, list := refers(t, r)
				want := list()
				var put eventlog.Sequence
				must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
					m, _, err := v.Manifest("a", digest(referrer))
					put = m.Sequence
					return err
				}))
				if deleted {
					must(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(referrer)}))
				}
				w.rewrite(t, put, data)
				if report := w.scrub(t, registry.ScrubOptions{}); report.Descriptors != 1 || report.Mended != 1 {
					t.Fatalf("report %+v", report)
				}
				if report := w.scrub(t, registry.ScrubOptions{}); report.Descriptors != 1 || report.Mended != 0 {
					t.Errorf("afterwards: report %+v", report)
				}
				if got := list(); !deleted && !slices.Equal(got, want) {
					t.Errorf("listed are %v, want %v", got, want)
				}
			})
		}
	}
}
