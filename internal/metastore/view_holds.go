package metastore

import (
	"fmt"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var holds = newTable("holds", "holds", 3, 1, nil,
	"repository_id", "target", "name", "id", "until", "placed", "actor")

func applyHolds(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.HoldPlaced:
		r, err := s.repository(f.Target.Repository)
		return []edit{holds.put(r, holdTarget(f.Target), f.Name, int64(e.Sequence), f.Until, e.Time, e.Actor)}, err
	case *fact.HoldReleased:
		r, err := s.repository(f.Target.Repository)
		return []edit{holds.delete(r, holdTarget(f.Target), f.Name)}, err
	case *fact.RepositoryForgotten:
		return s.forgetHolds(f.Name)
	}
	return nil, nil
}

// forgetHolds deletes the holds that have ended and were never released.
func (s *working) forgetHolds(repository string) (edits []edit, err error) {
	id, err := s.repository(repository)
	if err != nil {
		return nil, err
	}
	err = each(s.all(), func(r database.Rows) error {
		edits = append(edits, holds.delete(id, r.Text(0), r.Text(1)))
		return nil
	}, "SELECT target, name FROM holds WHERE repository_id = $1 ORDER BY target, name", id)
	return edits, err
}

// holdTarget is what a hold is on, within its repository.
func holdTarget(t fact.Target) string {
	switch {
	case t.Tag != "":
		return ":" + t.Tag
	case !t.Manifest.IsZero():
		return "@" + t.Manifest.String()
	}
	return ""
}

const holdColumns = "r.name, h.target, h.name, h.id, h.until, h.placed, h.actor"

func scanHold(r database.Rows) (registry.Hold, error) {
	h := registry.Hold{
		Name: r.Text(2), Sequence: eventlog.Sequence(r.Int(3)), Target: fact.Target{Repository: r.Text(0)},
		Until: instant(r.Int(4)), Placed: micro(r.Int(5)), Actor: r.Text(6),
	}
	target := r.Text(1)
	if tag, ok := strings.CutPrefix(target, ":"); ok {
		h.Target.Tag = tag
	}
	if d, ok := strings.CutPrefix(target, "@"); ok {
		var err error
		if h.Target.Manifest, err = identity.Parse(d); err != nil {
			return h, fmt.Errorf("hold %d: %w", h.Sequence, err)
		}
	}
	return h, nil
}

// Hold implements registry.LifeView.
func (v *view) Hold(name string, target fact.Target) (*registry.Hold, error) {
	return first(v, scanHold, "SELECT "+holdColumns+` FROM repositories r
		JOIN holds h ON h.repository_id = r.id
		WHERE r.name = $1 AND h.target = $2 AND h.name = $3`, target.Repository, holdTarget(target), name)
}

// HoldsIn implements registry.LifeView.
func (v *view) HoldsIn(repository string) ([]registry.Hold, error) {
	return collect(v, scanHold, "SELECT "+holdColumns+` FROM repositories r
		JOIN holds h ON h.repository_id = r.id
		WHERE r.name = $1 ORDER BY h.target, h.name`, repository)
}

// HoldPage implements registry.LifeView.
func (v *view) HoldPage(after registry.HoldPlace, limit int) ([]registry.Hold, []registry.HoldPlace, error) {
	var places []registry.HoldPlace
	all, err := collect(v, func(r database.Rows) (registry.Hold, error) {
		h, err := scanHold(r)
		places = append(places, registry.HoldPlace{Name: h.Name, Repository: r.Int(7), Target: r.Text(1)})
		return h, err
	}, "SELECT "+holdColumns+`, h.repository_id FROM holds h
		JOIN repositories r ON r.id = h.repository_id
		WHERE (h.name, h.repository_id, h.target) > ($1, $2, $3)
		ORDER BY h.name, h.repository_id, h.target LIMIT $4`, after.Name, after.Repository, after.Target, int64(limit))
	return all, places, err
}
