package metastore_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// inFiles is a change that stores blobs at locators of their names.
func inFiles(names ...string) *registry.Change {
	c := new(registry.Change)
	for _, name := range names {
		c.Add(&fact.BlobStored{Digests: identity.Of([]byte(name)), Size: int64(len(name)), Receipt: at(name)})
	}
	return c
}

func at(name string) fact.Receipt { return fact.Receipt{Store: "files", Locator: "aa/" + name} }

func TestLocatorsAreNamedByBlobsAndErasures(t *testing.T) {
	s := checked(t)
	populated(t, s)
	var names, locators []string
	for i := range 250 { // more than one statement asks for
		names = append(names, fmt.Sprintf("blob%03d", i))
		locators = append(locators, "aa/"+names[i], "aa/none"+names[i])
	}
	s.update(t, inFiles(names...))
	s.update(t, facts(&fact.BlobMoved{Blob: primary("blob007"), From: at("blob007"), To: at("moved")},
		&fact.BlobForgotten{Blob: primary("blob008"), Size: 7, Receipt: at("blob008")},
		&fact.BlobForgotten{Blob: primary("blob009"), Size: 7, Receipt: at("blob009")}))
	var by eventlog.Sequence
	s.read(t, func(v registry.View) error {
		all, err := v.ErasuresAfter(0, 10)
		if len(all) != 3 || err != nil {
			t.Fatalf("%d erasures, %v", len(all), err)
		}
		by = all[2].By
		rest, err := v.ErasuresAfter(all[0].By, 1)
		if len(rest) != 1 || rest[0] != all[1] {
			t.Errorf("after the first: %+v", rest)
		}
		return err
	})
	s.update(t, facts(&fact.BlobErased{Blob: primary("blob009"), Receipt: at("blob009"), By: uint64(by)}))
	want := map[string]bool{"aa/moved": true}
	for _, name := range names {
		want["aa/"+name] = true
	}
	delete(want, "aa/blob009")
	s.read(t, func(v registry.View) error {
		got, err := v.Named("files", append(locators, "aa/moved", ""))
		must(t, err)
		if !maps.Equal(got, want) {
			t.Errorf("%d are named, want %d", len(got), len(want))
		}
		for _, store := range []string{"other", fact.Content} {
			if got, err := v.Named(store, append(locators, "")); err != nil || len(got) != 0 {
				t.Errorf("in store %s: %d are named, %v", store, len(got), err)
			}
		}
		got, err = v.Named("files", nil)
		if len(got) != 0 {
			t.Errorf("of none %d are named", len(got))
		}
		return err
	})
}

func TestContentRowsThatNothingNeedsAreKnown(t *testing.T) {
	s := checked(t)
	populated(t, s)
	aged(t, s)
	layer, row := primary("layer"), eventlog.Sequence(0)
	s.read(t, func(v registry.View) error {
		b, err := v.Blob(layer)
		row = b.Content
		return err
	})
	content := fact.Receipt{Store: fact.Content}
	s.update(t, &registry.Change{Entries: []registry.Entry{
		{Fact: &fact.BlobMoved{Blob: layer, From: content, To: content}, Content: []byte("layer")},
	}})
	var spare []eventlog.Sequence
	s.read(t, func(v registry.View) error {
		all, err := v.ContentRows(0, 1000)
		must(t, err)
		var paged []registry.ContentRow
		for after := eventlog.Sequence(0); ; {
			page, err := v.ContentRows(after, 3)
			must(t, err)
			paged = append(paged, page...)
			if len(page) < 3 {
				break
			}
			after = page[2].Sequence
		}
		if !slices.Equal(all, paged) || len(all) < 10 {
			t.Errorf("%d rows at once, %d in pages", len(all), len(paged))
		}
		for _, row := range all {
			if !row.Needed {
				spare = append(spare, row.Sequence)
			}
			if one, err := v.ContentRow(row.Sequence); err != nil || one == nil || *one != row {
				t.Errorf("row %d alone: %+v, %v", row.Sequence, one, err)
			}
		}
		if none, err := v.ContentRow(1); err != nil || none != nil {
			t.Errorf("row of an event without one: %+v, %v", none, err)
		}
		return nil
	})
	// The one that was moved away from, and the descriptor of what is forgotten.
	if len(spare) != 2 || spare[0] != row {
		t.Errorf("spare are %v, want %d and another one", spare, row)
	}
	s.update(t, &registry.Change{Forget: spare, Durable: true})
	s.check(t)
}

