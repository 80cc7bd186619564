package metastore_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/sqlite"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// full is set when tests may take minutes.
func full() bool { return os.Getenv("ARTIFACTSTORE_TEST_FULL") == "1" }

// watcher adds up the cost of statements.
type watcher struct {
	mu    sync.Mutex
	costs map[string]database.Cost
}

func (w *watcher) watch(c database.Cost) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.costs == nil {
		return
	}
	sum := w.costs[c.SQL]
	w.costs[c.SQL] = database.Cost{SQL: c.SQL, Steps: sum.Steps + c.Steps, Scans: sum.Scans + c.Scans, Sorts: sum.Sorts + c.Sorts}
}

// during returns what the statements of f cost.
func (w *watcher) during(f func()) map[string]database.Cost {
	w.mu.Lock()
	w.costs = map[string]database.Cost{}
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	costs := w.costs
	w.costs = nil
	return costs
}

// TestListingsCostThePageNotTheCollection writes many tags and referrers
// through the ledger, and then proves for each listing, wherever its page
// begins, that no statement walks a table, sorts, or takes more steps than
// the rows of the page account for.
func TestListingsCostThePageNotTheCollection(t *testing.T) {
	tagCount, referrerCount := 50_000, 5_000
	if underRace {
		tagCount, referrerCount = 2_000, 1_000
	}
	if full() {
		tagCount, referrerCount = 1_000_000, 100_000
	}
	w := new(watcher)
	s := create(t, metastore.Options{Watch: w.watch})
	began := time.Now()
	fill(t, s, tagCount, referrerCount)
	t.Logf("wrote %d tags and %d referrers in %v", tagCount, referrerCount, time.Since(began).Round(time.Millisecond))

	const page = 100
	for _, c := range append(listings(tagCount, referrerCount, page), inspections(tagCount, referrerCount, page)...) {
		t.Run(c.name, func(t *testing.T) {
			rows := 0
			var took time.Duration
			costs := w.during(func() {
				s.read(t, func(v registry.View) (err error) {
					began := time.Now()
					rows, err = c.list(v)
					took = time.Since(began)
					return err
				})
			})
			if rows != c.rows {
				t.Errorf("%d rows, want %d", rows, c.rows)
			}
			steps := 0
			for sql, cost := range costs {
				steps += cost.Steps
				if cost.Scans != 0 || cost.Sorts != 0 {
					t.Errorf("%d steps through a table and %d sorts in %s", cost.Scans, cost.Sorts, sql)
				}
				s.plan(t, sql)
			}
			if limit := 200 + 54*rows; steps > limit {
				t.Errorf("%d steps for %d rows, want at most %d", steps, rows, limit)
			}
			t.Logf("%d rows, %d steps, %v", rows, steps, took)
		})
	}
	if full() {
		s.check(t, "tags", "referrers")
	}
}

// plan fails if a statement reads a table otherwise than through an index.
func (s *store) plan(t *testing.T, sql string) {
	t.Helper()
	if sql == "BEGIN" || sql == "ROLLBACK" {
		return
	}
	db, err := sqlite.Open(t.Context(), s.path, sqlite.Options{ReadOnly: true})
	must(t, err)
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		rows := c.Query("EXPLAIN QUERY PLAN " + sql)
		for rows.Next() {
			// Of a subquery there is one row, which has a step of its own.
			if step := rows.Text(3); !strings.HasPrefix(step, "SEARCH ") && !strings.Contains(step, " SUBQUERY ") {
				t.Errorf("plan of %s: %s", sql, step)
			}
		}
		return rows.Close()
	}))
	must(t, db.Close())
}

type listing struct {
	name string
	rows int
	list func(registry.View) (int, error)
}

