package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
)

// FsckOptions say what Fsck looks at, and what it does about it.
type FsckOptions struct {
	// Deep reads and hashes all bytes, at a pace if there is one. Without it
	// only their presence and size are compared.
	Deep bool
	Pace *budget.Pace
	// Repair repairs what can be repaired. Nothing is changed without it.
	Repair bool
	// ManyOrphans deletes orphans also from a store of which more is orphaned
	// than named: it may be the store of another registry.
	ManyOrphans bool
	// Progress, if it is not nil, is told after every batch, and after every byte
	// sequence that was read. It must not keep the map of the report.
	Progress func(FsckReport)
}

// The kinds of a Finding.
const (
	// FoundDamaged: stored bytes are missing or wrong. The repair puts them
	// under quarantine; pushing the content again, or putting the object back,
	// heals it.
	FoundDamaged = "damaged"
	// FoundQuarantined: they were found so before, and still are.
	FoundQuarantined = "quarantined"
	// FoundHealed: bytes under quarantine are right again. The repair serves
	// them again.
	FoundHealed = "healed"
	// FoundUnread: stored bytes could not be read this time.
	FoundUnread = "unread"
	// FoundDescriptor: the descriptor of a referrer is missing or is not that of
	// its manifest. The repair makes it anew.
	FoundDescriptor = "descriptor"
	// FoundSpareRow: a content row that nothing needs. The repair removes it.
	FoundSpareRow = "spare-row"
	// FoundOrphan: an object that nothing names. The repair deletes it.
	FoundOrphan = "orphan"
	// FoundStranger: something in a store that no registry has put there. It is
	// left alone.
	FoundStranger = "stranger"
	// FoundErased: an object that was to be deleted is gone already, or is not
	// whole. The repair deletes what is left and notes it, as the sweep would.
	FoundErased = "erased"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind string
	// Subject is a digest, a content row by its sequence, or a manifest as
	// "repository@digest"; empty for what has none.
	Subject string
	// Store and Name say where it is: the locator of an object, or what the
	// store calls it.
	Store, Name string
	Size        int64 // bytes
	Problem     string
	Repaired    bool
}

// FsckCount counts the findings of a kind.
type FsckCount struct{ Found, Repaired int64 }

// MaxFindings is how many findings a report lists; all are counted.
const MaxFindings = 1000

// FsckReport is what Fsck found.
type FsckReport struct {
	// Stage is what is being looked at: "content", "referrers", "rows",
	// "objects" or "erasures"; empty once all has been.
	Stage string
	// Blobs and Bytes were looked at, Objects were listed, Rows are content rows.
	Blobs, Bytes, Objects, Rows int64
	// Counts are by kind. Findings are the first MaxFindings.
	Counts   map[string]FsckCount
	Findings []Finding
	// Refused says of stores why their orphans were left alone.
	Refused []string
}

// Wrong tells whether something is not as it should be and was not repaired.
// What is damaged counts also under quarantine: it is still to be pushed again.
func (r *FsckReport) Wrong() bool {
	for kind, n := range r.Counts {
		switch kind {
		case FoundStranger, FoundErased: // no harm comes of them
		case FoundDamaged, FoundQuarantined, FoundUnread:
			if n.Found > 0 {
				return true
			}
		default:
			if n.Found > n.Repaired {
				return true
			}
		}
	}
	return false
}

const (
	// fsckPage is how many things are looked up at a time.
	fsckPage = 500
	// young is the age below which an object is left alone, by the clocks of
	// its store and of the registry.
	young = time.Hour
	// maxAway is how many may be out of reach, one after the other, before it
	// is their store that is.
	maxAway = 3
	// fewOrphans may be deleted whatever else is in their store.
	fewOrphans = 10
)

// Fsck compares what the views say with what the stores have, both ways. It
// trusts the views: whether they are what the log says is to be known before
// anything is repaired. It may run beside everything else, and may be ended at
// any moment and run again.
func (r *Registry) Fsck(ctx context.Context, o FsckOptions) (FsckReport, error) {
	c := &checker{r: r, o: o, inhabited: inhabited{}}
	c.Counts = map[string]FsckCount{}
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"content", c.content}, {"referrers", c.referrers}, {"rows", c.rows}, {"objects", c.stores}, {"erasures", c.erasures},
	} {
		c.Stage = stage.name
		if err := stage.run(ctx); err != nil {
			return c.FsckReport, fmt.Errorf("check %s: %w", stage.name, err)
		}
	}
	c.Stage = ""
	c.tell()
	return c.FsckReport, nil
}