func TestDescriptorsAreOfManifestsWithASubject(t *testing.T) {
	s := checked(t)
	populated(t, s)
	aged(t, s)
	s.update(t, image("demo", "buried too", "image", "", []string{"layer"}))
	s.update(t, facts(&fact.ManifestDeleted{Repository: "demo", Manifest: primary("buried too")}))
	for deleted, want := range map[bool][]string{false: {"signature", "old"}, true: {"buried too"}} {
		var got []string
		s.read(t, func(v registry.View) error {
			for after := eventlog.Sequence(0); ; {
				page, next, err := v.Descriptors(deleted, after, 1)
				must(t, err)
				for _, item := range page {
					text, err := v.Descriptor(item.Sequence)
					must(t, err)
					for _, name := range want {
						if string(text) == fmt.Sprintf(`{"digest":%q}`, digest(identity.SHA256, name)) && item.Blob.Digests.Primary() == primary(name) && item.Repository == "demo" {
							got = append(got, name)
						}
					}
				}
				if after = next; next == 0 {
					return nil
				}
			}
		})
		if !slices.Equal(got, want) {
			t.Errorf("deleted %v: descriptors of %v, want %v", deleted, got, want)
		}
	}
	s.read(t, func(v registry.View) error {
		if text, err := v.Descriptor(1); err != nil || text != nil {
			t.Errorf("descriptor of an event that has none: %q, %v", text, err)
		}
		return nil
	})
}

func TestContentRowsAreWrittenAgain(t *testing.T) {
	s := checked(t)
	populated(t, s)
	var b *registry.Blob
	s.read(t, func(v registry.View) (err error) { b, err = v.Blob(primary("layer")); return err })
	before, err := s.Events().Head(t.Context())
	must(t, err)
	for _, data := range []string{"other", "", "layer"} {
		if data == "" {
			s.update(t, &registry.Change{Forget: []eventlog.Sequence{b.Content}, Durable: true})
			continue
		}
		s.update(t, &registry.Change{Working: registry.Working{Contents: map[eventlog.Sequence][]byte{b.Content: []byte(data)}}, Durable: true})
		if got, err := s.Object(t.Context(), b.Content); err != nil || string(got) != data {
			t.Errorf("the row is %q, %v", got, err)
		}
	}
	if after, err := s.Events().Head(t.Context()); err != nil || after != before {
		t.Errorf("the head is %+v, %v", after, err)
	}
}

// TestDamageBelowAManifestIsFound: a layer of an image of an index.
func TestDamageBelowAManifestIsFound(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	for _, name := range []string{"one", "two", "three"} {
		s.update(t, layer("demo", name))
	}
	s.update(t, image("demo", "left", "", "", []string{"one", "two"}))
	s.update(t, image("demo", "right", "", "", []string{"one", "three"}))
	s.update(t, image("demo", "index", "", "", []string{"left", "right", "left"}))
	below := func(name string) (found identity.Digest) {
		s.read(t, func(v registry.View) error {
			m, _, err := v.Manifest("demo", primary(name))
			must(t, err)
			found, err = v.DamagedBelow(m.Sequence)
			return err
		})
		return found
	}
	expect := func(when string, names ...string) {
		t.Helper()
		for _, name := range []string{"left", "right", "index"} {
			want := identity.Digest{}
			if slices.Contains(names, name) {
				want = digest(identity.SHA256, "three")
			}
			if got := below(name); got != want {
				t.Errorf("%s: below %s is %v, want %v", when, name, got, want)
			}
		}
	}
	content := fact.Receipt{Store: fact.Content}
	expect("at first")
	s.update(t, facts(&fact.LocationDamaged{Blob: primary("three"), Receipt: content}))
	expect("with a damaged layer", "right", "index")
	s.update(t, facts(&fact.LocationVerified{Store: fact.Content, Blobs: []identity.Digest{primary("three")}}))
	expect("once it is right again")
	s.update(t, facts(&fact.LocationDamaged{Blob: primary("three"), Receipt: content}))
	s.update(t, &registry.Change{Entries: []registry.Entry{{Fact: &fact.BlobMoved{Blob: primary("three"), From: content, To: content}, Content: []byte("three")}}})
	expect("once it was pushed again")
}
