package fault

import (
	"context"
	"io"

	"artifactstore/storagedriver"
)

// abilities puts those abilities of d that can fail above it, each as a driver
// of its own that storagedriver.Find comes by.
func (d *driver) abilities(of storagedriver.Driver) storagedriver.Driver {
	top := of
	if lister, ok := storagedriver.Find[storagedriver.Lister](of); ok {
		top = &lists{part{top}, d.plan, lister}
	}
	if linker, ok := storagedriver.Find[storagedriver.Linker](of); ok {
		top = &links{part{top}, d.plan, linker}
	}
	if placer, ok := storagedriver.Find[storagedriver.Placer](of); ok {
		top = &places{part{top}, d.plan, placer}
	}
	if walker, ok := storagedriver.Find[storagedriver.Walker](of); ok {
		top = &walks{part{top}, d.plan, walker}
	}
	return top
}

// part is a driver that stands above another one.
type part struct{ storagedriver.Driver }

func (p part) Unwrap() storagedriver.Driver { return p.Driver }

type lists struct {
	part
	plan   *Plan
	lister storagedriver.Lister
}

func (l *lists) Staged(ctx context.Context) (ids []string, err error) {
	err = l.plan.run(OpStaged, func() error { ids, err = l.lister.Staged(ctx); return err })
	return ids, err
}

type links struct {
	part
	plan   *Plan
	linker storagedriver.Linker
}

func (l *links) Link(ctx context.Context, link storagedriver.Link) (url string, err error) {
	err = l.plan.run(OpLink, func() error { url, err = l.linker.Link(ctx, link); return err })
	return url, err
}

type places struct {
	part
	plan   *Plan
	placer storagedriver.Placer
}

func (p *places) Place(ctx context.Context, locator string, size int64, r io.Reader) error {
	return p.plan.run(OpPlace, func() error { return p.placer.Place(ctx, locator, size, r) })
}

type walks struct {
	part
	plan   *Plan
	walker storagedriver.Walker
}

func (w *walks) Objects(ctx context.Context, after string, limit int) (page []storagedriver.Object, err error) {
	err = w.plan.run(OpObjects, func() error { page, err = w.walker.Objects(ctx, after, limit); return err })
	if err != nil {
		return nil, err
	}
	return page, nil
}

// holds is a stage that is a Holder.
type holds struct {
	*stage
	holder storagedriver.Holder
}

func (h *holds) Hold(ctx context.Context) (state []byte, err error) {
	if h.err != nil {
		return nil, h.err
	}
	err = h.plan.run(OpHold, func() error { state, err = h.holder.Hold(ctx); return err })
	if err != nil {
		return nil, err
	}
	return state, nil
}

// sizedReader is a reader that is Sized.
type sizedReader struct {
	*reader
	storagedriver.Sized
}
