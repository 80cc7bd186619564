package admin

import "artifactstore/registry"

// freeAnswer is how many bytes of an answer are sent without asking for room.
const freeAnswer = 16 << 10

// hold takes room for n bytes that stay in memory at the pace of a client, until
// release is called.
func (d *door) hold(n int64) (release func(), err error) {
	if d.Held == nil || n <= freeAnswer {
		return func() {}, nil
	}
	release, ok := d.Held.TryAcquire(n)
	if !ok {
		return nil, registry.Errorf(registry.TooManyRequests, "too much is being sent at once; try again, or ask for a shorter page")
	}
	return release, nil
}