// checker is one run of Fsck.
type checker struct {
	r *Registry
	o FsckOptions
	FsckReport
	inhabited
	away int // how many were out of reach, one after the other
}

func (c *checker) tell() {
	if c.o.Progress != nil {
		c.o.Progress(c.FsckReport)
	}
}

// found adds a finding.
func (c *checker) found(f Finding) {
	n := c.Counts[f.Kind]
	n.Found++
	if f.Repaired {
		n.Repaired++
	}
	c.Counts[f.Kind] = n
	if len(c.Findings) < MaxFindings {
		c.Findings = append(c.Findings, f)
	}
}

// content looks at every byte sequence.
func (c *checker) content(ctx context.Context) error {
	for after := eventlog.Sequence(0); ; {
		var page []BlobItem
		err := c.r.ledger.Read(ctx, func(v View) (err error) {
			page, err = v.BlobItems(after, fsckPage)
			return err
		})
		if err != nil {
			return err
		}
		for i := range page {
			if err := c.blob(ctx, &page[i].Blob); err != nil {
				return err
			}
			after = page[i].Sequence
			if c.o.Deep {
				c.tell() // each may take long
			}
		}
		c.tell()
		if len(page) < fsckPage {
			return nil
		}
	}
}

func findingOf(kind string, b *Blob, cause error) Finding {
	f := Finding{Kind: kind, Subject: b.Digests.Primary().String(), Store: b.Receipt.Store, Name: b.Receipt.Locator, Size: b.Size}
	if b.Receipt.Store == fact.Content {
		f.Name = strconv.FormatUint(uint64(b.Content), 10)
	}
	if cause != nil {
		f.Problem = cause.Error()
	}
	return f
}

func (c *checker) blob(ctx context.Context, b *Blob) error {
	condition, cause, err := c.r.examine(ctx, b, c.o.Deep, c.o.Pace)
	if err != nil {
		return err
	}
	if !errors.Is(cause, fact.ErrUnavailable) {
		c.away = 0
	} else if c.away++; c.away == maxAway {
		return fmt.Errorf("store %q cannot be reached: %w", b.Receipt.Store, cause)
	}
	if condition == missing || condition == wrong {
		// It may have been forgotten or moved meanwhile.
		if current, err := c.r.current(ctx, b); err != nil || !current {
			return err
		}
	}
	c.Blobs++
	c.Bytes += b.Size
	switch {
	case condition == unread:
		c.found(findingOf(FoundUnread, b, cause))
	case b.Damaged && condition == intact && c.o.Deep:
		return c.healed(ctx, b)
	case b.Damaged:
		f := findingOf(FoundQuarantined, b, cause)
		if cause == nil {
			f.Problem = "the bytes were found damaged before"
		}
		c.found(f)
	case condition != intact:
		return c.damaged(ctx, b, condition, cause)
	}
	return nil
}

func (c *checker) healed(ctx context.Context, b *Blob) (err error) {
	f := findingOf(FoundHealed, b, nil)
	f.Problem = "the bytes under quarantine are right again"
	if c.o.Repair {
		f.Repaired, err = c.r.acquit(ctx, b)
	}
	c.found(f)
	return err
}

func (c *checker) damaged(ctx context.Context, b *Blob, condition condition, cause error) error {
	there := true
	if condition == missing {
		var err error
		if there, err = c.has(ctx, c.r, b.Receipt.Store); err != nil {
			return err
		}
	}
	if !there {
		cause = errUninhabited
	}
	f := findingOf(FoundDamaged, b, cause)
	if c.o.Repair && there {
		var err error
		if f.Repaired, err = c.r.condemn(ctx, b, c.o.Deep, c.o.Pace); err != nil {
			return err
		}
	}
	c.found(f)
	return nil
}

// referrers compares the descriptors by which referrers are listed.
func (c *checker) referrers(ctx context.Context) error {
	for _, deleted := range []bool{false, true} {
		for after := eventlog.Sequence(0); ; {
			page, next, err := c.r.descriptorPage(ctx, deleted, after)
			if err != nil {
				return err
			}
			for i := range page {
				if err := c.referrer(ctx, &page[i]); err != nil {
					return err
				}
			}
			c.tell()
			if after = next; next == 0 {
				break
			}
		}
	}
	return nil
}

