package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

func blake(content string) identity.Digest {
	return identity.FromBytes(identity.BLAKE3, []byte(content))
}

// why gives the chains as lines of kinds and texts, with digests by the names of
// their contents.
func why(t *testing.T, w *world, d identity.Digest, names map[string]string) string {
	t.Helper()
	chains, err := w.Why(context.Background(), d)
	must(t, err)
	var lines []string
	for _, c := range chains {
		var line []string
		for _, r := range c.Reasons {
			if r.Repository != c.Repository || r.Text == "" {
				t.Errorf("reason %+v in a chain of %q", r, c.Repository)
			}
			line = append(line, string(r.Kind)+": "+r.Text)
		}
		lines = append(lines, strings.Join(line, " <- "))
	}
	text := strings.Join(lines, "\n")
	for content, name := range names {
		text = strings.ReplaceAll(text, digest(content).String(), name)
	}
	return text
}

// indexOf is an index of manifests.
func indexOf(t *testing.T, r *registry.Repository, tag string, manifests ...string) string {
	t.Helper()
	var list []string
	for _, m := range manifests {
		list = append(list, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}`, digest(m), len(m)))
	}
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(list, ",") + "]}"
	p := image(tagged(tag), index)
	p.MediaType = "application/vnd.oci.image.index.v1+json"
	_, err := r.PutManifest(context.Background(), p)
	must(t, err)
	return index
}

func TestWhyTellsWhatKeepsAnObject(t *testing.T) {
	w := open(t, registry.Options{})
	a, b := w.repo(t, "a"), w.repo(t, "b")
	child := put(t, a, "", large, "")
	index := indexOf(t, a, "v1.2", child)
	referrer := put(t, a, "", small, index)
	names := map[string]string{child: "CHILD", index: "INDEX", referrer: "REFERRER"}
	const forever = "rule: kept: class permanent-record never expires"
	check := func(what string, d identity.Digest, want ...string) {
		t.Helper()
		if got := why(t, w, d, names); got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
		}
	}
	chain := "blob: blob of repository a <- layer: config of manifest CHILD <- child: child of index INDEX <- tag: tag v1.2 <- " + forever
	check("a config", digest(large), chain)
	check("a child", digest(child), "manifest: manifest of repository a <- child: child of index INDEX <- tag: tag v1.2 <- "+forever)
	check("a referrer", digest(referrer), "manifest: manifest of repository a <- referrer: referrer of manifest INDEX <- tag: tag v1.2 <- "+forever)

	push(t, b, large)
	linked := w.clock.now.Add(time.Hour).UTC().Format("2006-01-02 15:04:05 UTC")
	check("a blob without use", digest(large), chain, "blob: blob of repository b <- unused: no manifest uses it: the next sweep after "+linked+" condemns it")
	w.events(t, hold("audit", fact.Target{Repository: "b"}, time.Time{}), hold("case-7", fact.Target{Repository: "a", Manifest: blake(index)}, time.Time{}))
	check("what holds freeze", digest(large), strings.Replace(chain, forever, "hold: hold case-7 on a@"+blake(index).String()+" <- rule: kept: hold case-7", 1),
		"blob: blob of repository b <- unused: no manifest uses it: the next sweep after "+linked+" condemns it <- hold: hold audit on b")
	w.events(t, &fact.HoldReleased{Name: "audit", Target: fact.Target{Repository: "b"}}, &fact.HoldReleased{Name: "case-7", Target: fact.Target{Repository: "a", Manifest: blake(index)}})
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	chains, err := w.Why(context.Background(), digest(large))
	must(t, err)
	if r := chains[1].Reasons[1]; r.Kind != registry.ReasonUnused || r.Until.Sub(w.clock.now) < day-time.Minute || !strings.Contains(r.Text, "condemned, and taken away after") {
		t.Errorf("a condemned blob: %+v", r)
	}

	remove(t, a, referrer)
	remove(t, a, index)
	remove(t, a, child)
	chains, err = w.Why(context.Background(), digest(child))
	must(t, err)
	if r := chains[0].Reasons; len(chains) != 1 || len(r) != 2 || r[1].Kind != registry.ReasonDeleted || r[1].Until.Sub(w.clock.now) < 7*day-time.Minute {
		t.Errorf("a deleted manifest: %+v", chains)
	}
	chains, err = w.Why(context.Background(), digest(large))
	must(t, err)
	if r := chains[0].Reasons; len(r) != 3 || r[1].Kind != registry.ReasonLayer || r[2].Kind != registry.ReasonDeleted {
		t.Errorf("the config of a deleted manifest: %+v", r)
	}
}

func TestWhyTellsOfNativeFormsAndOfWhatIsGone(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	m := put(t, a, "v1", small, "")
	push(t, a, large)
	var native identity.Digest
	must(t, w.ledger.Read(ctx, func(v registry.View) error {
		found, _, err := v.Manifest("a", digest(m))
		native = found.Native
		return err
	}))
	names := map[string]string{m: "M"}
	want := "native: native form of manifest M of repository a <- tag: tag v1 <- rule: kept: class permanent-record never expires"
	if got := why(t, w, native, names); got != want {
		t.Errorf("a native form: %s", got)
	}
	remove(t, a, m)
	if got := why(t, w, native, names); !strings.HasPrefix(got, "native: native form of deleted manifest M of repository a <- deleted: ") {
		t.Errorf("a native form of a deleted manifest: %s", got)
	}
	must(t, a.DeleteBlob(ctx, digest(large)))
	if got := why(t, w, digest(large), nil); got != "nothing: nothing: the next sweep condemns it" {
		t.Errorf("what nothing keeps: %s", got)
	}
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	if got := why(t, w, digest(large), nil); !strings.HasPrefix(got, "nothing: nothing: condemned, and forgotten after ") {
		t.Errorf("what is condemned: %s", got)
	}
	w.pass(t, 8*day)
	w.sweep(t)
	if got := why(t, w, blake(large), nil); !strings.HasPrefix(got, "nothing: nothing: forgotten at event ") {
		t.Errorf("what is forgotten: %s", got)
	}
	_, err := w.Why(ctx, digest("never seen"))
	refused(t, err, registry.BlobUnknown)
}

func TestWhyGivesTenChainsAtMost(t *testing.T) {
	w := open(t, registry.Options{})
	for i := range 15 {
		push(t, w.repo(t, fmt.Sprint("r", i)), small)
	}
	if got := strings.Count(why(t, w, digest(small), nil), "\n"); got != 9 {
		t.Errorf("%d chains", got+1)
	}
	w.events(t, &fact.RepositoryDeleted{Repository: "r0", Name: "r0#1"})
	if got := why(t, w, digest(small), nil); !strings.Contains(got, "the repository is deleted as r0#1, can be put back until") {
		t.Errorf("a blob of a deleted repository: %s", got)
	}
}
