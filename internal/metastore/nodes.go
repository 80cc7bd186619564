package metastore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
)

// Node is a process that has a shared store open.
type Node struct {
	// ID is the process's own, made when it opens the store.
	ID string
	// Name and Version are for people.
	Name    string
	Version string
	// Rules are what must be the same on all nodes, by name.
	Rules map[string]string
	// Place names the rules that say where objects are. A node that differs
	// in one of them from a node that runs may not join: neither would find
	// what the other one stored. It is not told to others.
	Place []string
	// Files identifies the folder of files that the node keeps objects in, ""
	// if it keeps them where every node reaches them.
	Files string
	// Started and Seen are by the database's clock.
	Started, Seen time.Time
	// Self tells that it is this process, and Problem why it should get no
	// requests: what Nodes says of them.
	Self    bool
	Problem string
}

const (
	// beatInterval is how often a node says that it is there.
	beatInterval = 2 * time.Second
	// nodeTimeout is after how long a silent node is taken for dead. Leases
	// that nodes hold for as long as they live have this time too.
	nodeTimeout = 15 * time.Second
	// maxSkew is how far a node's clock may be from the database's.
	maxSkew = 5 * time.Second
	// forgetAfter is when the traces of a node are removed.
	forgetAfter = 24 * time.Hour
)

// ErrInUse: other processes have the store open.
var ErrInUse = errors.New("the store is in use")

// nodes are working state.
var nodes = newTable("nodes", "nodes", 1, 0, nil, "id", "name", "version", "rules", "files", "started", "seen")

func (n *Node) row() ([]any, error) {
	rules, err := json.Marshal(n.Rules)
	return []any{n.ID, n.Name, n.Version, string(rules), n.Files, n.Started.UnixMicro(), n.Seen.UnixMicro()}, err
}

// readNodes returns the nodes that were seen after a time, the one that has run
// for longest first.
func readNodes(c database.Conn, after time.Time) ([]Node, error) {
	var all []Node
	err := each(c, func(r database.Rows) error {
		n := Node{ID: r.Text(0), Name: r.Text(1), Version: r.Text(2), Files: r.Text(4), Started: micro(r.Int(5)), Seen: micro(r.Int(6))}
		all = append(all, n)
		return json.Unmarshal([]byte(r.Text(3)), &all[len(all)-1].Rules)
	}, "SELECT "+nodes.list("n")+" FROM nodes n WHERE n.seen > $1 ORDER BY n.started, n.id", after.UnixMicro())
	return all, err
}

// peers is what a node knew of all when it last said that it is there.
type peers struct {
	all  []Node
	skew time.Duration // of the database's clock, against ours
	// files is why this node may not write files any more, if it may not.
	files error
}

// Nodes returns the processes that have the store open to write, this one among
// them; the one that has run for longest comes first. It is nil if the store
// cannot be shared.
func (s *Store) Nodes() []Node {
	if s.shared == nil || s.shared.peers.Load() == nil {
		return nil
	}
	all := slices.Clone(s.shared.peers.Load().all)
	for i := range all {
		n := &all[i]
		err := fits(*n, all[0])
		if n.Self = n.ID == s.shared.node.ID; n.Self {
			err = s.Fit()
		}
		if err != nil {
			n.Problem = err.Error()
		}
	}
	return all
}

// fits compares the rules of a node with those of the one that has run for longest.
func fits(n, first Node) error {
	differ := differing(first.Rules, n.Rules)
	if n.ID == first.ID || len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("the configuration differs from that of node %s, which has run for longest, in %s: make it the same on all nodes, or stop them all to change it",
		first.Name, strings.Join(differ, ", "))
}

// Fit returns why this node should get no requests although the store takes
// changes, or nil: its clock is not the database's, or its rules are not those
// of the node that has run for longest.
func (s *Store) Fit() error {
	if s.shared == nil {
		return nil
	}
	p := s.shared.peers.Load()
	if p == nil {
		return nil
	}
	if p.skew.Abs() > maxSkew {
		return fmt.Errorf("the clock of this machine and that of the database differ by %v; at most %v is allowed: synchronise them", p.skew.Abs().Round(time.Millisecond), maxSkew)
	}
	if p.files != nil {
		return p.files
	}
	if len(p.all) == 0 {
		return nil
	}
	return fits(s.shared.node, p.all[0])
}

// differing names the rules that differ.
func differing(a, b map[string]string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if b[name] != a[name] {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// elsewhere returns an error that wraps ErrInUse if a node keeps its objects in
// another place than n would.
func elsewhere(n Node, nodes []Node) error {
	for _, other := range nodes {
		names := differing(other.Rules, n.Rules)
		names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(n.Place, name) })
		if other.ID != n.ID && len(names) > 0 {
			return fmt.Errorf("%w by node %s, which keeps its objects elsewhere (%s): make the configuration the same, or stop every node to change it; one that was killed is forgotten after %v",
				ErrInUse, other.Name, strings.Join(names, ", "), nodeTimeout)
		}
	}
	return nil
}

