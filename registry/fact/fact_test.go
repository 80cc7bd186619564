package fact_test

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/canon"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var update = flag.Bool("update", false, "write the golden files of kinds that have none")

var (
	content = identity.Of([]byte("content"), identity.SHA512)
	primary = content.Primary()
	other   = identity.FromBytes(identity.BLAKE3, []byte("other"))
)

func sha256(s string) identity.Digest { return identity.FromBytes(identity.SHA256, []byte(s)) }

// examples has one payload of every kind, with all of its members, under the
// name of its golden file.
var examples = map[string]fact.Fact{
	"repository.created": &fact.RepositoryCreated{Repository: "team/app"},
	"blob.stored": &fact.BlobStored{Digests: content, Size: 7,
		Receipt: fact.Receipt{Store: "files", Locator: "ab/cd/abcd-1"}},
	"blob.stored.inline": &fact.BlobStored{Digests: content, Size: 7, Receipt: fact.Receipt{Store: fact.Content}},
	"blob.identified":    &fact.BlobIdentified{Blob: primary, Digest: identity.FromBytes(identity.SHA512, []byte("content"))},
	"blob.moved": &fact.BlobMoved{Blob: primary, From: fact.Receipt{Store: "files", Locator: "ab/cd/abcd-1"},
		To: fact.Receipt{Store: fact.Content}},
	"blob.linked":         &fact.BlobLinked{Repository: "team/app", Blob: primary},
	"blob.linked.mounted": &fact.BlobLinked{Repository: "team/app", Blob: primary, Source: "team/base"},
	"blob.unlinked":       &fact.BlobUnlinked{Repository: "team/app", Blob: primary},
	"manifest.put": &fact.ManifestPut{Repository: "team/app", Manifest: primary, Native: other, Digest: sha256("content"),
		MediaType: "application/vnd.oci.image.manifest.v1+json", ArtifactType: "application/example", Size: 7,
		SubjectDigest: sha256("subject"), Class: "permanent-record",
		References: []fact.Reference{
			{Role: "config", MediaType: "application/config", Digest: sha256("config"), Target: other, Size: 6},
			{Role: "layer", MediaType: "application/layer", Digest: sha256("absent"), Size: 5},
		}},
	"manifest.put.bare": &fact.ManifestPut{Repository: "team/app", Manifest: primary, Native: other, Digest: primary,
		MediaType: "application/vnd.oci.image.index.v1+json", Size: 7, References: []fact.Reference{},
		Class: "transient", Expires: 1_700_000_000_000_000},
	"manifest.deleted": &fact.ManifestDeleted{Repository: "team/app", Manifest: primary},
	"tag.moved":        &fact.TagMoved{Repository: "team/app", Tag: "v1", From: other, To: primary, Digest: sha256("content")},
	"tag.moved.new":    &fact.TagMoved{Repository: "team/app", Tag: "v1", To: primary, Digest: sha256("content")},
	"tag.deleted":      &fact.TagDeleted{Repository: "team/app", Tag: "v1", Manifest: primary},
	"log.epoch_started": &fact.EpochStarted{Log: "000102030405060708090a0b0c0d0e0f", Sequence: 7,
		Chain: strings.Repeat("0123456789abcdef", 4)},
	"repository.deleted":        &fact.RepositoryDeleted{Repository: "team/app", Name: "team/app#7"},
	"repository.restored":       &fact.RepositoryRestored{Repository: "team/app", Name: "team/app#7"},
	"repository.forgotten":      &fact.RepositoryForgotten{Name: "team/app#7"},
	"manifest.restored":         &fact.ManifestRestored{Repository: "team/app", Manifest: primary},
	"manifest.forgotten":        &fact.ManifestForgotten{Repository: "team/app", Manifest: primary, Cause: fact.CauseExpired},
	"manifest.pulled":           &fact.ManifestPulled{Repository: "team/app", Day: 1_700_006_400_000_000, Manifests: []identity.Digest{primary, other}},
	"blob.condemned":            &fact.BlobCondemned{Repository: "team/app", Blob: primary, Due: 1_700_000_000_000_000},
	"blob.condemned.nowhere":    &fact.BlobCondemned{Blob: primary, Due: 1_700_000_000_000_000},
	"blob.revived":              &fact.BlobRevived{Repository: "team/app", Blob: primary},
	"blob.released":             &fact.BlobReleased{Repository: "team/app", Blob: primary},
	"blob.forgotten":            &fact.BlobForgotten{Blob: primary, Size: 7, Receipt: fact.Receipt{Store: "files", Locator: "ab/cd/abcd-1"}},
	"blob.erased":               &fact.BlobErased{Blob: primary, Receipt: fact.Receipt{Store: "files", Locator: "ab/cd/abcd-1"}, By: 7},
	"retention.default_applied": &fact.DefaultApplied{Repository: "team/app", Manifest: primary, Class: "permanent-record"},
	"retention.default_applied.chosen": &fact.DefaultApplied{Repository: "team/app", Manifest: primary, Class: "transient",
		Expires: 1_700_000_000_000_000, Rule: "policy ci", Chosen: true},
	"retention.extended": &fact.Extended{Repository: "team/app", Manifest: primary, From: 1_700_000_000_000_000, To: 1_800_000_000_000_000},
	"retention.class_changed": &fact.ClassChanged{Repository: "team/app", Manifest: primary, From: "transient", To: "release-evidence",
		Expires: 1_900_000_000_000_000},
	"retention.expired":      &fact.Expired{Repository: "team/app", Manifest: primary, Why: "expired 0 s ago: class transient"},
	"retention.renewed":      &fact.Renewed{Repository: "team/app", Manifest: primary, Class: "transient", Expires: 1_800_000_000_000_000},
	"retention.policies_set": &fact.PoliciesSet{Source: fact.SourceAdmin, Document: []byte("{}")},
	"hold.placed": &fact.HoldPlaced{Name: "audit-2026", Until: 1_800_000_000_000_000,
		Target: fact.Target{Repository: "team/app", Manifest: primary}},
	"hold.placed.tag":           &fact.HoldPlaced{Name: "audit-2026", Target: fact.Target{Repository: "team/app", Tag: "v1"}},
	"hold.released":             &fact.HoldReleased{Name: "audit-2026", Target: fact.Target{Repository: "team/app"}},
	"clock.jumped":              &fact.ClockJumped{From: 1_700_000_000_000_000, To: 1_800_000_000_000_000},
	"clock.confirmed":           &fact.ClockConfirmed{At: 1_800_000_000_000_000},
	"storage.location_verified": &fact.LocationVerified{Store: "files", Blobs: []identity.Digest{primary, other}},
	"storage.location_damaged":  &fact.LocationDamaged{Blob: primary, Receipt: fact.Receipt{Store: "files", Locator: "ab/cd/abcd-1"}},
}

