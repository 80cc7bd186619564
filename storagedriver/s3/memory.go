package s3

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// memory is what this process knows beside the bucket: which ids it has begun,
// what it holds for them, and the ends of staged objects that it may be asked
// for next. It is safe for concurrent use.
type memory struct {
	pool *pool

	mu     sync.Mutex
	ids    map[string]*known
	recent []recent // the oldest first
	locks  map[string]*idLock
}

// known is what this process has to do with an id.
type known struct {
	open   int      // stages that are open
	remote bool     // something may be in the bucket, also of another process
	held   *holding // what Hold was called for
}

// holding is the end of a staged object that is in no bucket. It may be
// dropped while it is being read.
type holding struct {
	*buffer
	token   string // of the state that names it
	users   int
	dropped bool
}

// recent is the end of a staged object that was saved, in memory.
type recent struct {
	key    string
	buffer *buffer
}

// maxKnown is how many ids are remembered that nobody has open or holds.
const maxKnown = 10_000

func (m *memory) init(p *pool) {
	m.pool, m.ids, m.locks = p, map[string]*known{}, map[string]*idLock{}
	p.evict = m.evict
}

// id returns what is known of an id. mu is held.
func (m *memory) id(id string) *known {
	k := m.ids[id]
	if k != nil {
		return k
	}
	if len(m.ids) >= maxKnown {
		for other, k := range m.ids { // any of them
			if k.open == 0 && k.held == nil {
				delete(m.ids, other)
				break
			}
		}
	}
	k = new(known)
	m.ids[id] = k
	return k
}

// opened counts a stage.
func (m *memory) opened(id string, remote bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.id(id)
	k.open++
	k.remote = k.remote || remote
}

// closed counts it no more. Unless it holds something, another process may go
// on with the id from now on.
func (m *memory) closed(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.ids[id]; k != nil && k.open > 0 {
		k.open--
		k.remote = k.remote || k.held == nil
	}
}

// touched notes that something of an id may be in the bucket.
func (m *memory) touched(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id(id).remote = true
}

// local tells whether an id was begun here and nothing of it is in the bucket,
// and whether it is known at all.
func (m *memory) local(id string) (local, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.ids[id]
	return k != nil && !k.remote, k != nil
}

// begun lists the ids that are known.
func (m *memory) begun() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.ids))
}

// hold keeps a buffer for an id, instead of what was held before.
func (m *memory) hold(id, token string, b *buffer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.id(id)
	k.drop()
	k.held = &holding{buffer: b, token: token}
}

// drop forgets what is held. mu is held.
func (k *known) drop() {
	h := k.held
	if h == nil {
		return
	}
	k.held, h.dropped = nil, true
	if h.users == 0 {
		h.free()
	}
}

// release forgets what is held for an id, with which another process may go on
// from now on.
func (m *memory) release(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.ids[id]; k != nil {
		k.drop()
		k.remote = true
	}
}

// heldOf returns what is held under a token, until done is called; nil if it
// is gone.
func (m *memory) heldOf(id, token string) (h *holding, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.ids[id]
	if k == nil || k.held == nil || k.held.token != token {
		return nil, nil
	}
	h = k.held
	h.users++
	return h, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if h.users--; h.users == 0 && h.dropped {
			h.free()
		}
	}
}

// forget drops what is known of an id. The caller has its lock.
func (m *memory) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.ids[id]; k != nil {
		k.drop()
		delete(m.ids, id)
	}
}

// remember keeps the end of a staged object while there is room for it.
func (m *memory) remember(key string, b *buffer) {
	if b.file != nil || b.size == 0 {
		b.free()
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent = append(m.recent, recent{key, b})
}

// recall takes the end of a staged object out, nil if it is not remembered.
func (m *memory) recall(key string) *buffer {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.recent, func(r recent) bool { return r.key == key })
	if i < 0 {
		return nil
	}
	b := m.recent[i].buffer
	m.recent = slices.Delete(m.recent, i, i+1)
	return b
}

// evict frees the end that was remembered first.
func (m *memory) evict() bool {
	m.mu.Lock()
	if len(m.recent) == 0 {
		m.mu.Unlock()
		return false
	}
	b := m.recent[0].buffer
	m.recent = slices.Delete(m.recent, 0, 1)
	m.mu.Unlock()
	b.free()
	return true
}

// clear frees all.
func (m *memory) clear() {
	for m.evict() {
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.ids {
		k.drop()
	}
	clear(m.ids)
}

// idLock keeps what is done to one id in order.
type idLock struct {
	turn  chan struct{}
	users int
}

// lock waits for the turn of an id, and returns how to end it.
func (m *memory) lock(ctx context.Context, id string) (unlock func(), err error) {
	m.mu.Lock()
	l := m.locks[id]
	if l == nil {
		l = &idLock{turn: make(chan struct{}, 1)}
		m.locks[id] = l
	}
	l.users++
	m.mu.Unlock()
	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.locks, id)
		}
	}
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
