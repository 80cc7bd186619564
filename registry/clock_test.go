package registry_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/retention"
)

func TestHeartbeatsAreFew(t *testing.T) {
	w := open(t, registry.Options{})
	must(t, w.Heartbeat(t.Context())) // an empty log has nothing to watch over
	put(t, w.repo(t, "a"), "v1", small, "")
	before := head(t, w)
	for range 3 * 24 * 6 { // every ten minutes for three days
		w.clock.advance(10 * time.Minute)
		must(t, w.Heartbeat(t.Context()))
		s, err := w.ClockStatus(t.Context())
		must(t, err)
		if s.Jumped || !s.Trusted.Equal(s.Now) || s.Now.Sub(s.Watched) > 61*time.Minute {
			t.Fatalf("%+v", s)
		}
	}
	if head(t, w) != before {
		t.Error("events were added")
	}
	_, err := w.ConfirmClock(t.Context(), operator, "looked at it")
	refused(t, err, registry.Conflict)
}

// TestHoldsDoNotEndWhileTheClockIsNotTrusted, whoever sees the jump first.
func TestHoldsDoNotEndWhileTheClockIsNotTrusted(t *testing.T) {
	for name, seen := range map[string]func(*testing.T, *world){
		"by a read":      func(t *testing.T, w *world) { w.holds(t, "a", "h on a: x") },
		"by a push":      func(t *testing.T, w *world) { put(t, w.repo(t, "b"), "v1", "other", "") },
		"by a heartbeat": func(t *testing.T, w *world) { must(t, w.Heartbeat(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			w := open(t, registry.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			r := w.repo(t, "a")
			m := put(t, r, "v1", small, "")
			_, err := w.PlaceHold(t.Context(), operator, registry.HoldRequest{Name: "h", Repository: "a", Reason: "x", Until: w.clock.Now().Add(day)})
			must(t, err)
			w.clock.advance(2 * day)
			seen(t, w)
			w.holds(t, "a", "h on a: x")
			by := registry.Reference{Digest: digest(m)}
			refused(t, r.DeleteManifest(t.Context(), by), registry.Denied)
			for range 2 {
				must(t, w.Heartbeat(t.Context()))
				w.clock.advance(2 * time.Hour)
			}
			refused(t, r.DeleteManifest(t.Context(), by), registry.Denied)
			if n := strings.Count(log.String(), "the clock went ahead"); n != 1 {
				t.Errorf("it was logged %d times", n)
			}
			s, err := w.ClockStatus(t.Context())
			must(t, err)
			if !s.Jumped || s.Sequence != w.last(t, fact.KindClockJumped) || s.Until.Sub(s.Since) < 2*day || !s.Trusted.Equal(s.Since) {
				t.Errorf("%+v", s)
			}
			_, err = w.ConfirmClock(t.Context(), operator, "")
			refused(t, err, registry.ReasonInvalid)
			before, err := w.ConfirmClock(t.Context(), operator, "the server was off")
			must(t, err)
			if !before.Jumped || before.Sequence != s.Sequence {
				t.Errorf("%+v", before)
			}
			_, err = w.ConfirmClock(t.Context(), operator, "the server was off")
			refused(t, err, registry.Conflict)
			w.holds(t, "a", "h on a: x, ended")
			must(t, r.DeleteManifest(t.Context(), by))
		})
	}
}

// TestAJumpThatOnlyReadsHaveSeenIsConfirmed: it is in the log before that.
func TestAJumpThatOnlyReadsHaveSeenIsConfirmed(t *testing.T) {
	w := open(t, registry.Options{})
	put(t, w.repo(t, "a"), "v1", small, "")
	w.clock.advance(2 * day)
	s, err := w.ClockStatus(t.Context())
	must(t, err)
	if !s.Jumped || s.Sequence != 0 {
		t.Errorf("%+v", s)
	}
	before := head(t, w)
	_, err = w.ConfirmClock(t.Context(), operator, "the server was off")
	must(t, err)
	if kinds := w.kinds(t, before); kinds[fact.KindClockJumped] != 1 || kinds[fact.KindClockConfirmed] != 1 || len(kinds) != 2 {
		t.Errorf("%v", kinds)
	}
	if s, err = w.ClockStatus(t.Context()); err != nil || s.Jumped || !s.Trusted.Equal(s.Now) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestNothingExpiresWhileTheClockIsNotTrusted: and an hour by which the clock is
// set back is no reason for doubt.
func TestNothingExpiresWhileTheClockIsNotTrusted(t *testing.T) {
	w := open(t, registry.Options{})
	w.ruled(t, retention.Policy{Name: "p", Repositories: []string{"a"}, Class: retention.Transient})
	put(t, w.repo(t, "a"), "", small, "")
	enforce := func(doubt bool, marked int64) {
		t.Helper()
		report, err := w.Enforce(t.Context(), registry.EnforceOptions{})
		must(t, err)
		if report.InDoubt != doubt || report.Marked != marked {
			t.Errorf("%+v", report)
		}
	}
	w.clock.advance(30 * day)
	enforce(true, 0)
	must(t, w.Heartbeat(t.Context()))
	w.clock.advance(-30*day + time.Hour) // it was wrong
	enforce(true, 0)
	_, err := w.ConfirmClock(t.Context(), operator, "set back")
	must(t, err)
	enforce(false, 0) // the end has not come yet
	w.clock.advance(30*day - 2*time.Hour)
	w.change(t, &registry.Change{Working: registry.Working{Heartbeat: true}})
	enforce(false, 1)
}
