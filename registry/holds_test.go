package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// hold places a hold that does not end.
func (w *world) hold(t *testing.T, name, repository string, ref registry.Reference) registry.HoldInfo {
	t.Helper()
	info, err := w.PlaceHold(t.Context(), operator, registry.HoldRequest{Name: name, Repository: repository, Reference: ref, Reason: "case 7"})
	must(t, err)
	return info
}

// holds expects what HoldsOn lists: name, target, reason and whether it has ended.
func (w *world) holds(t *testing.T, repository string, want ...string) {
	t.Helper()
	all, err := w.HoldsOn(t.Context(), repository)
	must(t, err)
	var got []string
	for _, h := range all {
		line := fmt.Sprintf("%s on %s: %s", h.Name, h.Target, h.Reason)
		if h.Ended {
			line += ", ended"
		}
		got = append(got, line)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("holds:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHoldsArePlacedListedAndReleased(t *testing.T) {
	ctx := t.Context()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", small, "")
	primary := identity.FromBytes(identity.BLAKE3, []byte(m))
	by := registry.Reference{Digest: digest(m)}
	info := w.hold(t, "audit-2026", "a", by)
	if info.Sequence != w.last(t, fact.KindHoldPlaced) || info.Target.Manifest != primary || info.Actor != "operator" || info.Ended {
		t.Errorf("%+v", info)
	}
	w.hold(t, "b", "a", by)
	w.hold(t, "audit-2026", "a", tagged("v1"))
	w.hold(t, "audit-2026", "a", registry.Reference{})
	w.holds(t, "a", "audit-2026 on a: case 7", "audit-2026 on a:v1: case 7",
		"audit-2026 on a@"+primary.String()+": case 7", "b on a@"+primary.String()+": case 7")

	// The same name on the same target is the same hold.
	end := w.clock.Now().Add(day + time.Nanosecond)
	info, err := w.PlaceHold(ctx, operator, registry.HoldRequest{Name: "audit-2026", Repository: "a", Until: end, Reason: "shorter"})
	must(t, err)
	if info.Until.Before(end) || info.Until.Sub(end) > time.Microsecond {
		t.Errorf("it ends %v, want %v", info.Until, end)
	}
	w.pass(t, day+time.Minute)
	w.holds(t, "a", "audit-2026 on a: shorter, ended", "audit-2026 on a:v1: case 7",
		"audit-2026 on a@"+primary.String()+": case 7", "b on a@"+primary.String()+": case 7")

	for _, ref := range []registry.Reference{by, tagged("v1"), {}} {
		must(t, w.ReleaseHold(ctx, operator, "audit-2026", "a", ref, "closed"))
		refused(t, w.ReleaseHold(ctx, operator, "audit-2026", "a", ref, "closed"), registry.HoldUnknown)
	}
	w.holds(t, "a", "b on a@"+primary.String()+": case 7")
	must(t, w.ReleaseHold(ctx, operator, "b", "a", registry.Reference{Digest: primary}, "closed"))
	w.holds(t, "a")
	remove(t, r, m)
}

func TestHoldsThatCannotBe(t *testing.T) {
	w := open(t, registry.Options{})
	m := put(t, w.repo(t, "a"), "v1", small, "")
	good := registry.HoldRequest{Name: "h", Repository: "a", Reason: "case 7"}
	for name, c := range map[string]struct {
		change func(*registry.HoldRequest)
		code   registry.Code
	}{
		"no name":             {func(q *registry.HoldRequest) { q.Name = "" }, registry.HoldInvalid},
		"a name in capitals":  {func(q *registry.HoldRequest) { q.Name = "H" }, registry.HoldInvalid},
		"a name with NUL":     {func(q *registry.HoldRequest) { q.Name = "h\x00" }, registry.HoldInvalid},
		"a long name":         {func(q *registry.HoldRequest) { q.Name = strings.Repeat("h", 64) }, registry.HoldInvalid},
		"no reason":           {func(q *registry.HoldRequest) { q.Reason = "" }, registry.ReasonInvalid},
		"an end that is past": {func(q *registry.HoldRequest) { q.Until = time.Unix(1_600_000_000, 0) }, registry.HoldInvalid},
		"a strange end":       {func(q *registry.HoldRequest) { q.Until = time.Unix(1<<60, 0) }, registry.HoldInvalid},
		// In UTC, and in whole microseconds, these are of a year that no RFC 3339 time can say.
		"an end elsewhere": {func(q *registry.HoldRequest) {
			q.Until = time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200))
		}, registry.HoldInvalid},
		"an end rounded up":    {func(q *registry.HoldRequest) { q.Until = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC) }, registry.HoldInvalid},
		"no such repository":   {func(q *registry.HoldRequest) { q.Repository = "b" }, registry.NameUnknown},
		"no repository name":   {func(q *registry.HoldRequest) { q.Repository = "../a" }, registry.NameInvalid},
		"no deleted one":       {func(q *registry.HoldRequest) { q.Repository = "a#x" }, registry.NameInvalid},
		"no such deleted one":  {func(q *registry.HoldRequest) { q.Repository = "a#7" }, registry.NameUnknown},
		"no such tag":          {func(q *registry.HoldRequest) { q.Reference = tagged("v2") }, registry.ManifestUnknown},
		"no tag":               {func(q *registry.HoldRequest) { q.Reference = tagged("-") }, registry.TagInvalid},
		"no such manifest":     {func(q *registry.HoldRequest) { q.Reference.Digest = digest("x") }, registry.ManifestUnknown},
		"a tag and a manifest": {func(q *registry.HoldRequest) { q.Reference = registry.Reference{Tag: "v1", Digest: digest(m)} }, registry.HoldInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			q := good
			c.change(&q)
			_, err := w.PlaceHold(t.Context(), operator, q)
			refused(t, err, c.code)
		})
	}
	refused(t, w.ReleaseHold(t.Context(), operator, "h", "a", registry.Reference{}, ""), registry.ReasonInvalid)
	refused(t, w.ReleaseHold(t.Context(), operator, "\x00", "a", registry.Reference{}, "x"), registry.HoldUnknown)
	refused(t, w.ReleaseHold(t.Context(), operator, "h", "b", registry.Reference{}, "x"), registry.NameUnknown)
	_, err := w.HoldsOn(t.Context(), "b")
	refused(t, err, registry.NameUnknown)
	_, err = w.HoldsOn(t.Context(), "\x00")
	refused(t, err, registry.NameInvalid)
}

