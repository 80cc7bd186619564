package observe

import (
	"context"
	"io"

	"artifactstore/storagedriver"
)

// abilities puts those abilities of d that are observed above it, each as a
// driver of its own that storagedriver.Find comes by.
func (d *driver) abilities(of storagedriver.Driver) storagedriver.Driver {
	top := of
	if lister, ok := storagedriver.Find[storagedriver.Lister](of); ok {
		top = &lists{part{top}, d, lister}
	}
	if linker, ok := storagedriver.Find[storagedriver.Linker](of); ok {
		top = &links{part{top}, d, linker}
	}
	if placer, ok := storagedriver.Find[storagedriver.Placer](of); ok {
		top = &places{part{top}, d, placer}
	}
	if walker, ok := storagedriver.Find[storagedriver.Walker](of); ok {
		top = &walks{part{top}, d, walker}
	}
	return top
}

// part is a driver that stands above another one.
type part struct{ storagedriver.Driver }

func (p part) Unwrap() storagedriver.Driver { return p.Driver }

type lists struct {
	part
	of     *driver
	lister storagedriver.Lister
}

func (l *lists) Staged(ctx context.Context) (ids []string, err error) {
	err = l.of.run(ctx, Staged, 0, func(ctx context.Context) error { ids, err = l.lister.Staged(ctx); return err })
	return ids, err
}

type links struct {
	part
	of     *driver
	linker storagedriver.Linker
}

func (l *links) Link(ctx context.Context, link storagedriver.Link) (url string, err error) {
	err = l.of.run(ctx, Link, 0, func(ctx context.Context) error { url, err = l.linker.Link(ctx, link); return err })
	return url, err
}

type places struct {
	part
	of     *driver
	placer storagedriver.Placer
}

func (p *places) Place(ctx context.Context, locator string, size int64, r io.Reader) error {
	return p.of.run(ctx, Place, size, func(ctx context.Context) error { return p.placer.Place(ctx, locator, size, r) })
}

type walks struct {
	part
	of     *driver
	walker storagedriver.Walker
}

func (w *walks) Objects(ctx context.Context, after string, limit int) (page []storagedriver.Object, err error) {
	err = w.of.run(ctx, Objects, 0, func(ctx context.Context) error {
		page, err = w.walker.Objects(ctx, after, limit)
		return err
	})
	return page, err
}
