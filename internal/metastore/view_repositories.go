package metastore

import (
	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
)

var repositories = newTable("repositories", "repositories", 1, 1, []string{"name"},
	"id", "name", "created")

func applyRepositories(_ *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	if f, ok := f.(*fact.RepositoryCreated); ok {
		return []edit{repositories.put(int64(e.Sequence), f.Repository, e.Time)}, nil
	}
	return nil, nil
}

// RepositoryExists implements registry.RepositoryView.
func (v *view) RepositoryExists(name string) (bool, error) {
	return one(v.conn, func(database.Rows) error { return nil },
		"SELECT 1 FROM repositories WHERE name = $1", name)
}

// RepositoryPage implements registry.RepositoryView.
func (v *view) RepositoryPage(after string, limit int) ([]string, error) {
	return texts(v.conn, "SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2",
		after, int64(limit))
}
