package distribution

import "artifactstore/registry"

// freeList is how many bytes of a list are sent without asking for room.
const freeList = 16 << 10

// hold takes room for a list of n bytes, until release is called.
func (d *door) hold(n int) (release func(), err error) {
	if d.o.Held == nil || n <= freeList {
		return func() {}, nil
	}
	release, ok := d.o.Held.TryAcquire(int64(n))
	if !ok {
		return nil, registry.Errorf(registry.TooManyRequests, "too many lists are being sent at once; try again, or ask for a shorter page")
	}
	return release, nil
}

// holdPage takes room for as large a page as there is room for, and returns
// its size in bytes.
func (d *door) holdPage() (size int, release func()) {
	for size := d.o.PageBytes; size > freeList; size /= 4 {
		if release, err := d.hold(size); err == nil {
			return size, release
		}
	}
	return min(freeList, d.o.PageBytes), func() {}
}
