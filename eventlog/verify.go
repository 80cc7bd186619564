package eventlog

import (
	"context"
	"fmt"

	"artifactstore/registry/identity"
)

// Fault is proof that a log is not what was written: an event was changed,
// dropped, put elsewhere or cut off.
type Fault struct {
	// Sequence is where the log is wrong first.
	Sequence Sequence
	// Problem says what is wrong there.
	Problem string
}

func (f *Fault) Error() string { return fmt.Sprintf("event %d: %s", f.Sequence, f.Problem) }

// Follows checks that e is the event after h: that the sequence has no gap,
// that time does not run backwards, that the payload, and the private part
// unless it was erased, have their digests, and that the running hash is
// right. It returns the new head. Its error is a *Fault.
func (h Head) Follows(e *Event) (Head, error) {
	want := h.Sequence + 1
	fault := func(format string, args ...any) (Head, error) {
		return h, &Fault{Sequence: want, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case e.Sequence > want:
		return fault("missing; the log goes on with %d", e.Sequence)
	case e.Sequence < want:
		return fault("expected, found %d again", e.Sequence)
	case e.Time < h.Time:
		return fault("its time %d is before that of the event before, %d", e.Time, h.Time)
	case identity.FromBytes(identity.BLAKE3, e.Payload) != e.PayloadDigest:
		return fault("its payload does not have its digest")
	case len(e.Private) > 0 && identity.FromBytes(identity.BLAKE3, e.Private) != e.PrivateDigest:
		return fault("its private part does not have its digest")
	}
	data, err := e.Record()
	if err != nil {
		return fault("it has no canonical record: %v", err)
	}
	if chain := h.Chain.Next(data); chain != e.Chain {
		return fault("the running hash is %s, its record gives %s", e.Chain, chain)
	}
	return Head{Log: h.Log, Sequence: e.Sequence, Time: e.Time, Chain: e.Chain}, nil
}

// Ends checks that h, reached by following all events, is the recorded end of
// the log. Its error is a *Fault.
func (h Head) Ends(recorded Head) error {
	switch {
	case h == recorded:
		return nil
	case h.Sequence < recorded.Sequence:
		return &Fault{Sequence: h.Sequence + 1,
			Problem: fmt.Sprintf("missing; the head says that the log ends with %d", recorded.Sequence)}
	case h.Sequence > recorded.Sequence:
		return &Fault{Sequence: recorded.Sequence + 1,
			Problem: "it is after the end of the log according to the head"}
	}
	return &Fault{Sequence: h.Sequence, Problem: "the head does not agree with it"}
}

// Verify reads a whole log and checks every event and the head. It returns
// the head that it reached; its error is a *Fault if the log is not what was
// written. The log may grow meanwhile: what is appended after the start is
// not looked at.
func Verify(ctx context.Context, log Reader) (Head, error) {
	end, err := log.Head(ctx)
	if err != nil {
		return Head{}, err
	}
	at := Origin(end.Log)
	for at.Sequence < end.Sequence {
		page, err := log.Read(ctx, at.Sequence, int(min(1000, end.Sequence-at.Sequence)))
		if err != nil {
			return at, err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			if at, err = at.Follows(&page[i]); err != nil {
				return at, err
			}
		}
	}
	return at, at.Ends(end)
}
