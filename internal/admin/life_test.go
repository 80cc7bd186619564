package admin_test

import (
	"slices"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// commit writes events as an operator, each with a reason.
func (s *server) commit(facts ...fact.Fact) {
	s.t.Helper()
	must(s.t, s.ledger.Update(s.t.Context(), registry.System, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		c := new(registry.Change)
		for _, f := range facts {
			c.Entries = append(c.Entries, registry.Entry{Fact: f, Reason: "as an example"})
		}
		return c, nil
	}))
}

// primary is the digest that events call bytes by.
func primary(data []byte) identity.Digest { return identity.FromBytes(identity.BLAKE3, data) }

// everyKind makes an event of each kind about life and death, with all that it
// can have.
func (s *server) everyKind() {
	s.t.Helper()
	const repository = "life/events"
	now := time.Now().UnixMicro()
	later := now + time.Hour.Microseconds()
	one, two := s.pushImage(repository, "one", 101), s.pushImage(repository, "two", 102)
	lost := content(103, 3*inlineLimit)
	s.pushBlob(repository, lost)
	where := s.find(lost).Receipt
	m, n, b := primary(one), primary(two), primary(lost)

	s.commit(
		&fact.DefaultApplied{Repository: repository, Manifest: m, Class: "transient", Expires: later, Rule: "policy ci", Chosen: true},
		&fact.Extended{Repository: repository, Manifest: m, From: later, To: later + 1},
		&fact.ClassChanged{Repository: repository, Manifest: m, From: "transient", To: "raw-evidence", Expires: later},
		&fact.Expired{Repository: repository, Manifest: m, Why: "expired 1 h ago: class raw-evidence"},
		&fact.Renewed{Repository: repository, Manifest: m, Class: "raw-evidence", Expires: later},
		&fact.ManifestPulled{Repository: repository, Day: now - now%(24*time.Hour.Microseconds()), Manifests: []identity.Digest{m, n}},
		&fact.PoliciesSet{Source: fact.SourceConfiguration, Document: fact.Text(`{}`)},
	)
	hold := func(name string, target fact.Target) {
		s.commit(&fact.HoldPlaced{Name: name, Target: target, Until: later}, &fact.HoldReleased{Name: name, Target: target})
	}
	hold("audit", fact.Target{Repository: repository, Tag: "one"})
	hold("audit", fact.Target{Repository: repository, Manifest: m})

	s.commit(&fact.TagDeleted{Repository: repository, Tag: "two", Manifest: n}, &fact.ManifestDeleted{Repository: repository, Manifest: n})
	s.commit(&fact.ManifestRestored{Repository: repository, Manifest: n})
	s.commit(&fact.ManifestDeleted{Repository: repository, Manifest: n})
	s.commit(&fact.ManifestForgotten{Repository: repository, Manifest: n, Cause: fact.CauseDeleted})

	s.commit(&fact.LocationVerified{Store: where.Store, Blobs: []identity.Digest{b}}, &fact.LocationDamaged{Blob: b, Receipt: where},
		&fact.BlobCondemned{Repository: repository, Blob: b, Due: later}, &fact.BlobRevived{Repository: repository, Blob: b})
	s.commit(&fact.BlobCondemned{Repository: repository, Blob: b, Due: now}, &fact.BlobReleased{Repository: repository, Blob: b})
	s.commit(&fact.BlobCondemned{Blob: b, Due: now}, &fact.BlobForgotten{Blob: b, Size: int64(len(lost)), Receipt: where})
	s.commit(&fact.BlobErased{Blob: b, Receipt: where, By: uint64(s.erasure(b).By)})

	s.commit(created("life/deleted"))
	s.commit(&fact.RepositoryDeleted{Repository: "life/deleted", Name: "life/deleted#1"})
	s.commit(&fact.RepositoryRestored{Repository: "life/deleted", Name: "life/deleted#1"})
	s.commit(&fact.RepositoryDeleted{Repository: "life/deleted", Name: "life/deleted#2"})
	s.commit(&fact.RepositoryForgotten{Name: "life/deleted#2"})

	s.commit(&fact.ClockJumped{From: now, To: later}, &fact.ClockConfirmed{At: later})
	s.everyKindOccurred()
}

// everyKindOccurred fails if the log lacks a kind.
func (s *server) everyKindOccurred() {
	s.t.Helper()
	page, err := s.ledger.Events().Read(s.t.Context(), 0, 10_000)
	must(s.t, err)
	var seen []string
	for _, e := range page {
		seen = append(seen, string(e.Kind))
	}
	for _, kind := range fact.Kinds() {
		if !slices.Contains(seen, kind) {
			s.t.Errorf("no event %s", kind)
		}
	}
}

// find is the stored byte sequence of some bytes.
func (s *server) find(data []byte) (found registry.Blob) {
	s.t.Helper()
	s.read(func(v registry.View) error {
		b, err := v.Blob(primary(data))
		if err == nil {
			found = *b
		}
		return err
	})
	return found
}

// erasure is the object that is to be deleted of some bytes.
func (s *server) erasure(d identity.Digest) (found registry.Erasure) {
	s.t.Helper()
	s.read(func(v registry.View) error {
		all, err := v.ErasuresOf(d)
		if err == nil {
			found = all[0]
		}
		return err
	})
	return found
}

func (s *server) read(query func(registry.View) error) {
	s.t.Helper()
	must(s.t, s.ledger.Read(s.t.Context(), query))
}
