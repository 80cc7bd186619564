package metastore

import (
	"fmt"
	"slices"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

var repositories = func() *table {
	t := newTable("repositories", "repositories", 1, 1, []string{"name"},
		"id", "name", "created", "holds", "deleted", "lost")
	// A name that was freed is taken by another one; that of a deleted
	// repository never is.
	t.early = func(row []any) bool { return row[4] != int64(0) }
	return t
}()

func applyRepositories(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.RepositoryCreated:
		return []edit{repositories.put(int64(e.Sequence), f.Repository, e.Time, int64(0), int64(0), int64(0))}, nil
	case *fact.RepositoryDeleted:
		return s.renameRepository(f.Repository, f.Name, e.Time)
	case *fact.RepositoryRestored:
		return s.renameRepository(f.Name, f.Repository, 0)
	case *fact.RepositoryForgotten:
		id, err := s.repository(f.Name)
		return []edit{repositories.delete(id)}, err
	case *fact.HoldPlaced:
		return s.countHold(f.Name, f.Target, 1)
	case *fact.HoldReleased:
		return s.countHold(f.Name, f.Target, -1)
	case *fact.TagDeleted:
		row, err := s.repositoryRow(f.Repository)
		if err != nil {
			return nil, err
		}
		row[5] = row[5].(int64) + 1
		return []edit{repositories.put(row...)}, nil
	}
	return nil, nil
}

// repositoryRow returns the row of a repository, to be changed.
func (s *working) repositoryRow(name string) ([]any, error) {
	row, err := s.rowBy(repositories, "name", name)
	if err == nil && row == nil {
		err = fmt.Errorf("%s: %w", name, errUnknownRow)
	}
	return slices.Clone(row), err
}

func (s *working) renameRepository(from, to string, deleted int64) ([]edit, error) {
	row, err := s.repositoryRow(from)
	if err != nil {
		return nil, err
	}
	row[1], row[4] = to, deleted
	return []edit{repositories.put(row...)}, nil
}

// countHold counts the holds of a repository: one that replaces another is none
// more, and one that is not there none less.
func (s *working) countHold(name string, target fact.Target, more int64) ([]edit, error) {
	row, err := s.repositoryRow(target.Repository)
	if err != nil {
		return nil, err
	}
	hold, err := s.row(holds, row[0], holdTarget(target), name)
	if err != nil || (hold == nil) != (more > 0) {
		return nil, err
	}
	row[3] = row[3].(int64) + more
	return []edit{repositories.put(row...)}, nil
}

// repositoryNamed is the id of the repository whose name is the first argument.
// What is listed in order is found by it, and not by a join: PostgreSQL does not
// see that a join with one row keeps the order of an index, and would sort all
// that the repository has for each page.
const repositoryNamed = "(SELECT id FROM repositories WHERE name = $1)"

// RepositoryExists implements registry.RepositoryView.
func (v *view) RepositoryExists(name string) (bool, error) {
	return one(v.conn, func(database.Rows) error { return nil },
		"SELECT 1 FROM repositories WHERE name = $1", name)
}

const stateColumns = "r.id, r.name, r.holds, r.deleted, r.lost"

// pastState is the column behind them.
const pastState = 5

func scanState(r database.Rows, column int) registry.RepositoryState {
	return registry.RepositoryState{ID: r.Int(column), Name: r.Text(column + 1), Holds: r.Int(column + 2), Deleted: instant(r.Int(column + 3)), Lost: r.Int(column + 4)}
}

// instant is a time of a row; 0 is none.
func instant(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return micro(t)
}

// RepositoryState implements registry.LifeView.
func (v *view) RepositoryState(name string) (*registry.RepositoryState, error) {
	return first(v, func(r database.Rows) (registry.RepositoryState, error) { return scanState(r, 0), nil },
		"SELECT "+stateColumns+" FROM repositories r WHERE r.name = $1", name)
}

// DeletedRepositories implements registry.LifeView.
func (v *view) DeletedRepositories(after int64, limit int) ([]registry.RepositoryState, error) {
	return collect(v, func(r database.Rows) (registry.RepositoryState, error) { return scanState(r, 0), nil },
		"SELECT "+stateColumns+" FROM repositories r WHERE r.deleted <> 0 AND r.id > $1 ORDER BY r.id LIMIT $2", after, int64(limit))
}

// RepositoryPage implements registry.RepositoryView.
func (v *view) RepositoryPage(after string, limit int) ([]string, error) {
	return texts(v.conn, "SELECT name FROM repositories WHERE name > $1 AND deleted = 0 ORDER BY name LIMIT $2",
		after, int64(limit))
}
