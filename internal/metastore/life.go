package metastore

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// This file answers what the sweep, the scrub and retention ask. Passes over a
// table go on behind a key, and read as many rows as they are told, whatever
// they find.

const linkColumns = "l.linked, l.due"

func scanLink(r database.Rows, column int) registry.Link {
	return registry.Link{Linked: instant(r.Int(column)), Due: instant(r.Int(column + 1))}
}

// Link implements registry.LifeView.
func (v *view) Link(repository string, primary identity.Digest) (*registry.Link, error) {
	column, err := digestColumn(primary)
	if err != nil {
		return nil, nil
	}
	return first(v, func(r database.Rows) (registry.Link, error) { return scanLink(r, 0), nil },
		"SELECT "+linkColumns+` FROM blobs b
		JOIN repositories r ON r.name = $1
		JOIN links l ON l.repository_id = r.id AND l.blob_id = b.id
		WHERE b.`+column+" = $2", repository, primary.String())
}

// referenced is whether a manifest of a repository, or a deleted one, references
// a blob b by any of its digests. Each is one probe of an index.
func referenced(repository string) string {
	probe := func(column string) string {
		return "EXISTS (SELECT 1 FROM manifest_references f WHERE f.digest = b." + column + " AND f.repository_id = " + repository + ")"
	}
	return "(" + probe("blake3") + " OR " + probe("sha256") + " OR b.sha512 IS NOT NULL AND " + probe("sha512") + ")"
}

// truth is a condition as a column.
func truth(condition string) string { return "CASE WHEN " + condition + " THEN 1 ELSE 0 END" }

var linkItem = "SELECT " + stateColumns + ", " + blobColumns + ", " + linkColumns + ", " + truth(referenced("l.repository_id"))

func scanLinkItem(r database.Rows) (registry.LinkItem, error) {
	b, err := scanBlob(shifted{r, pastState})
	const past = pastState + pastBlob
	return registry.LinkItem{Repository: scanState(r, 0), Blob: b.blob(), Link: scanLink(r, past), Used: r.Int(past+2) != 0}, err
}

// shifted are rows whose columns begin later.
type shifted struct {
	database.Rows
	by int
}

func (s shifted) Int(column int) int64    { return s.Rows.Int(column + s.by) }
func (s shifted) Text(column int) string  { return s.Rows.Text(column + s.by) }
func (s shifted) Bytes(column int) []byte { return s.Rows.Bytes(column + s.by) }
func (s shifted) Value(column int) any    { return s.Rows.Value(column + s.by) }

// Links implements registry.LifeView.
func (v *view) Links(after registry.LinkPlace, limit int) ([]registry.LinkItem, error) {
	return collect(v, scanLinkItem, linkItem+`
		FROM (SELECT * FROM links WHERE (repository_id, blob_id) > ($1, $2) ORDER BY repository_id, blob_id LIMIT $3) l
		JOIN repositories r ON r.id = l.repository_id
		JOIN blobs b ON b.id = l.blob_id
		ORDER BY l.repository_id, l.blob_id`, after.Repository, after.Blob, int64(limit))
}

// LinksIn implements registry.LifeView.
func (v *view) LinksIn(repository string, after int64, limit int) ([]registry.LinkItem, error) {
	return collect(v, scanLinkItem, linkItem+`
		FROM (SELECT * FROM links WHERE repository_id = `+repositoryNamed+` AND blob_id > $2 ORDER BY blob_id LIMIT $3) l
		JOIN repositories r ON r.id = l.repository_id
		JOIN blobs b ON b.id = l.blob_id
		ORDER BY l.blob_id`, repository, after, int64(limit))
}

// Used implements registry.LifeView.
func (v *view) Used(repository string, digests identity.DigestSet) (bool, error) {
	id, err := v.repositoryID(repository)
	if err != nil || id == 0 {
		return false, err
	}
	for _, d := range digests {
		used, err := one(v.conn, func(database.Rows) error { return nil },
			"SELECT 1 FROM manifest_references WHERE digest = $1 AND repository_id = $2 LIMIT 1", d.String(), id)
		if err != nil || used {
			return used, err
		}
	}
	return false, nil
}

// kept is whether anything keeps a blob b.
const kept = `(EXISTS (SELECT 1 FROM links l WHERE l.blob_id = b.id)
	OR EXISTS (SELECT 1 FROM manifests m WHERE m.blob_id = b.id)
	OR EXISTS (SELECT 1 FROM manifests m WHERE m.native = b.blake3)
	OR EXISTS (SELECT 1 FROM graves g WHERE g.blob_id = b.id)
	OR EXISTS (SELECT 1 FROM graves g WHERE g.native = b.blake3))`

