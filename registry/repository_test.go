package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/retention"
)

func TestARepositoryIsDeletedAndPutBack(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r, other := w.repo(t, "a/b"), w.repo(t, "other")
	m := put(t, r, "v1", large, "")
	deleted, err := w.DeleteRepository(ctx, operator, "a/b", "tidy")
	must(t, err)
	if deleted.Sequence != w.last(t, fact.KindRepositoryDeleted) || deleted.DeletedName != fmt.Sprintf("a/b#%d", deleted.Sequence) || deleted.ID != int64(w.last(t, fact.KindRepositoryCreated)) {
		t.Errorf("%+v", deleted)
	}
	for _, err := range []error{
		func() error { _, err := r.Manifest(ctx, tagged("v1")); return err }(),
		func() error { _, err := r.Blob(ctx, digest(large)); return err }(),
		func() error { _, err := r.Tags(ctx, "", 10); return err }(),
		func() error { _, err := r.Info(ctx); return err }(),
		func() error { _, err := w.DeleteRepository(ctx, operator, "a/b", "tidy"); return err }(),
		r.DeleteManifest(ctx, tagged("v1")), r.DeleteBlob(ctx, digest(large)),
	} {
		refused(t, err, registry.NameUnknown)
	}
	_, err = w.Repository(deleted.DeletedName, caller)
	refused(t, err, registry.NameInvalid)
	if page, err := w.Catalog(ctx, "", 10); err != nil || len(page.Names) != 0 {
		t.Errorf("catalog %v, %v", page, err)
	}
	for _, from := range []string{"a/b", "", deleted.DeletedName} {
		if mounted, err := other.MountBlob(ctx, digest(large), from); mounted || err != nil {
			t.Errorf("mounted from %q: %v, %v", from, mounted, err)
		}
	}
	list, more, err := w.DeletedRepositories(ctx, 0, 1)
	must(t, err)
	if len(list) != 1 || more || list[0] != deleted {
		t.Errorf("listed %+v, want %+v", list, deleted)
	}
	w.pass(t, 6*day)
	w.sweep(t)

	newer := put(t, r, "v1", "newer", "")
	w.conflicts(t, deleted.Sequence, "a repository of the name a/b was made since, by event")
	second, err := w.DeleteRepository(ctx, operator, "a/b", "tidy")
	must(t, err)
	result, err := w.Undo(ctx, operator, deleted.Sequence, "by mistake")
	must(t, err)
	if result.Repository != "a/b" {
		t.Errorf("%+v", result)
	}
	served(t, r, m)
	names(t, r, map[string]string{"v1": m})
	absent(t, r, newer)
	if read(t, r, digest(large)) != large {
		t.Error("wrong bytes")
	}
	w.conflicts(t, deleted.Sequence, "repository a/b was restored by event")
	w.pass(t, 8*day)
	w.sweep(t)
	w.conflicts(t, second.Sequence, "repository a/b was forgotten by event")
	served(t, r, m)
}

// TestARepositoryIsNotPutBackInPieces: from the first step on with which a sweep takes
// a deleted repository away it cannot be put back, wherever the sweep was stopped.
func TestARepositoryIsNotPutBackInPieces(t *testing.T) {
	for stop := range 12 {
		w := open(t, registry.Options{})
		r := w.repo(t, "a")
		for _, tag := range []string{"v1", "v2", "v3"} {
			put(t, r, tag, "layer of "+tag, "")
		}
		deleted, err := w.DeleteRepository(t.Context(), operator, "a", "tidy")
		must(t, err)
		w.pass(t, 7*day-time.Minute)
		w.sweep(t)
		w.pass(t, time.Minute) // nothing is taken away before a sweep
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		_, err = w.Sweep(ctx, registry.SweepOptions{Batch: 1, Progress: func(p registry.SweepProgress) {
			if p.Phase != registry.SweepRepositories {
				return
			}
			if steps++; steps > stop {
				cancel()
			}
		}})
		if ctx.Err() == nil {
			must(t, err)
		}
		cancel()
		taken := w.kinds(t, uint64(deleted.Sequence))
		switch {
		case taken[fact.KindTagDeleted] == 0:
			_, err := w.Undo(t.Context(), operator, deleted.Sequence, "by mistake")
			must(t, err)
			names(t, r, map[string]string{"v1": body("layer of v1", 0, ""), "v2": body("layer of v2", 0, ""), "v3": body("layer of v3", 0, "")})
			continue
		case taken[fact.KindRepositoryForgotten] == 0:
			w.conflicts(t, deleted.Sequence, "a sweep has begun to take it away")
		}
		w.sweep(t)
		w.conflicts(t, deleted.Sequence, "repository a was forgotten by event")
	}
}