func listings(tagCount, referrerCount, page int) []listing {
	subject := []identity.Digest(digests("image"))
	names := func(list func(v registry.View, after string) ([]string, error), after string) func(registry.View) (int, error) {
		return func(v registry.View) (int, error) { all, err := list(v, after); return len(all), err }
	}
	tagsAfter := func(v registry.View, after string) ([]string, error) { return v.TagPage("demo", after, page) }
	tagsOf := func(v registry.View, _ string) ([]string, error) { return v.TagsOf("demo", primary("image"), page) }
	repositories := func(v registry.View, after string) ([]string, error) { return v.RepositoryPage(after, page) }
	referrers := func(artifactType string, after int) func(registry.View) (int, error) {
		return func(v registry.View) (int, error) {
			all, err := v.ReferrerPage("demo", subject, artifactType, eventlog.Sequence(after), page, 4<<20)
			return len(all), err
		}
	}
	// Each referrer is two events, after those of the tags.
	middle := repositoryEvents + spreadEvents + tagCount + referrerCount
	return []listing{
		{"first tags", page, names(tagsAfter, "")},
		{"tags in the middle", page, names(tagsAfter, fmt.Sprintf("t%07d", tagCount/2))},
		{"last tags", 10, names(tagsAfter, fmt.Sprintf("t%07d", tagCount-11))},
		{"tags of a manifest", page, names(tagsOf, "")},
		{"repositories in the middle", page, names(repositories, "r0500")},
		{"first referrers", page, referrers("", 0)},
		{"referrers in the middle", page, referrers("", middle)},
		{"referrers of a rare type", 5, referrers("type/rare", 0)},
		{"referrers of a common type in the middle", page, referrers("type/common", middle)},
		{"referrers of no type that is there", 0, referrers("type/none", 0)},
		{"newest manifest", 1, func(v registry.View) (int, error) { _, err := v.PreferredAlgorithm("demo"); return 1, err }},
		{"expired uploads", page, func(v registry.View) (int, error) {
			all, err := v.UploadsExpired(time.Unix(2_000_000_000, 0), page)
			return len(all), err
		}},
		{"referencing manifest", 1, func(v registry.View) (int, error) {
			d, err := v.Referencing("demo", digests("layer"))
			if d.IsZero() {
				return 0, err
			}
			return 1, err
		}},
		{"holder of a blob", 1, func(v registry.View) (int, error) { _, err := v.BlobHolder(primary("layer")); return 1, err }},
	}
}

// fill writes the tags and the referrers of one manifest.
func fill(t testing.TB, s *store, tagCount, referrerCount int) {
	c := facts(&fact.RepositoryCreated{Repository: "demo"})
	for i := range 1000 {
		c.Add(&fact.RepositoryCreated{Repository: fmt.Sprintf("r%04d", i)})
		c.Puts = append(c.Puts, registry.Upload{ID: fmt.Sprintf("u%d", i), State: registry.UploadOpen, Expires: time.Unix(1_900_000_000, 0)})
		for j := range 5 { // between the open ones
			c.Puts = append(c.Puts, registry.Upload{ID: fmt.Sprintf("u%d-%d", i, j), State: registry.UploadFinished, Expires: time.Unix(1_950_000_000, 0)})
		}
	}
	s.update(t, c)
	s.update(t, layer("demo", "layer"))
	s.update(t, image("demo", "image", "", "", []string{"layer"}))
	spread(t, s)
	const batch = 5000
	for start := 0; start < tagCount; start += batch {
		c := new(registry.Change)
		for i := start; i < min(start+batch, tagCount); i++ {
			c.Add(tag("demo", fmt.Sprintf("t%07d", i), "image"))
		}
		s.update(t, c)
	}
	subject := digests("image")
	for start := 0; start < referrerCount; start += batch / 2 {
		c := new(registry.Change)
		for i := start; i < min(start+batch/2, referrerCount); i++ {
			kind := "type/common"
			if i%(referrerCount/5) == 7 {
				kind = "type/rare"
			}
			one := image("demo", fmt.Sprintf("referrer %d", i), "image", kind, []string{"layer"})
			put := one.Entries[2].Fact.(*fact.ManifestPut)
			put.Native, put.SubjectDigest, put.Expires = put.Manifest, subject[i%len(subject)], 0
			c.Entries = append(c.Entries, one.Entries[0], one.Entries[2])
		}
		s.update(t, c)
	}
}

// What fill and spread write: how many events, and one in the middle of the moves.
const (
	repositoryEvents = 1 + 1000
	spreadEvents     = 3 + 1000 + 500 + 1000
	middleMove       = spreadEvents + 500
)

