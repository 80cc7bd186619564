package metastore_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// TestSharedListingsCostThePage and not the collection, whether the server has
// looked at the tables or not, with plans made for the arguments or for all.
func TestSharedListingsCostThePage(t *testing.T) {
	t.Parallel()
	server := harness.StartPrivatePostgres(t, "autovacuum=off", "fsync=off")
	s := join(t, server, node{Node: metastore.Node{Name: "a"}})
	const tagCount, referrerCount, page, times = 20_000, 2_000, 100, 7
	fill(t, s, tagCount, referrerCount)
	bury(t, s)
	must(t, s.Close())
	lists := append(listings(tagCount, referrerCount, page), inspections(tagCount, referrerCount, page)...)
	sweeping := passes(page)
	for _, prepare := range []string{"SELECT 1", "ANALYZE"} {
		server.SQL(t, prepare)
		before := looked(t, server)
		reader, err := metastore.OpenPostgres(t.Context(), postgres.Options{DSN: server.DSN(), Name: "reader"}, metastore.Node{}, metastore.Options{ReadOnly: true})
		must(t, err)
		for _, l := range slices.Concat(lists, sweeping) {
			for range times {
				n := 0
				must(t, reader.Read(t.Context(), func(v registry.View) (err error) { n, err = l.list(v); return err }))
				if n != l.rows {
					t.Errorf("%s: %d rows", l.name, n)
				}
			}
		}
		must(t, reader.Close()) // what a connection has counted is there once it has ended
		until(t, "the reader is gone", func() bool {
			return server.SQL(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reader'") == "0"
		})
		// A row is counted in the index and in the table, and a description is
		// made of rows of four tables. A sweep asks more of each row.
		if n := looked(t, server) - before; n > times*page*(4*len(lists)+20*len(sweeping)) {
			t.Errorf("after %s: %d rows were looked at", prepare, n)
		}
	}
}

// TestSharedBatchCostsWhatItAsksFor and not what the repository has, with plans
// that were made while it had nothing.
func TestSharedBatchCostsWhatItAsksFor(t *testing.T) {
	t.Parallel()
	server := harness.StartPrivatePostgres(t, "autovacuum=off", "fsync=off")
	s := join(t, server, node{Node: metastore.Node{Name: "a"}})
	populated(t, s)
	const rounds, tags = 60, 100
	push := func(round int) {
		c, keys := new(registry.Change), registry.Keys{Repositories: []string{"demo"},
			Digests: []identity.Digest{primary("image")}, Manifests: []identity.Digest{primary("image")}}
		for i := range tags {
			keys.Tags = append(keys.Tags, fmt.Sprintf("t%d-%d", round, i))
			c.Add(tag("demo", keys.Tags[i], "image"))
		}
		must(t, s.Update(t.Context(), caller, keys, func(registry.View) (*registry.Change, error) { return c, nil }))
	}
	for round := range rounds {
		push(round)
	}
	must(t, s.Close()) // what a connection has counted is there once it has ended
	if n := looked(t, server); n > rounds*tags*30 {
		t.Errorf("%d rows were looked at for %d tags", n, rounds*tags)
	}
}

// looked is how many rows the server has looked at.
func looked(t *testing.T, server *harness.Postgres) int {
	t.Helper()
	n, err := strconv.Atoi(server.SQL(t, `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)
		FROM pg_stat_user_tables`))
	must(t, err)
	return n
}
