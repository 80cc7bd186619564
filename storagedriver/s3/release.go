package s3

import (
	"context"

	"artifactstore/storagedriver"
)

var _ storagedriver.Releaser = (*Driver)(nil)

// Release forgets what Hold keeps of an id in this process. What is in the
// bucket stays.
func (d *Driver) Release(id string) {
	unlock, err := d.memory.lock(context.Background(), id)
	if err != nil {
		return
	}
	defer unlock()
	d.memory.release(id)
}

// release drops what is held for an id. The caller has its lock.
func (m *memory) release(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.ids[id]; k != nil {
		k.held.free()
		k.held, k.token = nil, ""
	}
}