// BlobItems implements registry.LifeView.
func (v *view) BlobItems(after eventlog.Sequence, limit int) ([]registry.BlobItem, error) {
	return collect(v, func(r database.Rows) (registry.BlobItem, error) {
		b, err := scanBlob(r)
		return registry.BlobItem{Blob: b.blob(), Kept: r.Int(pastBlob) != 0}, err
	}, "SELECT "+blobColumns+", "+truth(kept)+`
		FROM (SELECT * FROM blobs WHERE id > $1 ORDER BY id LIMIT $2) b ORDER BY b.id`, int64(after), int64(limit))
}

// Kept implements registry.LifeView.
func (v *view) Kept(b *registry.Blob) (bool, error) {
	return one(v.conn, func(database.Rows) error { return nil },
		"SELECT 1 FROM blobs b WHERE b.id = $1 AND "+kept, int64(b.Sequence))
}

// Keepers implements registry.LifeView.
func (v *view) Keepers(b *registry.Blob, limit int) (n int, err error) {
	_, err = one(v.conn, func(r database.Rows) error { n = int(r.Int(0)); return nil }, `SELECT count(*) FROM (
			SELECT 1 AS one FROM links WHERE blob_id = $1
			UNION ALL SELECT 1 FROM manifests WHERE blob_id = $1
			UNION ALL SELECT 1 FROM manifests WHERE native = $2
			UNION ALL SELECT 1 FROM graves WHERE blob_id = $1
			UNION ALL SELECT 1 FROM graves WHERE native = $2
			LIMIT $3) k`, int64(b.Sequence), b.Digests.Primary().String(), int64(limit))
	return n, err
}

// DamagedBlobs implements registry.LifeView.
func (v *view) DamagedBlobs(after eventlog.Sequence, limit int) ([]registry.Blob, error) {
	return collect(v, func(r database.Rows) (registry.Blob, error) {
		b, err := scanBlob(r)
		return b.blob(), err
	}, "SELECT "+blobColumns+" FROM blobs b WHERE b.damaged <> 0 AND b.id > $1 ORDER BY b.id LIMIT $2", int64(after), int64(limit))
}