// join makes the process one of the nodes, and starts what it does beside its
// committer.
func (m *shared) join(ctx context.Context) error {
	if m.node.ID == "" {
		m.node.ID = rand.Text()
	}
	if m.node.Files != "" {
		held, _, holder, err := m.store.hold(ctx, filesLease, m.node.Files, nodeTimeout)
		if err != nil {
			return err
		}
		if !held {
			return fmt.Errorf("%w: its objects are files of another node (%s), which alone can reach them; several nodes need storage.driver s3", ErrInUse, holder)
		}
	}
	if err := m.beat(ctx); err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	running, stop := context.WithCancel(context.Background())
	m.stop, m.ended = stop, make(chan struct{})
	go func() {
		defer close(m.ended)
		listening := make(chan struct{})
		go func() {
			defer close(listening)
			m.listen(running)
		}()
		m.live(running)
		<-listening
	}()
	return nil
}

// live says again and again that the node is there.
func (m *shared) live(ctx context.Context) {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// That the store is of a newer version its state says already.
			if err := m.beat(ctx); err != nil && ctx.Err() == nil && !isAway(err) && !errors.Is(err, ErrNewer) {
				m.store.log.Error("this node could not be announced", "error", err)
			}
		}
	}
}

// filesLease is held by the node whose folder has the objects.
const filesLease = "files"

// beat says that the node is there, and looks who else is.
func (m *shared) beat(ctx context.Context) error {
	var p peers
	err := m.store.queue.upkeep(ctx, func(v *decision) (*change, error) {
		p = peers{skew: v.clock.Sub(v.read)}
		if m.node.Started.IsZero() {
			m.node.Started = v.clock
		}
		m.node.Seen = v.clock
		row, err := m.node.row()
		if err != nil {
			return nil, err
		}
		v.working.put(nodes, row)
		if m.node.Files != "" {
			held, _, _, holder, err := v.hold(filesLease, m.node.Files, nodeTimeout)
			if err != nil {
				return nil, err
			}
			if !held {
				p.files = fmt.Errorf("%w: another node (%s) keeps its objects as files now", ErrInUse, holder)
			}
		}
		if p.all, err = readNodes(v.conn, v.clock.Add(-nodeTimeout)); err != nil {
			return nil, err
		}
		if m.peers.Load() == nil { // it is about to join
			if err := elsewhere(m.node, p.all); err != nil {
				return nil, err
			}
		}
		old := v.clock.Add(-forgetAfter).UnixMicro()
		return &change{statements: []statement{
			{"DELETE FROM nodes WHERE seen < $1", []any{old}},
			{"DELETE FROM commits WHERE time < $1", []any{old}},
		}}, nil
	})
	if err == nil {
		m.peers.Store(&p)
	}
	return err
}

// listen wakes followers when another node has committed.
func (m *shared) listen(ctx context.Context) {
	listener, ok := m.store.db.(database.Listener)
	if !ok {
		return
	}
	for heard := true; ctx.Err() == nil; {
		err := listener.Listen(ctx, channel, func() {
			heard = true
			// What came before was not heard.
			if head, err := m.store.Events().Head(ctx); err == nil {
				m.store.signal.Announce(head.Sequence)
			}
		}, func(payload string) {
			if n, err := strconv.ParseUint(payload, 10, 63); err == nil {
				m.store.signal.Announce(eventlog.Sequence(n))
			}
		})
		if ctx.Err() != nil {
			return
		}
		if heard { // once, however long it takes
			m.store.log.Warn("listening for the events of other nodes was interrupted", "error", err)
		}
		heard = false
		pause(ctx, maxPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// leave takes the node back: others need not wait until it is taken for dead.
func (m *shared) leave() {
	if m.stop == nil {
		return // it never joined
	}
	m.stop()
	<-m.ended
	if m.away() != nil || m.store.queue.isClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := m.store.queue.upkeep(ctx, func(*decision) (*change, error) {
		statements := []statement{
			{"DELETE FROM nodes WHERE id = $1", []any{m.node.ID}},
			{"UPDATE leases SET expires = 0 WHERE holder = $1", []any{m.node.ID}},
		}
		if m.node.Files != "" {
			statements = append(statements, statement{"UPDATE leases SET expires = 0 WHERE holder = $1", []any{m.node.Files}})
		}
		return &change{statements: statements}, nil
	})
	if err != nil {
		m.store.log.Warn("this node could not be taken back; others see it for some seconds more", "error", err)
	}
}

// Alone returns an error that wraps ErrInUse, and names them, if other nodes
// have the store open. It waits to see whether they are alive: those that were
// killed are there until they are taken for dead.
func (s *Store) Alone(ctx context.Context) error {
	if s.shared == nil {
		return nil
	}
	first, told := map[string]time.Time{}, false // when nodes had been seen before this
	for {
		if err := s.shared.beat(ctx); err != nil {
			return err
		}
		var names []string
		alive := false
		for _, n := range s.Nodes() {
			if n.ID == s.shared.node.ID {
				continue
			}
			names = append(names, n.Name)
			seen, known := first[n.ID]
			alive = alive || known && n.Seen.After(seen)
			if !known {
				first[n.ID] = n.Seen
			}
		}
		if len(names) == 0 {
			return nil
		}
		if alive || ctx.Err() != nil {
			return inUse(names)
		}
		if !told {
			s.log.Warn("other nodes have the store open; looking whether they are alive", "nodes", names)
			told = true
		}
		pause(ctx, beatInterval/4)
	}
}

func inUse(names []string) error {
	return fmt.Errorf("%w by %s: stop every node first; one that was killed is forgotten after %v", ErrInUse, strings.Join(names, ", "), nodeTimeout)
}
