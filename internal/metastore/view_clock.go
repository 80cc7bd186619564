package metastore

import (
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

var clock = newTable("clock", "clock", 1, 0, nil,
	"one", "since", "until", "sequence")

func applyClock(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.ClockJumped:
		since := f.From
		row, err := s.row(clock, int64(1))
		if err != nil {
			return nil, err
		}
		if row != nil { // it has jumped before, and nobody has confirmed that
			since = row[1].(int64)
		}
		return []edit{clock.put(int64(1), since, f.To, int64(e.Sequence))}, nil
	case *fact.ClockConfirmed:
		return []edit{clock.delete(int64(1))}, nil
	}
	return nil, nil
}

// ClockJump implements registry.LifeView.
func (v *view) ClockJump() (*registry.ClockJump, error) {
	return first(v, func(r database.Rows) (registry.ClockJump, error) {
		return registry.ClockJump{Since: micro(r.Int(0)), Until: micro(r.Int(1)), Sequence: eventlog.Sequence(r.Int(2))}, nil
	}, "SELECT since, until, sequence FROM clock")
}

// flagClock is the heartbeat: a time at which a process has looked at the clock.
const flagClock = "clock"

// lastKnown is the time of the last event or heartbeat.
func lastKnown(c database.Conn) (int64, error) {
	var last int64
	_, err := one(c, func(r database.Rows) error { last = r.Int(0); return nil }, "SELECT time FROM head")
	if err != nil {
		return 0, err
	}
	flags, err := readFlags(c)
	return max(last, flags[flagClock]), err
}

// ahead tells whether a time is too far ahead of the last one that is known. In an
// empty log none is.
func ahead(now, last int64) bool {
	return last != 0 && now-last > registry.MaxClockJump.Microseconds()
}

// Watched implements registry.LifeView.
func (v *view) Watched() (time.Time, error) {
	last, err := lastKnown(v.conn)
	return instant(last), err
}

// Trusted implements registry.LifeView.
func (v *view) Trusted() (time.Time, error) {
	jump, err := v.ClockJump()
	if err != nil {
		return time.Time{}, err
	}
	if jump != nil {
		return earlier(jump.Since, v.now), nil
	}
	last, err := lastKnown(v.conn)
	if err != nil || !ahead(v.now.UnixMicro(), last) {
		return v.now, err
	}
	return micro(last), nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Trusted implements registry.LifeView. Where the clock was set back it is the clock
// that counts, and not the time of events, which never goes back.
func (v *decision) Trusted() (time.Time, error) {
	jump, err := v.ClockJump()
	if err != nil {
		return time.Time{}, err
	}
	now := earlier(v.now, v.batch.reading())
	if jump != nil {
		return earlier(jump.Since, now), nil
	}
	if !ahead(v.now.UnixMicro(), v.batch.head.Time) {
		return now, nil
	}
	last, err := v.batch.lastKnown()
	if err != nil || !ahead(v.now.UnixMicro(), last) {
		return now, err
	}
	return micro(last), nil
}

// Watched implements registry.LifeView.
func (v *decision) Watched() (time.Time, error) {
	last, err := v.batch.lastKnown()
	return instant(last), err
}

// reading is what the clock says now.
func (b *batch) reading() time.Time {
	if b.now != 0 {
		return micro(b.now)
	}
	return b.store.clock()
}

// noteJump adds the event that says that the clock has gone ahead too far, before
// the events of a change or a heartbeat: their time would hide it.
func (b *batch) noteJump(c *change, now int64) error {
	if len(c.Entries) == 0 && !c.Working.Heartbeat || !ahead(now, b.head.Time) {
		return nil
	}
	last, err := b.lastKnown()
	if err != nil || !ahead(now, last) {
		return err
	}
	jump := registry.Entry{Fact: &fact.ClockJumped{From: last, To: now}}
	return b.writeEntry(&change{caller: registry.System}, &jump, now)
}

// lastKnown is the time of the last event of the batch, or of the last heartbeat.
func (b *batch) lastKnown() (int64, error) {
	flags, err := readFlags(b.state.all())
	return max(b.head.Time, flags[flagClock]), err
}
