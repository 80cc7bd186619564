package metastore

import (
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
