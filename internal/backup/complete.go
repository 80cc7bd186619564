package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// complete looks whether the copy has the bytes of everything that its views
// name, and copies what is absent: because it could not be had when its event was
// copied, now or by an earlier Run, or because somebody removed it from the copy.
// What is not to be had goes into the result, unless a later event of the source
// has brought it to another place: then complete returns true.
func (c *copier) complete(ctx context.Context) (moved bool, err error) {
	c.result.Damaged, c.result.Damages, c.at.Checked = 0, nil, 0
	movedObjects, err := c.completeObjects(ctx)
	if err != nil {
		return false, err
	}
	movedRows, err := c.findRows(ctx)
	return movedObjects || movedRows, err
}

// completeObjects goes through all objects, in pages.
func (c *copier) completeObjects(ctx context.Context) (moved bool, err error) {
	after := eventlog.Sequence(0)
	for {
		page, err := c.to.Ledger.Objects(ctx, after, pageEvents)
		if err != nil || len(page) == 0 {
			return moved, err
		}
		after = page[len(page)-1].Sequence
		absent, err := c.absent(ctx, page)
		if err != nil {
			return moved, err
		}
		c.tell(func(p *Progress) { p.Checked += len(page) })
		if err := c.copyAll(ctx, absent); err != nil {
			return moved, err
		}
		for i := range absent {
			w := &absent[i]
			if w.problem == nil {
				continue
			}
			elsewhere, err := c.elsewhere(ctx, w.digests.Primary(), w.receipt, 0)
			if err != nil {
				return moved, err
			}
			moved = moved || elsewhere
			c.damage(Damage{Subject: subject(w.digests), Receipt: w.receipt, Sequence: w.sequence, Problem: problem(w.problem)})
		}
	}
}

// lookers look for objects at the same time: each mostly waits for an answer.
const lookers = 16

// absent returns those objects that the copy does not have whole.
func (c *copier) absent(ctx context.Context, page []metastore.Stored) ([]want, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	missing := make([]bool, len(page))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(lookers, len(page)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(page)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				whole, err := c.isWhole(ctx, &page[i])
				if err != nil {
					cancel(err)
				}
				missing[i] = !whole
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var absent []want
	for i, s := range page {
		if missing[i] {
			absent = append(absent, want{sequence: s.Sequence, digests: s.Digests, size: s.Size, receipt: s.Receipt})
		}
	}
	return absent, nil
}

// isWhole tells whether the copy has an object with the right size.
func (c *copier) isWhole(ctx context.Context, s *metastore.Stored) (bool, error) {
	driver := c.to.Objects[s.Receipt.Store]
	if driver == nil {
		return false, fmt.Errorf("store %q is not configured", s.Receipt.Store)
	}
	size, err := driver.Size(ctx, s.Receipt.Locator)
	if err != nil && !errors.Is(err, storagedriver.ErrNotExist) {
		return false, fmt.Errorf("look for object %s in the copy: %w", s.Receipt.Locator, err)
	}
	return err == nil && size == s.Size, nil
}

// findRows looks for content rows that the copy does not have. A row is written
// with its event or never, so there is nothing to copy: only another event helps.
func (c *copier) findRows(ctx context.Context) (moved bool, err error) {
	receipt := fact.Receipt{Store: fact.Content}
	err = c.to.Ledger.MissingContent(ctx, func(m metastore.Missing) error {
		name := m.Subject
		if !m.Blob.IsZero() {
			elsewhere, err := c.elsewhere(ctx, m.Blob, receipt, m.Row)
			if err != nil {
				return err
			}
			moved = moved || elsewhere
			name = m.Blob.String()
		} else {
			// It may have gone since, together with its manifest: later events
			// would say so.
			head, err := c.from.Ledger.Events().Head(ctx)
			if err != nil {
				return fmt.Errorf("read the head of the source: %w", err)
			}
			moved = moved || head.Sequence > c.result.Head.Sequence
		}
		c.damage(Damage{Subject: name, Receipt: receipt, Sequence: m.Row, Problem: "its row is missing or has other bytes"})
		return nil
	})
	return moved, err
}

// elsewhere tells whether the source by now has the content in another place
// than the copy's log says.
func (c *copier) elsewhere(ctx context.Context, d identity.Digest, r fact.Receipt, row eventlog.Sequence) (bool, error) {
	var now *registry.Blob
	err := c.from.Ledger.Read(ctx, func(v registry.View) (err error) {
		now, err = v.Blob(d)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look up %s at the source: %w", d, err)
	}
	return now == nil || now.Receipt != r || now.Content != row, nil
}

func (c *copier) damage(d Damage) {
	c.result.Damaged++
	if len(c.result.Damages) < MaxDamages {
		c.result.Damages = append(c.result.Damages, d)
	}
}

// subject is the digest by which clients know a content.
func subject(digests identity.DigestSet) string {
	if d, ok := digests.Get(identity.SHA256); ok {
		return d.String()
	}
	return digests.Primary().String()
}

// problem is an error's text without what every one of them begins with.
func problem(err error) string { return strings.TrimPrefix(err.Error(), errDamaged.Error()+": ") }