func (c *checker) referrer(ctx context.Context, item *DescriptorItem) error {
	compared, err := c.r.compareDescriptor(ctx, item, c.o.Pace)
	if err != nil || compared.problem == "" {
		return err
	}
	f := Finding{Kind: FoundDescriptor, Subject: item.Repository + "@" + item.Digest.String(), Store: fact.Content,
		Name: strconv.FormatUint(uint64(item.Sequence), 10), Problem: compared.problem}
	if compared.want == nil {
		f.Problem += ", and its manifest is not there to make it anew"
	} else if c.o.Repair {
		if f.Repaired, err = c.r.mend(ctx, item, compared.want); err != nil {
			return err
		}
	}
	c.found(f)
	return nil
}

// rows looks for content rows that nothing needs.
func (c *checker) rows(ctx context.Context) error {
	for after := eventlog.Sequence(0); ; {
		var page []ContentRow
		err := c.r.ledger.Read(ctx, func(v View) (err error) {
			page, err = v.ContentRows(after, fsckPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, row := range page {
			if after = row.Sequence; row.Needed {
				continue
			}
			f := Finding{Kind: FoundSpareRow, Store: fact.Content, Name: strconv.FormatUint(uint64(row.Sequence), 10), Problem: "nothing needs it"}
			if c.o.Repair {
				if f.Repaired, err = c.r.dropRow(ctx, row.Sequence); err != nil {
					return err
				}
			}
			c.found(f)
		}
		c.Rows += int64(len(page))
		c.tell()
		if len(page) < fsckPage {
			return nil
		}
	}
}

// dropRow removes a content row that nothing needs.
func (r *Registry) dropRow(ctx context.Context, s eventlog.Sequence) (done bool, err error) {
	err = r.ledger.Update(ctx, System, Keys{}, func(v View) (*Change, error) {
		row, err := v.ContentRow(s)
		if done = err == nil && row != nil && !row.Needed; !done {
			return nil, err
		}
		return &Change{Forget: []eventlog.Sequence{s}, Durable: true}, nil
	})
	return done && err == nil, err
}

// stores looks at what every store has. Orphans are only deleted once it is known
// how much of the store is theirs.
func (c *checker) stores(ctx context.Context) error {
	for _, store := range c.r.bytes.Stores() {
		if !c.o.Repair {
			if _, _, err := c.objects(ctx, store, true, false); err != nil {
				return err
			}
			continue
		}
		named, orphans, err := c.objects(ctx, store, false, false)
		if err != nil {
			return err
		}
		remove := orphans <= fewOrphans || orphans <= named || c.o.ManyOrphans
		if !remove {
			c.Refused = append(c.Refused, fmt.Sprintf("store %q has %d objects that this registry knows and %d that nothing names; "+
				"those were left alone, as they may be the objects of another registry, or of events that were lost", store, named, orphans))
		}
		if _, _, err := c.objects(ctx, store, true, remove); err != nil {
			return err
		}
	}
	return nil
}

// objects walks a store, and returns how many of its objects are named and how
// many are not. say adds what it finds to the report.
func (c *checker) objects(ctx context.Context, store string, say, remove bool) (named, orphans int64, err error) {
	for after := ""; ; {
		page, err := c.r.bytes.Objects(ctx, store, after, fsckPage)
		if err != nil {
			return named, orphans, err
		}
		spare, err := c.r.unnamed(ctx, store, page)
		if err != nil {
			return named, orphans, err
		}
		for i := range page {
			o := &page[i]
			after = o.Name
			switch {
			case o.Locator == "", spare[o.Locator] && !isID(uploadAt(o.Locator)):
				if say {
					c.found(Finding{Kind: FoundStranger, Store: store, Name: o.Name, Size: o.Size, Problem: "no registry has put it there"})
				}
			case !spare[o.Locator]:
				named++
			default:
				is, err := c.orphan(ctx, store, o, say, remove)
				if err != nil {
					return named, orphans, err
				}
				if is {
					orphans++
				}
			}
		}
		if say {
			c.Objects += int64(len(page))
			c.tell()
		}
		if len(page) < fsckPage {
			return named, orphans, nil
		}
	}
}

// orphan looks at an object that nothing named, and tells whether it is still so.
func (c *checker) orphan(ctx context.Context, store string, o *fact.Object, say, remove bool) (bool, error) {
	receipt := fact.Receipt{Store: store, Locator: o.Locator}
	there, err := c.r.bytes.Present(ctx, receipt, 0, o.Size)
	if err != nil || !there {
		return false, err // it was being deleted
	}
	f := Finding{Kind: FoundOrphan, Store: store, Name: o.Locator, Size: o.Size, Problem: "nothing names it"}
	if remove {
		// Nothing that did not name it when this was asked ever will: a row is
		// written before its object, and consumed by the event that names it.
		spare, err := c.r.unnamed(ctx, store, []fact.Object{*o})
		if err != nil || !spare[o.Locator] {
			return false, err
		}
		if err := c.r.bytes.Delete(ctx, receipt, 0); err != nil {
			return false, fmt.Errorf("delete orphan %s: %w", o.Locator, err)
		}
		f.Repaired = true
		c.r.opts.Log.Warn("an object that nothing names was deleted", "store", store, "locator", o.Locator, "size", o.Size)
	}
	if say {
		c.found(f)
	}
	return true, nil
}

// unnamed returns the locators of those objects that nothing names: no stored
// byte sequence, nothing that is to be deleted, and no upload. Those that are
// young count as named.
func (r *Registry) unnamed(ctx context.Context, store string, objects []fact.Object) (map[string]bool, error) {
	var locators []string
	spare := map[string]bool{}
	err := r.ledger.Read(ctx, func(v View) error {
		locators = locators[:0]
		for i := range objects {
			if o := &objects[i]; o.Locator != "" && v.Now().Sub(o.Modified) >= young {
				locators = append(locators, o.Locator)
			}
		}
		named, err := v.Named(store, locators)
		if err != nil {
			return err
		}
		for _, locator := range locators {
			if named[locator] {
				continue
			}
			up, err := v.Upload(uploadAt(locator))
			if err != nil {
				return err
			}
			spare[locator] = up == nil
		}
		return nil
	})
	return spare, err
}

// uploadAt is the id of the upload whose object is at a locator: locators end
// with it (storagedriver.Driver.Locate).
func uploadAt(locator string) string {
	return locator[strings.LastIndexAny(locator, "/-")+1:]
}

// erasures looks for objects that are to be deleted and are gone.
func (c *checker) erasures(ctx context.Context) error {
	for after := eventlog.Sequence(0); ; {
		var page []Erasure
		err := c.r.ledger.Read(ctx, func(v View) (err error) {
			page, err = v.ErasuresAfter(after, fsckPage)
			return err
		})
		if err != nil {
			return err
		}
		for i := range page {
			after = page[i].By
			if err := c.erasure(ctx, &page[i]); err != nil {
				return err
			}
		}
		c.tell()
		if len(page) < fsckPage {
			return nil
		}
	}
}

func (c *checker) erasure(ctx context.Context, e *Erasure) error {
	there, err := c.r.bytes.Present(ctx, e.Receipt, 0, e.Size)
	if err != nil || there {
		return err
	}
	now, err := c.r.erasure(ctx, e.By)
	if err != nil || now == nil {
		return err // the sweep has noted it meanwhile
	}
	f := Finding{Kind: FoundErased, Subject: e.Blob.String(), Store: e.Receipt.Store, Name: e.Receipt.Locator, Size: e.Size,
		Problem: "it was to be deleted, and is gone or not whole"}
	if c.o.Repair {
		if there, err = c.has(ctx, c.r, e.Receipt.Store); err != nil {
			return err
		}
		if there {
			if f.Repaired, err = c.r.erased(ctx, e); err != nil {
				return err
			}
		}
	}
	c.found(f)
	return nil
}

func (r *Registry) erasure(ctx context.Context, by eventlog.Sequence) (e *Erasure, err error) {
	err = r.ledger.Read(ctx, func(v View) (err error) {
		e, err = v.Erasure(by)
		return err
	})
	return e, err
}

// erased removes what is left of an object that was to be deleted, and says that
// it is gone.
func (r *Registry) erased(ctx context.Context, e *Erasure) (done bool, err error) {
	if err := r.bytes.Delete(ctx, e.Receipt, 0); err != nil {
		return false, fmt.Errorf("delete object %s: %w", e.Receipt.Locator, err)
	}
	err = r.ledger.Update(ctx, System, Keys{}, func(v View) (*Change, error) {
		now, err := v.Erasure(e.By)
		if done = err == nil && now != nil; !done {
			return nil, err
		}
		c := new(Change)
		c.Add(&fact.BlobErased{Blob: e.Blob, Receipt: e.Receipt, By: uint64(e.By)})
		return c, nil
	})
	return done && err == nil, err
}