// spread puts one blob and one manifest into many repositories, gives a manifest
// many references, and moves a tag many times.
func spread(t testing.TB, s *store) {
	var layers []string
	for i := range 1000 {
		layers = append(layers, fmt.Sprintf("layer %d", i))
	}
	wide := image("r0000", "wide", "", "", layers)
	moves := new(registry.Change)
	for i := range 1000 {
		name := fmt.Sprintf("r%04d", i)
		wide.Add(&fact.BlobLinked{Repository: name, Blob: primary("layer")})
		if i%2 == 0 {
			one := image(name, "image", "", "", []string{"layer"})
			wide.Entries = append(wide.Entries, one.Entries[2])
		}
		moves.Add(tag("r0000", "moving", "wide"))
	}
	s.update(t, wide)
	s.update(t, moves)
}

// inspections are the lists that operators ask for.
func inspections(tagCount, referrerCount, page int) []listing {
	middleTag := fmt.Sprintf("t%07d", tagCount/2)
	var wide eventlog.Sequence // the manifest of many references
	var place registry.UserPlace
	return []listing{
		{"first descriptions of tags", page, func(v registry.View) (int, error) {
			all, err := v.TagInfos("demo", "", page)
			return len(all), err
		}},
		{"descriptions of tags in the middle", page, func(v registry.View) (int, error) {
			all, err := v.TagInfos("demo", middleTag, page)
			return len(all), err
		}},
		{"description of a tag", 1, func(v registry.View) (int, error) {
			_, err := v.TagInfo("demo", middleTag)
			return 1, err
		}},
		{"last moves of a tag", page, func(v registry.View) (int, error) {
			all, err := v.TagMoves("r0000", "moving", 0, page)
			return len(all), err
		}},
		{"moves of a tag in the middle", page, func(v registry.View) (int, error) {
			all, err := v.TagMoves("r0000", "moving", middleMove, page)
			return len(all), err
		}},
		{"newest manifests", page, func(v registry.View) (int, error) {
			all, err := v.Manifests("demo", 0, page)
			return len(all), err
		}},
		{"manifests in the middle", page, func(v registry.View) (int, error) {
			all, err := v.Manifests("demo", eventlog.Sequence(repositoryEvents+spreadEvents+tagCount+referrerCount), page)
			return len(all), err
		}},
		{"descriptions of repositories in the middle", page, func(v registry.View) (int, error) {
			all, err := v.RepositoryInfos("r0500", page)
			return len(all), err
		}},
		{"manifest of many references", 1, func(v registry.View) (int, error) {
			m, _, err := v.Manifest("r0000", primary("wide"))
			if m != nil {
				wide = m.Sequence
			}
			return 1, err
		}},
		{"references in the middle", page, func(v registry.View) (int, error) {
			all, err := v.References(wide, 500, page)
			return len(all), err
		}},
		{"manifests of a native form", page, func(v registry.View) (int, error) {
			all, err := v.NativeOf(primary("native of image"), page)
			return len(all), err
		}},
		{"first holders", page, func(v registry.View) (int, error) {
			all, err := v.Holders(primary("layer"), 0, page)
			return len(all), err
		}},
		{"holders of a blob in the middle", page, func(v registry.View) (int, error) {
			all, err := v.Holders(primary("layer"), 500, page)
			return len(all), err
		}},
		{"holders of a manifest in the middle", page, func(v registry.View) (int, error) {
			all, err := v.Holders(primary("image"), 500, page)
			return len(all), err
		}},
		{"first users", page, func(v registry.View) (int, error) {
			all, err := v.Users(digests("layer"), registry.UserPlace{}, page)
			if len(all) > 0 {
				place = all[0].Place
				place.Manifest = int64(repositoryEvents + spreadEvents + tagCount + referrerCount)
			}
			return len(all), err
		}},
		{"users in the middle of a repository", page, func(v registry.View) (int, error) {
			all, err := v.Users(digests("layer"), place, page)
			return len(all), err
		}},
		{"unfinished uploads in the middle", page, func(v registry.View) (int, error) {
			all, err := v.Uploads("u5", page)
			return len(all), err
		}},
	}
}