func TestHoldsOfARepositoryAreBounded(t *testing.T) {
	w := open(t, registry.Options{})
	m := put(t, w.repo(t, "a"), "v1", small, "")
	put(t, w.repo(t, "b"), "v1", small, "")
	c := new(registry.Change)
	for i := range registry.MaxHolds - 1 {
		c.Add(&fact.HoldPlaced{Name: fmt.Sprintf("h%04d", i), Target: fact.Target{Repository: "a"}})
	}
	w.change(t, c)
	w.hold(t, "last", "a", tagged("v1"))
	_, err := w.PlaceHold(t.Context(), operator, registry.HoldRequest{Name: "more", Repository: "a", Reason: "x"})
	refused(t, err, registry.Conflict)
	w.hold(t, "last", "a", tagged("v1")) // it is there
	w.hold(t, "h0500", "b", registry.Reference{})
	if all, err := w.HoldsOn(t.Context(), "a"); err != nil || len(all) != registry.MaxHolds {
		t.Errorf("%d holds, %v", len(all), err)
	}
	n := 0
	var after registry.HoldPlace
	for more := true; more; {
		var page []registry.HoldInfo
		page, after, more, err = w.HoldPage(t.Context(), after, 300)
		must(t, err)
		n += len(page)
	}
	if n != registry.MaxHolds+1 {
		t.Errorf("%d holds in pages", n)
	}
	// Not all of them are named to whoever is refused, and in each item of a plan.
	e := refused(t, w.repo(t, "a").DeleteManifest(t.Context(), registry.Reference{Digest: digest(m)}), registry.Denied)
	if named := e.Detail.(map[string]any)["holds"].([]string); len(named) != 20 || !strings.HasSuffix(e.Message, "h0008, h0009 and 990 more") {
		t.Errorf("refused with %s, %v", e.Message, named)
	}
	plan, err := w.MakePlan(t.Context(), operator, registry.PlanRequest{Repositories: []string{"a"}})
	must(t, err)
	items, _, err := w.PlanItems(t.Context(), plan.ID, "", 0, 10)
	if err != nil || len(items) != 1 || len(items[0].Held) != 20 || !strings.HasSuffix(items[0].Reason, "h0008, h0009 and 990 more") {
		t.Errorf("planned %+v, %v", items, err)
	}
	must(t, w.ReleaseHold(t.Context(), operator, "last", "a", tagged("v1"), "closed"))
	w.hold(t, "more", "a", registry.Reference{})
}

