package metastore

import (
	"context"
	"time"

	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
)

// leases say who may do what only one node does at a time. They are for economy,
// never for safety: what they keep apart is right also if it runs twice.
var leases = newTable("leases", "leases", 1, 0, nil, "name", "holder", "fence", "expires")

// Acquire takes or renews the lease of a name for ttl, by the database's clock.
// held is false while another node has it. The fence grows each time that the
// lease goes to another holder. In a store that no other process writes to it is
// always held.
func (s *Store) Acquire(ctx context.Context, name string, ttl time.Duration) (held bool, fence int64, err error) {
	if s.shared == nil {
		return true, 1, nil
	}
	held, fence, _, err = s.hold(ctx, name, s.shared.node.ID, ttl)
	return held, fence, err
}

// Release gives a lease back, if this node has it.
func (s *Store) Release(ctx context.Context, name string) error {
	if s.shared == nil {
		return nil
	}
	// The row stays, so that the fence goes on.
	return s.queue.upkeep(ctx, func(*decision) (*change, error) {
		return &change{statements: []statement{
			{"UPDATE leases SET expires = 0 WHERE name = $1 AND holder = $2", []any{name, s.shared.node.ID}},
		}}, nil
	})
}

// hold takes or renews a lease in a change of its own.
func (s *Store) hold(ctx context.Context, name, holder string, ttl time.Duration) (held bool, fence int64, other string, err error) {
	err = s.queue.upkeep(ctx, func(v *decision) (_ *change, err error) {
		var grown bool
		held, fence, grown, other, err = v.hold(name, holder, ttl)
		if err != nil || !held {
			return nil, err
		}
		// No fence is given out twice, not even when the server crashes.
		return &change{rows: 1, Change: registry.Change{Durable: grown}}, nil
	})
	return held && err == nil, fence, other, err
}

// hold takes or renews a lease; grown tells that its fence is new. If another
// one has it, it returns that.
func (v *decision) hold(name, holder string, ttl time.Duration) (held bool, fence int64, grown bool, other string, err error) {
	row, err := v.working.row(leases, name)
	if err != nil {
		return false, 0, false, "", err
	}
	fence, grown = 1, true
	if row != nil {
		other, fence = row[1].(string), row[2].(int64)
		switch grown = other != holder; {
		case !grown:
		case row[3].(int64) > v.clock.UnixMicro():
			return false, fence, false, v.nodeOf(other), nil
		default:
			fence++
		}
	}
	v.working.put(leases, []any{name, holder, fence, v.clock.Add(ttl).UnixMicro()})
	return true, fence, grown, "", nil
}

// nodeOf is the name of the node that has an id or a folder, or that itself.
func (v *decision) nodeOf(holder string) string {
	name := holder
	_, _ = one(v.conn, func(r database.Rows) error { name = r.Text(0); return nil },
		"SELECT name FROM nodes WHERE id = $1 OR files = $2 ORDER BY seen DESC LIMIT 1", holder, holder)
	return name
}