// Parents implements registry.LifeView.
func (v *view) Parents(repository string, set identity.DigestSet, limit int) ([]registry.Edge, error) {
	id, err := v.repositoryID(repository)
	if err != nil || id == 0 {
		return nil, err
	}
	var all []registry.Edge
	for _, table := range []string{"manifests", "graves"} {
		for _, d := range set {
			if len(all) >= limit {
				break
			}
			more, err := collect(v, func(r database.Rows) (registry.Edge, error) {
				e := registry.Edge{Role: r.Text(2), Deleted: table == "graves"}
				return e, digests(r, map[int]*identity.Digest{0: &e.Manifest, 1: &e.Digest})
			}, `SELECT b.blake3, m.digest, f.role FROM manifest_references f
				JOIN `+table+` m ON m.id = f.manifest_id
				JOIN blobs b ON b.id = m.blob_id
				WHERE f.digest = $1 AND f.repository_id = $2 ORDER BY f.manifest_id, f.ordinal LIMIT $3`,
				d.String(), id, int64(limit-len(all)))
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

// ReferenceCount implements registry.LifeView.
func (v *view) ReferenceCount(manifest eventlog.Sequence) (n int, err error) {
	_, err = one(v.conn, func(r database.Rows) error { n = int(r.Int(0)); return nil },
		"SELECT count(*) FROM manifest_references WHERE manifest_id = $1", int64(manifest))
	return n, err
}

// TagStates implements registry.LifeView. A tag's last move is in its history.
func (v *view) TagStates(repository, after string, limit int) ([]registry.TagState, error) {
	return collect(v, scanTagState, tagStates+" AND t.name > $2 ORDER BY t.name LIMIT $3", repository, after, int64(limit))
}

const tagStates = `SELECT t.name, h.time FROM tags t
	JOIN tag_history h ON h.repository_id = t.repository_id AND h.name = t.name AND h.sequence = t.moved
	WHERE t.repository_id = ` + repositoryNamed

func scanTagState(r database.Rows) (registry.TagState, error) {
	return registry.TagState{Name: r.Text(0), Moved: micro(r.Int(1))}, nil
}

// ManifestItems implements registry.LifeView.
func (v *view) ManifestItems(repository string, after eventlog.Sequence, limit, tags int) ([]registry.ManifestItem, error) {
	state, err := v.RepositoryState(repository)
	if err != nil || state == nil {
		return nil, err
	}
	page, err := v.ManifestsAfter(repository, after, limit)
	if err != nil {
		return nil, err
	}
	items := make([]registry.ManifestItem, len(page))
	for i := range page {
		if items[i], err = v.manifestItem(*state, page[i], tags); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func scanWholeManifest(r database.Rows) (registry.Manifest, error) {
	m, err := scanManifest(r)
	if err != nil {
		return registry.Manifest{}, err
	}
	return *m, nil
}

const manifestsAfter = "SELECT " + blobColumns + ", " + manifestColumns + `
	FROM manifests m
	JOIN blobs b ON b.id = m.blob_id
	WHERE m.repository_id = ` + repositoryNamed + " AND m.id > $2 "

// ManifestsAfter implements registry.LifeView.
func (v *view) ManifestsAfter(repository string, after eventlog.Sequence, limit int) ([]registry.Manifest, error) {
	return collect(v, scanWholeManifest, manifestsAfter+"ORDER BY m.id LIMIT $3", repository, int64(after), int64(limit))
}

// Ending implements registry.LifeView.
func (v *view) Ending(repository string, after eventlog.Sequence, limit int) ([]registry.Manifest, error) {
	return collect(v, scanWholeManifest, manifestsAfter+"AND (m.expires <> 0 OR m.marked <> 0) ORDER BY m.id LIMIT $3",
		repository, int64(after), int64(limit))
}

// ManifestItem implements registry.LifeView.
func (v *view) ManifestItem(repository string, d identity.Digest, tags int) (*registry.ManifestItem, error) {
	m, _, err := v.Manifest(repository, d)
	if err != nil || m == nil {
		return nil, err
	}
	state, err := v.RepositoryState(repository)
	if err != nil || state == nil {
		return nil, err
	}
	item, err := v.manifestItem(*state, *m, tags)
	return &item, err
}

func (v *view) manifestItem(state registry.RepositoryState, m registry.Manifest, tags int) (registry.ManifestItem, error) {
	item := registry.ManifestItem{Repository: state, Manifest: m}
	var err error
	item.Tags, err = collect(v, scanTagState, tagStates+" AND t.blob_id = $2 ORDER BY t.name LIMIT $3",
		state.Name, int64(m.Blob.Sequence), int64(tags))
	if err != nil {
		return item, err
	}
	item.Child, err = v.hasParent(state.ID, m.Blob.Digests)
	if err != nil || m.Subject.IsZero() {
		return item, err
	}
	subject, _, err := v.Manifest(state.Name, m.Subject)
	item.SubjectLives = subject != nil
	return item, err
}

// hasParent tells whether a manifest of the repository that is not deleted
// references one of the digests.
func (v *view) hasParent(repository int64, digests identity.DigestSet) (bool, error) {
	for _, d := range digests {
		found, err := one(v.conn, func(database.Rows) error { return nil },
			`SELECT 1 FROM manifest_references f
			JOIN manifests m ON m.id = f.manifest_id
			WHERE f.digest = $1 AND f.repository_id = $2 LIMIT 1`, d.String(), repository)
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// Pass implements registry.LifeView.
func (v *view) Pass(name string) ([]byte, error) {
	var state []byte
	_, err := one(v.conn, func(r database.Rows) error { state = []byte(r.Text(0)); return nil },
		"SELECT state FROM passes WHERE name = $1", name)
	return state, err
}

// Event implements registry.LifeView.
func (v *view) Event(s eventlog.Sequence) (*eventlog.Event, error) {
	page, err := v.EventsAfter(s-1, 1)
	if err != nil || s == 0 || len(page) == 0 || page[0].Sequence != s {
		return nil, err
	}
	return &page[0], nil
}

// EventsAfter implements registry.LifeView.
func (v *view) EventsAfter(s eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	return readEvents(v.conn, s, limit)
}

// Head implements registry.LifeView.
func (v *view) Head() (eventlog.Sequence, error) {
	h, err := readHead(v.conn)
	return h.Sequence, err
}

// working state

func scanPlan(r database.Rows) (registry.Plan, error) {
	return registry.Plan{ID: r.Text(0), Sequence: eventlog.Sequence(r.Int(1)), Created: micro(r.Int(2)), State: r.Text(3), Summary: []byte(r.Text(4))}, nil
}

// Plan implements registry.PlanView.
func (v *view) Plan(id string) (*registry.Plan, error) {
	return first(v, scanPlan, "SELECT id, sequence, created, state, summary FROM plans WHERE id = $1", id)
}

// PlanPage implements registry.PlanView.
func (v *view) PlanPage(before time.Time, id string, limit int) ([]registry.Plan, error) {
	at := beforeOrEnd(0)
	if !before.IsZero() {
		at = before.UnixMicro()
	}
	return collect(v, scanPlan, `SELECT id, sequence, created, state, summary FROM plans
		WHERE (created, id) < ($1, $2) ORDER BY created DESC, id DESC LIMIT $3`, at, id, int64(limit))
}

// PlanItems implements registry.PlanView.
func (v *view) PlanItems(id, action string, after int64, limit int) ([]registry.PlanItem, error) {
	return collect(v, func(r database.Rows) (registry.PlanItem, error) {
		item := registry.PlanItem{Ordinal: r.Int(0), Repository: r.Text(1), Action: r.Text(3), Item: []byte(r.Text(4))}
		return item, digests(r, map[int]*identity.Digest{2: &item.Manifest})
	}, `SELECT ordinal, repository, manifest, action, item FROM plan_items
		WHERE plan = $1 AND ordinal > $2 AND ($3 = '' OR action = $3) ORDER BY ordinal LIMIT $4`, id, after, action, int64(limit))
}

// PlanAction implements registry.PlanView.
func (v *view) PlanAction(id, repository string, manifest identity.Digest) (action string, err error) {
	_, err = one(v.conn, func(r database.Rows) error { action = r.Text(0); return nil },
		"SELECT action FROM plan_items WHERE plan = $1 AND repository = $2 AND manifest = $3 LIMIT 1", id, repository, manifest.String())
	return action, err
}

// PlanNames implements registry.PlanView.
func (v *view) PlanNames(id, repository string) (bool, error) {
	return one(v.conn, func(database.Rows) error { return nil },
		"SELECT 1 FROM plan_items WHERE plan = $1 AND repository = $2 LIMIT 1", id, repository)
}

// writeWorking returns the statements of changes of working state.
func writeWorking(w *registry.Working, now int64) (all []statement) {
	for name, state := range w.Passes {
		if state == nil {
			all = append(all, statement{"DELETE FROM passes WHERE name = $1", []any{name}})
			continue
		}
		all = append(all, statement{`INSERT INTO passes (name, state) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET state = excluded.state`, []any{name, string(state)}})
	}
	for _, p := range w.Plans {
		all = append(all, statement{`INSERT INTO plans (id, sequence, created, state, summary) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, state = excluded.state, summary = excluded.summary`,
			[]any{p.ID, int64(p.Sequence), p.Created.UnixMicro(), p.State, string(p.Summary)}})
	}
	for plan, items := range w.PlanItems {
		for some := range slices.Chunk(items, itemsOfStatement) {
			all = append(all, insertItems(plan, some))
		}
	}
	for _, cut := range w.DropItems {
		all = append(all, dropItems(cut))
	}
	for _, id := range w.DropPlans {
		all = append(all, statement{"DELETE FROM plan_items WHERE plan = $1", []any{id}}, statement{"DELETE FROM plans WHERE id = $1", []any{id}})
	}
	for sequence, content := range w.Contents {
		all = append(all, statement{`INSERT INTO objects (sequence, bytes) VALUES ($1, $2)
			ON CONFLICT (sequence) DO UPDATE SET bytes = excluded.bytes`, []any{int64(sequence), content}})
	}
	if w.Heartbeat {
		all = append(all, statement{`INSERT INTO state (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = CASE WHEN state.value > excluded.value THEN state.value ELSE excluded.value END`,
			[]any{flagClock, now}})
	}
	return all
}

// itemsOfStatement is how many items of a plan one statement writes.
const itemsOfStatement = 100

func insertItems(plan string, items []registry.PlanItem) statement {
	var values []string
	args := []any{plan}
	for _, item := range items {
		n := len(args)
		values = append(values, fmt.Sprintf("($1, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5))
		args = append(args, item.Ordinal, item.Repository, item.Manifest.String(), item.Action, string(item.Item))
	}
	return statement{"INSERT INTO plan_items (plan, ordinal, repository, manifest, action, item) VALUES " + strings.Join(values, ", "), args}
}

func dropItems(cut registry.PlanCut) statement {
	const remove = "DELETE FROM plan_items WHERE plan = $1 AND ordinal IN (SELECT ordinal FROM plan_items WHERE plan = $1 "
	if cut.Repository == "" {
		return statement{remove + "ORDER BY ordinal LIMIT $2)", []any{cut.Plan, int64(cut.Limit)}}
	}
	return statement{remove + "AND repository = $2 LIMIT $3)", []any{cut.Plan, cut.Repository, int64(cut.Limit)}}
}