// TestAHoldFreezesADeletedManifestInItsGrave, with its blobs.
func TestAHoldFreezesADeletedManifestInItsGrave(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", large, "")
	remove(t, r, m)
	w.pass(t, 6*day)
	w.hold(t, "audit", "a", registry.Reference{Digest: digest(m)})
	e := refused(t, r.DeleteBlob(t.Context(), digest(large)), registry.Denied)
	if !strings.Contains(e.Message, "hold audit") {
		t.Errorf("refused: %s", e.Message)
	}
	w.pass(t, 40*day)
	w.sweep(t)
	w.pass(t, 10*day)
	w.sweep(t)
	w.undo(t, fact.KindManifestDeleted)
	served(t, r, m)
	if read(t, r, digest(large)) != large {
		t.Error("wrong bytes")
	}
	refused(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(m)}), registry.Denied)
	must(t, w.ReleaseHold(t.Context(), operator, "audit", "a", registry.Reference{Digest: digest(m)}, "closed"))
	remove(t, r, m)
	must(t, r.DeleteBlob(t.Context(), digest(large)))
}

// TestAHoldFreezesADeletedRepository: by the name that it has since then.
func TestAHoldFreezesADeletedRepository(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", small, "")
	deleted, err := w.DeleteRepository(t.Context(), operator, "a", "tidy")
	must(t, err)
	w.hold(t, "audit", deleted.DeletedName, registry.Reference{})
	w.holds(t, deleted.DeletedName, "audit on "+deleted.DeletedName+": case 7")
	w.pass(t, 30*day)
	w.sweep(t)
	w.pass(t, 10*day)
	w.sweep(t)
	w.undo(t, fact.KindRepositoryDeleted)
	served(t, r, m)
	w.holds(t, "a", "audit on a: case 7")
	must(t, w.ReleaseHold(t.Context(), operator, "audit", "a", registry.Reference{}, "closed"))
}

// TestAHoldIsReleasedWhenItsTargetIsGone: it had ended before.
func TestAHoldIsReleasedWhenItsTargetIsGone(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", small, "")
	for _, ref := range []registry.Reference{tagged("v1"), {Digest: digest(m)}} {
		_, err := w.PlaceHold(t.Context(), operator, registry.HoldRequest{Name: "h", Repository: "a", Reference: ref, Reason: "x", Until: w.clock.Now().Add(time.Hour)})
		must(t, err)
	}
	w.pass(t, 2*time.Hour)
	remove(t, r, m)
	w.pass(t, 8*day)
	w.sweep(t)
	primary := identity.FromBytes(identity.BLAKE3, []byte(m))
	w.holds(t, "a", "h on a:v1: x, ended", "h on a@"+primary.String()+": x, ended")
	must(t, w.ReleaseHold(t.Context(), operator, "h", "a", tagged("v1"), "tidy"))
	must(t, w.ReleaseHold(t.Context(), operator, "h", "a", registry.Reference{Digest: primary}, "tidy"))
	w.holds(t, "a")
}

// TestAHoldIsFoundBehindAnyNumberOfReferences: an older index lists the child so often
// that the index under the hold is not among the first references to it.
func TestAHoldIsFoundBehindAnyNumberOfReferences(t *testing.T) {
	for _, n := range []int{900, 10_000} {
		w := open(t, registry.Options{})
		r := w.repo(t, "a")
		child := put(t, r, "", small, "")
		index(t, r, "often", slices.Repeat([]string{child}, n)...)
		other := put(t, r, "", "other", "")
		held := index(t, r, "held", child, other)
		_, err := w.PlaceHold(t.Context(), operator, registry.HoldRequest{Name: "audit", Repository: "a",
			Reference: registry.Reference{Digest: digest(held)}, Reason: "an audit"})
		must(t, err)
		for _, m := range []string{child, other, held} {
			refused(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(m)}), registry.Denied)
		}
	}
}
