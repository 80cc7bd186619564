package metastore

import (
	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

var tagHistory = newTable("tag_history", "tag_history", 3, 1, nil,
	"repository_id", "name", "sequence", "from_digest", "to_digest", "actor", "time").putOnce()

func applyTagHistory(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.TagMoved:
		r, err := s.repository(f.Repository)
		return []edit{tagHistory.put(r, f.Tag, int64(e.Sequence),
			digestOrNull(f.From), f.To.String(), e.Actor, e.Time)}, err
	case *fact.TagDeleted:
		r, err := s.repository(f.Repository)
		return []edit{tagHistory.put(r, f.Tag, int64(e.Sequence),
			digestOrNull(f.Manifest), nil, e.Actor, e.Time)}, err
	}
	return nil, nil
}
