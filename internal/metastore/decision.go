package metastore

import (
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// decision is the view of a decide: what a decide usually asks is answered from
// the working set, so that it costs no journey to the database if the Update has
// named it before. Everything else is that of view, which then sees what was
// changed before in the batch. Content rows are left out: no decision reads them.
type decision struct {
	*view
	batch   *batch
	working *working
	// clock is the time by the clock of a shared database, read ours at that
	// moment. It may go back, other than that of events.
	clock, read time.Time
}

// newDecision returns what a decide sees of a batch.
func newDecision(b *batch, now time.Time) *decision {
	return &decision{
		view:    &view{conn: b.state.all(), now: now, secret: b.store.secret},
		batch:   b,
		working: b.state, clock: micro(b.clock), read: b.read,
	}
}

var _ registry.View = (*decision)(nil)

// RepositoryExists implements registry.RepositoryView.
func (v *decision) RepositoryExists(name string) (bool, error) {
	row, err := v.working.rowBy(repositories, "name", name)
	return row != nil, err
}

// RepositoryState implements registry.LifeView.
func (v *decision) RepositoryState(name string) (*registry.RepositoryState, error) {
	row, err := v.working.rowBy(repositories, "name", name)
	if err != nil || row == nil {
		return nil, err
	}
	at := &values{row}
	return &registry.RepositoryState{ID: at.Int(0), Name: at.Text(1), Holds: at.Int(3), Deleted: instant(at.Int(4)), Lost: at.Int(5)}, nil
}

// Policies implements registry.LifeView.
func (v *decision) Policies() (all []registry.Policies, err error) {
	for _, source := range []string{fact.SourceAdmin, fact.SourceConfiguration} {
		row, err := v.working.row(policies, source)
		if err != nil {
			return nil, err
		}
		if row == nil {
			continue
		}
		p, err := scanPolicies(&values{row})
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Link implements registry.LifeView.
func (v *decision) Link(repository string, primary identity.Digest) (*registry.Link, error) {
	r, b, err := v.pair(repository, primary)
	if err != nil || b == nil {
		return nil, err
	}
	row, err := v.working.row(links, r, b[0])
	if err != nil || row == nil {
		return nil, err
	}
	l := scanLink(&values{row}, 2)
	return &l, nil
}

// Grave implements registry.LifeView.
func (v *decision) Grave(repository string, d identity.Digest) (*registry.Grave, error) {
	r, b, err := v.pair(repository, d)
	if err != nil || b == nil {
		return nil, err
	}
	row, err := v.working.row(graves, r, b[0])
	if err != nil || row == nil {
		return nil, err
	}
	m, err := manifestOf(b, row)
	if err != nil {
		return nil, err
	}
	at := &values{row}
	return &registry.Grave{Manifest: *m, Deleted: instant(at.Int(len(manifests.Columns))), By: eventlog.Sequence(at.Int(len(manifests.Columns) + 1))}, nil
}

// ClockJump implements registry.LifeView.
func (v *decision) ClockJump() (*registry.ClockJump, error) {
	row, err := v.working.row(clock, int64(1))
	if err != nil || row == nil {
		return nil, err
	}
	at := &values{row}
	return &registry.ClockJump{Since: instant(at.Int(1)), Until: instant(at.Int(2)), Sequence: eventlog.Sequence(at.Int(3))}, nil
}

// Head implements registry.LifeView. Changes that were made before in the batch
// count.
func (v *decision) Head() (eventlog.Sequence, error) { return v.batch.head.Sequence, nil }

// Blob implements registry.BlobView.
func (v *decision) Blob(d identity.Digest) (*registry.Blob, error) {
	values, err := v.working.blob(d)
	if err != nil || values == nil {
		return nil, err
	}
	row, err := rowOfBlob(values)
	b := row.blob()
	return &b, err
}

// Linked implements registry.BlobView.
func (v *decision) Linked(repository string, primary identity.Digest) (bool, error) {
	r, b, err := v.pair(repository, primary)
	if err != nil || b == nil {
		return false, err
	}
	row, err := v.working.row(links, r, b[0])
	return row != nil, err
}

// pair returns the id of a repository and the row of a blob; without either the
// row is nil.
func (v *decision) pair(repository string, d identity.Digest) (id any, blob []any, err error) {
	row, err := v.working.rowBy(repositories, "name", repository)
	if err != nil || row == nil {
		return nil, nil, err
	}
	blob, err = v.working.blob(d)
	return row[0], blob, err
}

// Manifest implements registry.ManifestView.
func (v *decision) Manifest(repository string, d identity.Digest) (*registry.Manifest, []byte, error) {
	r, b, err := v.pair(repository, d)
	if err != nil || b == nil {
		return nil, nil, err
	}
	m, err := v.manifest(r, b)
	return m, nil, err
}

// manifest returns a manifest by the id of its repository and the row of its
// bytes, or nil.
func (v *decision) manifest(repository any, blob []any) (*registry.Manifest, error) {
	m, err := v.working.row(manifests, repository, blob[0])
	if err != nil || m == nil {
		return nil, err
	}
	return manifestOf(blob, m)
}

// TaggedManifest implements registry.ManifestView.
func (v *decision) TaggedManifest(repository, tag string) (*registry.Manifest, *registry.Tag, []byte, error) {
	t, r, b, err := v.tag(repository, tag)
	if err != nil || t == nil {
		return nil, nil, nil, err
	}
	m, err := v.manifest(r, b)
	if err != nil || m == nil {
		return nil, nil, nil, err
	}
	return m, t, nil, nil
}

// Tag implements registry.TagView.
func (v *decision) Tag(repository, name string) (*registry.Tag, error) {
	t, _, _, err := v.tag(repository, name)
	return t, err
}

// tag returns a tag with the id of its repository and the row of its bytes.
func (v *decision) tag(repository, name string) (t *registry.Tag, id any, blob []any, err error) {
	row, err := v.working.rowBy(repositories, "name", repository)
	if err != nil || row == nil {
		return nil, nil, nil, err
	}
	id = row[0]
	if row, err = v.working.row(tags, id, name); err != nil || row == nil {
		return nil, nil, nil, err
	}
	if blob, err = v.working.row(blobs, row[2]); err != nil || blob == nil {
		return nil, nil, nil, err
	}
	b, err := rowOfBlob(blob)
	if err != nil {
		return nil, nil, nil, err
	}
	t = &registry.Tag{Name: name, Manifest: b.digests.Primary()}
	t.Digest, err = identity.Parse(row[3].(string))
	return t, id, blob, err
}

// Upload implements registry.UploadView.
func (v *decision) Upload(id string) (*registry.Upload, error) {
	row, err := v.working.row(uploads, id)
	if err != nil || row == nil {
		return nil, err
	}
	u, err := scanUpload(&values{row})
	return &u, err
}

// values are the columns of one row as database.Rows has them.
type values struct{ row []any }

func (v *values) Next() bool { return false }

func (v *values) Int(column int) int64 {
	n, _ := v.row[column].(int64)
	return n
}

func (v *values) Text(column int) string {
	text, _ := v.row[column].(string)
	return text
}

func (v *values) Bytes(column int) []byte {
	data, _ := v.row[column].([]byte)
	return data
}

func (v *values) Value(column int) any { return v.row[column] }
func (v *values) Close() error         { return nil }