// TestTheDeletionIsFoundBehindAJumpOfTheClock: the name has the number before.
func TestTheDeletionIsFoundBehindAJumpOfTheClock(t *testing.T) {
	w := open(t, registry.Options{})
	put(t, w.repo(t, "a"), "v1", small, "")
	w.clock.advance(3 * day)
	deleted, err := w.DeleteRepository(t.Context(), operator, "a", "tidy")
	must(t, err)
	if want := w.last(t, fact.KindRepositoryDeleted); deleted.Sequence != want || w.last(t, fact.KindClockJumped) != want-1 {
		t.Errorf("%+v, want %d", deleted, want)
	}
	w.undo(t, fact.KindRepositoryDeleted)
}

func TestARepositoryIsNotDeletedAgainstARule(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", small, "")
	deny := func(want string) {
		t.Helper()
		_, err := w.DeleteRepository(t.Context(), operator, "a", "tidy")
		if e := refused(t, err, registry.Denied); !strings.Contains(e.Message, want) {
			t.Errorf("%q does not say %q", e.Message, want)
		}
	}
	for _, ref := range []registry.Reference{{}, tagged("v1"), {Digest: digest(m)}} {
		_, err := w.PlaceHold(t.Context(), operator, registry.HoldRequest{Name: "h", Repository: "a", Reference: ref, Reason: "case 7",
			Until: w.clock.Now().Add(time.Hour)})
		must(t, err)
		deny("is under hold h")
		w.pass(t, 2*time.Hour) // it ends, and is not released
	}
	policy := retention.Policy{Name: "p", Repositories: []string{"a"}, WriteOnce: true}
	w.ruled(t, policy)
	deny("policy p makes the repository write-once")
	policy.WriteOnce, policy.ImmutableTags = false, []retention.Immutable{{Tags: []string{"v*"}}}
	w.ruled(t, policy)
	deny("tag v1 cannot be deleted")
	policy.ImmutableTags, policy.Class = nil, retention.PermanentRecord
	w.ruled(t, policy)
	put(t, r, "v2", "permanent", "")
	deny("manifest " + digest(body("permanent", 0, "")).String())
	w.ruled(t)
	deny("was made a permanent record")
	for name, code := range map[string]registry.Code{"A": registry.NameInvalid, "b": registry.NameUnknown, "a#1": registry.NameInvalid} {
		_, err := w.DeleteRepository(t.Context(), operator, name, "tidy")
		refused(t, err, code)
	}
	_, err := w.DeleteRepository(t.Context(), operator, "a", "")
	refused(t, err, registry.ReasonInvalid)
}

// TestPoliciesThatAreSetWhileARepositoryIsDeletedCount: its tags were looked at by
// those before.
func TestPoliciesThatAreSetWhileARepositoryIsDeletedCount(t *testing.T) {
	w := open(t, registry.Options{})
	put(t, w.repo(t, "a"), "v1", small, "")
	repo, ledger := w.lateNode(t)
	ledger.before = func() {
		w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"p","repositories":["**"],"immutable_tags":[{"tags":["v*"]}]}]}`)
	}
	for _, code := range []registry.Code{registry.Unavailable, registry.Denied} {
		_, err := repo.DeleteRepository(t.Context(), operator, "a", "no longer needed")
		refused(t, err, code)
	}
}
