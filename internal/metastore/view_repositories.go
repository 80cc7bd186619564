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

// RepositoryPage implements registry.RepositoryView.
func (v *view) RepositoryPage(after string, limit int) ([]string, error) {
	return texts(v.conn, "SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2",
		after, int64(limit))
}
