package metastore

import (
	"maps"
	"slices"
	"strings"

	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// wanted is what the changes of a batch have named: it is read in one journey.
type wanted struct {
	repositories map[string]struct{}
	uploads      map[string]struct{}
	digests      map[identity.Algorithm]map[string]struct{}
	links        map[identity.Algorithm]map[pair]struct{} // blobs in a repository
	manifests    map[identity.Algorithm]map[pair]struct{}
	tags         map[pair]struct{}
	policies     bool // and what the clock says
}

// pair is something in a repository.
type pair struct{ repository, item string }

func newWanted(jobs []*job) *wanted {
	w := &wanted{
		repositories: map[string]struct{}{}, uploads: map[string]struct{}{}, tags: map[pair]struct{}{},
		digests:   map[identity.Algorithm]map[string]struct{}{},
		links:     map[identity.Algorithm]map[pair]struct{}{},
		manifests: map[identity.Algorithm]map[pair]struct{}{},
	}
	for _, a := range digestColumns {
		w.digests[a], w.links[a], w.manifests[a] = map[string]struct{}{}, map[pair]struct{}{}, map[pair]struct{}{}
	}
	for _, j := range jobs {
		w.add(j)
	}
	return w
}

func (w *wanted) add(j *job) {
	for _, id := range j.keys.Uploads {
		w.uploads[id] = struct{}{}
	}
	for _, d := range slices.Concat(j.keys.Digests, j.keys.Manifests) {
		if set := w.digests[d.Algorithm()]; set != nil {
			set[d.String()] = struct{}{}
		}
	}
	w.policies = w.policies || len(j.keys.Manifests)+len(j.keys.Tags) > 0
	for _, name := range j.keys.Repositories {
		w.repositories[name] = struct{}{}
		inRepository(w.links, name, j.keys.Digests)
		inRepository(w.manifests, name, j.keys.Manifests)
		for _, tag := range j.keys.Tags {
			w.tags[pair{name, tag}] = struct{}{}
		}
	}
}

func inRepository(wanted map[identity.Algorithm]map[pair]struct{}, name string, digests []identity.Digest) {
	for _, d := range digests {
		if set := wanted[d.Algorithm()]; set != nil {
			set[pair{name, d.String()}] = struct{}{}
		}
	}
}

// digestColumns are the algorithms that have a column of the table blobs.
var digestColumns = []identity.Algorithm{identity.BLAKE3, identity.SHA256, identity.SHA512}

// queries are the statements that read it all into a working set.
func (w *wanted) queries(s *working) []database.Query {
	var all []database.Query
	add := func(t *table, sql string, args ...any) {
		all = append(all, database.Query{SQL: sql, Args: args, Scan: func(r database.Rows) error {
			for r.Next() {
				s.meet(t, t.values(r))
			}
			return nil
		}})
	}
	if len(w.repositories) > 0 {
		add(repositories, "SELECT "+repositories.list("t")+" FROM repositories t WHERE t.name = ANY($1)", list(w.repositories))
	}
	if len(w.uploads) > 0 {
		add(uploads, "SELECT "+uploads.list("t")+" FROM uploads t WHERE t.id = ANY($1)", list(w.uploads))
	}
	for _, a := range digestColumns {
		column := string(a)
		if len(w.digests[a]) > 0 {
			add(blobs, "SELECT "+blobs.list("t")+" FROM blobs t WHERE t."+column+" = ANY($1)", list(w.digests[a]))
		}
		for t, wanted := range map[*table]map[pair]struct{}{links: w.links[a], manifests: w.manifests[a], graves: w.manifests[a]} {
			if len(wanted) == 0 {
				continue
			}
			names, items := split(wanted)
			add(t, "SELECT "+t.list("t")+asked+" JOIN blobs b ON b."+column+" = k.item"+
				lookUp(t, "t", "repository_id = r.id", "blob_id = b.id"), names, items)
		}
	}
	if w.policies {
		add(policies, "SELECT "+policies.list("t")+" FROM policies t")
		add(clock, "SELECT "+clock.list("t")+" FROM clock t")
	}
	if len(w.tags) > 0 {
		names, items := split(w.tags)
		tagged := asked + lookUp(tags, "g", "repository_id = r.id", "name = k.item")
		add(tags, "SELECT "+tags.list("g")+tagged, names, items)
		add(blobs, "SELECT "+blobs.list("t")+tagged+lookUp(blobs, "t", "id = g.blob_id"), names, items)
		add(manifests, "SELECT "+manifests.list("t")+tagged+
			lookUp(manifests, "t", "repository_id = g.repository_id", "blob_id = g.blob_id"), names, items)
	}
	return all
}

// asked begins a statement that reads something of pairs.
const asked = " FROM unnest($1::text[], $2::text[]) AS k(name, item) JOIN repositories r ON r.name = k.name"

// lookUp joins the one row of a table that has a key. As a plain join it could
// walk through all rows that have the first column of the key, which the planner
// takes for cheap while its statistics are behind.
func lookUp(t *table, as string, key ...string) string {
	return " CROSS JOIN LATERAL (SELECT * FROM " + t.Name + " x WHERE x." + strings.Join(key, " AND x.") + " LIMIT 1) " + as
}

// settle remembers, once the queries were run, what is not there.
func (w *wanted) settle(s *working) {
	for name := range w.repositories {
		s.lacksBy(repositories, "name", name)
	}
	for id := range w.uploads {
		s.lacks(uploads, id)
	}
	if w.policies {
		s.lacks(policies, fact.SourceAdmin)
		s.lacks(policies, fact.SourceConfiguration)
		s.lacks(clock, int64(1))
	}
	for _, a := range digestColumns {
		for d := range w.digests[a] {
			s.lacksBy(blobs, string(a), d)
		}
		for t, wanted := range map[*table]map[pair]struct{}{links: w.links[a], manifests: w.manifests[a], graves: w.manifests[a]} {
			for p := range wanted {
				r, b := s.here(repositories, "name", p.repository), s.here(blobs, string(a), p.item)
				if r != nil && b != nil {
					s.lacks(t, r[0], b[0])
				}
			}
		}
	}
	for p := range w.tags {
		if r := s.here(repositories, "name", p.repository); r != nil {
			s.lacks(tags, r[0], p.item)
		}
	}
}

// here returns the row in which a unique column has a value, if it is known.
func (s *working) here(t *table, column, value string) []any {
	r := s.of(t)
	return r.byKey[r.unique[t.uniqueIndex(column)][value]]
}

// list is the columns of a table that has a name of its own in a statement.
func (t *table) list(as string) string {
	return as + "." + strings.Join(t.Columns, ", "+as+".")
}

func list(set map[string]struct{}) []string { return slices.Collect(maps.Keys(set)) }

func split(set map[pair]struct{}) (names, items []string) {
	for p := range set {
		names, items = append(names, p.repository), append(items, p.item)
	}
	return names, items
}
