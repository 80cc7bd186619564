package metastore

import (
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var blobs = newTable("blobs", "blobs", 1, 1, []string{"blake3", "sha256", "sha512"},
	"id", "blake3", "sha256", "sha512", "size", "store", "locator", "content", "created", "due", "verified", "damaged").writtenPartly()

// blobRow is a row of the view.
type blobRow struct {
	id      int64
	digests identity.DigestSet
	size    int64
	receipt fact.Receipt
	content int64 // 0: not a content row
	created int64
	due     int64 // 0: not condemned
	verified,
	damaged int64
}

func (b *blobRow) put() (edit, error) {
	var columns [3]any
	for i, a := range []identity.Algorithm{identity.BLAKE3, identity.SHA256, identity.SHA512} {
		d, ok := b.digests.Get(a)
		if ok {
			columns[i] = d.String()
		} else if a != identity.SHA512 {
			return edit{}, fmt.Errorf("blob %s has no %s digest", b.digests.Primary(), a)
		}
	}
	var content any
	if b.content != 0 {
		content = b.content
	}
	return blobs.put(b.id, columns[0], columns[1], columns[2], b.size,
		b.receipt.Store, b.receipt.Locator, content, b.created, b.due, b.verified, b.damaged), nil
}

// keep says that an event put the bytes where the receipt says.
func (b *blobRow) keep(r fact.Receipt, e *eventlog.Event) {
	b.receipt, b.content, b.verified, b.damaged = r, 0, 0, 0
	if r.Store == fact.Content {
		b.content = int64(e.Sequence)
	}
}

func applyBlobs(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	var row blobRow
	var err error
	switch f := f.(type) {
	case *fact.BlobStored:
		row = blobRow{id: int64(e.Sequence), digests: f.Digests, size: f.Size, created: e.Time}
		row.keep(f.Receipt, e)
	case *fact.BlobIdentified:
		if row, err = s.blobRow(f.Blob); err == nil {
			row.digests = row.digests.With(f.Digest)
		}
	case *fact.BlobMoved:
		if row, err = s.blobRow(f.Blob); err == nil {
			row.keep(f.To, e)
		}
	case *fact.BlobLinked:
		return s.spareBlobs(f.Blob)
	case *fact.ManifestPut:
		return s.spareBlobs(f.Manifest, f.Native)
	case *fact.BlobCondemned:
		if f.Repository != "" {
			return nil, nil
		}
		if row, err = s.blobRow(f.Blob); err == nil {
			row.due = f.Due
		}
	case *fact.BlobForgotten:
		id, err := s.blobID(f.Blob)
		return []edit{blobs.delete(id)}, err
	case *fact.LocationDamaged:
		if row, err = s.blobRow(f.Blob); err == nil {
			row.damaged = int64(e.Sequence)
		}
	case *fact.LocationVerified:
		return s.verifyBlobs(f.Blobs, e.Time)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	put, err := row.put()
	return []edit{put}, err
}

// spareBlobs takes back that byte sequences were condemned.
func (s *working) spareBlobs(digests ...identity.Digest) (edits []edit, err error) {
	for _, d := range digests {
		row, err := s.blobRow(d)
		if err != nil {
			return nil, err
		}
		if row.due == 0 {
			continue
		}
		row.due = 0
		put, err := row.put()
		if err != nil {
			return nil, err
		}
		edits = append(edits, put)
	}
	return edits, nil
}

func (s *working) verifyBlobs(digests []identity.Digest, at int64) (edits []edit, err error) {
	for _, d := range digests {
		row, err := s.blobRow(d)
		if err != nil {
			return nil, err
		}
		row.verified, row.damaged = at, 0
		put, err := row.put()
		if err != nil {
			return nil, err
		}
		edits = append(edits, put)
	}
	return edits, nil
}

// blobColumns are what scanBlob reads, of the table blobs under the name b.
const blobColumns = "b.id, b.blake3, b.sha256, b.sha512, b.size, b.store, b.locator, b.content, b.created, b.due, b.verified, b.damaged"

// pastBlob is the column behind them.
const pastBlob = 12

// scanBlob reads blobColumns.
func scanBlob(r database.Rows) (blobRow, error) {
	row := blobRow{
		id: r.Int(0), size: r.Int(4),
		receipt: fact.Receipt{Store: r.Text(5), Locator: r.Text(6)},
		content: r.Int(7), created: r.Int(8), due: r.Int(9), verified: r.Int(10), damaged: r.Int(11),
	}
	var all []identity.Digest
	for column := 1; column <= 3; column++ {
		d, err := parseDigest(r.Text(column))
		if err != nil {
			return row, fmt.Errorf("blob %d: %w", row.id, err)
		}
		if !d.IsZero() {
			all = append(all, d)
		}
	}
	var err error
	row.digests, err = identity.NewSet(all...)
	return row, err
}

func (b *blobRow) blob() registry.Blob {
	return registry.Blob{
		Sequence: eventlog.Sequence(b.id), Digests: b.digests, Size: b.size,
		Receipt: b.receipt, Content: eventlog.Sequence(b.content), Stored: time.UnixMicro(b.created).UTC(),
		Due: instant(b.due), Verified: instant(b.verified), Damaged: b.damaged != 0,
	}
}

// rowOfBlob reads a row of the table.
func rowOfBlob(row []any) (blobRow, error) { return scanBlob(&values{row}) }

func (s *working) blobRow(d identity.Digest) (blobRow, error) {
	row, err := s.blob(d)
	if err == nil && row == nil {
		err = fmt.Errorf("blob %s: %w", d, errUnknownRow)
	}
	if err != nil {
		return blobRow{}, err
	}
	return rowOfBlob(row)
}

// Blob implements registry.BlobView.
func (v *view) Blob(d identity.Digest) (*registry.Blob, error) {
	column, err := digestColumn(d)
	if err != nil {
		return nil, nil // no blob has it
	}
	var row blobRow
	found, err := one(v.conn, func(r database.Rows) (err error) { row, err = scanBlob(r); return err },
		"SELECT "+blobColumns+" FROM blobs b WHERE b."+column+" = $1", d.String())
	if err != nil || !found {
		return nil, err
	}
	b := row.blob()
	return &b, nil
}

// LinkedBlob implements registry.BlobView.
func (v *view) LinkedBlob(repository string, d identity.Digest) (*registry.Blob, []byte, error) {
	column, err := digestColumn(d)
	if err != nil {
		return nil, nil, nil
	}
	var row blobRow
	var content []byte
	found, err := one(v.conn, func(r database.Rows) (err error) {
		row, err = scanBlob(r)
		content = r.Bytes(pastBlob)
		row.due = r.Int(pastBlob + 1)
		return err
	}, "SELECT "+blobColumns+`, o.bytes, l.due
		FROM blobs b
		JOIN repositories r ON r.name = $1
		JOIN links l ON l.repository_id = r.id AND l.blob_id = b.id
		LEFT JOIN objects o ON o.sequence = b.content
		WHERE b.`+column+" = $2", repository, d.String())
	if err != nil || !found {
		return nil, nil, err
	}
	b := row.blob()
	return &b, content, nil
}
