package metastore_test

import (
	"fmt"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// ending is how many manifests of the repository demo have an end after bury; one
// has it before.
const ending = 151

// bury deletes a manifest of many repositories, gives up many objects, and gives
// some of many manifests an end.
func bury(t testing.TB, s *store) {
	t.Helper()
	c := new(registry.Change)
	for i := range ending - 1 {
		c.Add(&fact.DefaultApplied{Repository: "demo", Manifest: primary(fmt.Sprintf("referrer %d", 10*i)), Class: "transient", Expires: int64(i + 1)})
	}
	for i := 0; i < 400; i += 2 {
		c.Add(&fact.ManifestDeleted{Repository: fmt.Sprintf("r%04d", i), Manifest: primary("image")})
	}
	for i := range 300 {
		from := fact.Receipt{Store: "files", Locator: fmt.Sprintf("place-%d", i)}
		c.Add(&fact.BlobMoved{Blob: primary("layer"), From: from, To: fact.Receipt{Store: "files", Locator: fmt.Sprintf("place-%d", i+1)}})
	}
	s.update(t, c)
}

// TestPassesCostTheirPage and not the tables, wherever they are.
func TestPassesCostTheirPage(t *testing.T) {
	w := new(watcher)
	s := create(t, metastore.Options{Watch: w.watch})
	fill(t, s, 1000, 5000)
	bury(t, s)
	const page = 100
	for _, c := range passes(page) {
		rows, steps := 0, 0
		costs := w.during(func() { s.read(t, func(v registry.View) (err error) { rows, err = c.list(v); return err }) })
		if rows != c.rows {
			t.Errorf("%s: %d rows, want %d", c.name, rows, c.rows)
		}
		for sql, cost := range costs {
			steps += cost.Steps
			if cost.Scans != 0 {
				t.Errorf("%s: %d steps through a table in %s", c.name, cost.Scans, sql)
			}
		}
		if limit := 1500 + 70*rows; steps > limit { // the tables have more than ten times as many
			t.Errorf("%s: %d steps for %d rows, want at most %d", c.name, steps, rows, limit)
		}
	}
}

// passes are the pages of the sweep and of what is asked beside it.
func passes(page int) []listing {
	late := time.Now().Add(time.Hour)
	var grave eventlog.Sequence
	var given registry.ErasurePlace
	var wide, last eventlog.Sequence
	return []listing{
		{"first manifests that end", page, func(v registry.View) (int, error) {
			all, err := v.Ending("demo", 0, page)
			if len(all) > 0 {
				last = all[len(all)-1].Sequence
			}
			return len(all), err
		}},
		{"last manifests that end", ending - page, func(v registry.View) (int, error) {
			all, err := v.Ending("demo", last, page)
			return len(all), err
		}},
		{"no manifests that end", 0, func(v registry.View) (int, error) {
			all, err := v.Ending("r0001", 0, page)
			return len(all), err
		}},
		{"manifests in the middle", page, func(v registry.View) (int, error) {
			all, err := v.ManifestsAfter("demo", last, page)
			return len(all), err
		}},
		{"first links", page, func(v registry.View) (int, error) {
			all, err := v.Links(registry.LinkPlace{}, page)
			return len(all), err
		}},
		{"links in the middle", page, func(v registry.View) (int, error) {
			all, err := v.Links(registry.LinkPlace{Repository: 500}, page)
			return len(all), err
		}},
		{"blobs in the middle", page, func(v registry.View) (int, error) {
			all, err := v.BlobItems(repositoryEvents+spreadEvents, page)
			return len(all), err
		}},
		{"first deleted manifests", page, func(v registry.View) (int, error) {
			all, err := v.Graves(0, page)
			if len(all) > 0 {
				grave = all[len(all)-1].Sequence
			}
			return len(all), err
		}},
		{"deleted manifests in the middle", page - 1, func(v registry.View) (int, error) {
			all, err := v.Graves(grave+1, page-1)
			return len(all), err
		}},
		{"deleted manifests of a repository", 1, func(v registry.View) (int, error) {
			all, err := v.GravesIn("r0200", 0, page)
			return len(all), err
		}},
		{"newest deleted manifests of a repository", 1, func(v registry.View) (int, error) {
			all, err := v.GravesBefore("r0200", 0, page)
			return len(all), err
		}},
		{"first objects to be deleted", page, func(v registry.View) (int, error) {
			all, err := v.Erasures(registry.ErasurePlace{}, late, page)
			if len(all) > 0 {
				given = all[len(all)-1].Place()
			}
			return len(all), err
		}},
		{"objects to be deleted in the middle", page, func(v registry.View) (int, error) {
			all, err := v.Erasures(given, late, page)
			return len(all), err
		}},
		{"keepers of a blob", page, func(v registry.View) (int, error) {
			b, err := v.Blob(primary("layer"))
			if err != nil {
				return 0, err
			}
			return v.Keepers(b, page)
		}},
		{"uses of a blob", page, func(v registry.View) (int, error) {
			b, err := v.Blob(primary("layer"))
			if err != nil {
				return 0, err
			}
			all, err := v.Uses(b, registry.UserPlace{Digest: 1, Repository: 1, Manifest: 1}, page)
			return len(all), err
		}},
		{"references of a manifest", 1000, func(v registry.View) (int, error) {
			m, _, err := v.Manifest("r0000", primary("wide"))
			if err != nil {
				return 0, err
			}
			wide = m.Sequence
			return v.ReferenceCount(wide)
		}},
		{"what a manifest keeps", 2, func(v registry.View) (int, error) {
			all, err := v.Keeps(wide, 0, int64(page))
			return len(all), err
		}},
	}
}