// TestPayloadsNeverChange: what is in a log is read for ever, so the bytes of
// every kind are fixed from its first release on.
func TestPayloadsNeverChange(t *testing.T) {
	for name, f := range examples {
		t.Run(name, func(t *testing.T) {
			encoded, err := canon.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			if want := golden(t, name, encoded); hex.EncodeToString(encoded) != want {
				t.Errorf("encoded as\n%x\nwant\n%s", encoded, want)
			}
			back := fact.New(f.Kind())
			if err := canon.Unmarshal(encoded, back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, f) {
				t.Errorf("decoded as %+v, want %+v", back, f)
			}
		})
	}
}

// golden reads a golden file, and makes it if it is asked to and there is none.
func golden(t *testing.T, name string, encoded []byte) string {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		text = []byte(hex.EncodeToString(encoded) + "\n")
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestEveryKindIsVersionedAndHasASubject(t *testing.T) {
	kinds := map[string]bool{}
	for name, f := range examples {
		kinds[f.Kind()] = true
		if !strings.HasPrefix(f.Kind(), "v1.") || !strings.HasPrefix(name, strings.TrimPrefix(f.Kind(), "v1.")) {
			t.Errorf("%s has the kind %s", name, f.Kind())
		}
		if f.Subject() == "" {
			t.Errorf("%s has no subject", name)
		}
	}
	if len(fact.Kinds()) != len(kinds) {
		t.Errorf("Kinds has %d kinds, and there are examples of %d", len(fact.Kinds()), len(kinds))
	}
	for _, kind := range fact.Kinds() {
		if !kinds[kind] || fact.New(kind) == nil {
			t.Errorf("%s has no example, or no payload", kind)
		}
	}
	if fact.New("v9.unknown") != nil {
		t.Error("an unknown kind has a payload")
	}
}

// TestFormatsOfKinds: a kind that was released is of the format of that release
// for ever.
func TestFormatsOfKinds(t *testing.T) {
	first := []string{"v1.repository.created", "v1.blob.stored", "v1.blob.identified", "v1.blob.moved", "v1.blob.linked",
		"v1.blob.unlinked", "v1.manifest.put", "v1.manifest.deleted", "v1.tag.moved", "v1.tag.deleted"}
	newest := 0
	for _, kind := range fact.Kinds() {
		want := 3
		switch {
		case kind == fact.KindEpochStarted:
			want = 2
		case slices.Contains(first, kind):
			want = 1
		}
		if got := fact.Format(kind); got != want {
			t.Errorf("%s is of format %d, want %d", kind, got, want)
		}
		newest = max(newest, fact.Format(kind))
	}
	if newest != fact.NewestFormat {
		t.Errorf("the newest format of a kind is %d, that of this version %d", newest, fact.NewestFormat)
	}
	if got := fact.Format("v9.unknown"); got <= fact.NewestFormat {
		t.Errorf("a kind that is not known is of format %d", got)
	}
}
