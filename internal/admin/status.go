package admin

import (
	"context"
	"net/http"
	"time"

	"artifactstore/registry"
)

// Program says what serves.
type Program struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Go      string    `json:"go"`
	Started time.Time `json:"started"`
}

// Status is the state of the server.
type Status struct {
	Program
	// Serving is false if a stopped store is being looked at.
	Serving bool `json:"serving"`
	// Ready tells whether pushes are taken.
	Ready bool `json:"ready"`
	// Nodes are the processes that serve this store, if there can be several;
	// the one that has run for longest comes first.
	Nodes []Node `json:"nodes,omitempty"`
	Log   Head   `json:"log"`
	// ClockJumped: the clock went ahead, and until an operator confirms it
	// nothing expires and no hold ends; see Clock.
	ClockJumped bool `json:"clockJumped,omitempty"`
	// Damaged is how many byte sequences are not served, as their bytes were
	// found missing or wrong; counted to 1000.
	Damaged int `json:"damaged,omitempty"`
	// Scrub is how far the scrub that was begun last has come; absent if there
	// was none.
	Scrub *ScrubReport `json:"scrub,omitempty"`
}

// Node is a process that serves a store which several serve.
type Node struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Seen is when it last said that it is there.
	Seen time.Time `json:"seen"`
	// Self: it is the one that answers. Problem is why it should get no
	// requests, as far as that is known.
	Self    bool   `json:"self"`
	Problem string `json:"problem,omitempty"`
}

// Head is the end of the log.
type Head struct {
	ID       string     `json:"id"`
	Sequence uint64     `json:"sequence"`
	Time     *time.Time `json:"time,omitempty"` // of the last event
	Chain    string     `json:"chain"`          // running hash
}

func (d *door) status(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	head, err := d.Log.Head(r.Context())
	if err != nil {
		return err
	}
	s := Status{Program: d.Program, Serving: d.Ready != nil,
		Log: Head{ID: head.Log, Sequence: uint64(head.Sequence), Chain: head.Chain.String()}}
	if head.Time != 0 {
		at := time.UnixMicro(head.Time).UTC()
		s.Log.Time = &at
	}
	if d.Nodes != nil {
		s.Nodes = d.Nodes()
	}
	s.Ready = s.Serving && d.Ready(r.Context()) == nil
	if d.Registry != nil {
		if err := d.wellbeing(r.Context(), &s); err != nil {
			return err
		}
	}
	return d.sendJSON(w, r, s)
}

// wellbeing adds what an operator has to look after.
func (d *door) wellbeing(ctx context.Context, s *Status) error {
	clock, err := d.Registry.ClockStatus(ctx)
	if err != nil {
		return err
	}
	damaged, _, err := d.Registry.DamagedBlobs(ctx, 0, maxPageSize)
	if err != nil {
		return err
	}
	scrub, err := d.Registry.LastScrub(ctx)
	if err != nil {
		return err
	}
	s.ClockJumped, s.Damaged = clock.Jumped, len(damaged)
	if scrub != nil {
		report := scrubJSON(*scrub)
		s.Scrub = &report
	}
	return nil
}

// count waits until no other request reads whole tables.
func (d *door) count(ctx context.Context) (done func(), err error) {
	select {
	case d.counting <- struct{}{}:
		return func() { <-d.counting }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TotalUsage says how much there is in all.
type TotalUsage struct {
	Repositories int64        `json:"repositories"`
	Tags         int64        `json:"tags"`
	Manifests    int64        `json:"manifests"`
	Uploads      int64        `json:"uploads"`
	Stores       []StoreUsage `json:"stores"`
}

// StoreUsage says how much one store keeps. Each byte sequence is kept once,
// however many repositories have it.
type StoreUsage struct {
	Name  string `json:"name"`
	Blobs int64  `json:"blobs"`
	Bytes int64  `json:"bytes"`
}

func (d *door) usage(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	done, err := d.count(r.Context())
	if err != nil {
		return err
	}
	defer done()
	t, err := d.Registry.Totals(r.Context())
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, TotalUsage{Repositories: t.Repositories, Tags: t.Tags, Manifests: t.Manifests, Uploads: t.Uploads,
		Stores: each(t.Stores, func(s registry.StoreUsage) StoreUsage { return StoreUsage(s) })})
}

// Store is the health of a store. Numbers are absent where it knows no limit.
type Store struct {
	Name       string `json:"name"`
	Healthy    bool   `json:"healthy"`
	FreeBytes  *int64 `json:"freeBytes,omitempty"`
	TotalBytes *int64 `json:"totalBytes,omitempty"`
	FreeFiles  *int64 `json:"freeFiles,omitempty"`
	TotalFiles *int64 `json:"totalFiles,omitempty"`
	// KeptBytes is how much stays free: pushes are refused before.
	KeptBytes *int64 `json:"keptBytes,omitempty"`
}

// storage answers how the stores are. Why one is not healthy is for the log.
func (d *door) storage(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	items := each(d.Health(r.Context()), func(h StoreHealth) Store {
		if h.Err != nil {
			d.Errors.Error("a store is not healthy", "store", h.Name, "error", h.Err)
		}
		return Store{Name: h.Name, Healthy: h.Err == nil, FreeBytes: known(h.FreeBytes), TotalBytes: known(h.TotalBytes),
			FreeFiles: known(h.FreeFiles), TotalFiles: known(h.TotalFiles), KeptBytes: known(h.KeptBytes)}
	})
	return d.sendJSON(w, r, Page[Store]{Items: items})
}

// known is a number, or nil if there is none.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

// Upload is an upload session of which bytes have come.
type Upload struct {
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Actor      string    `json:"actor"`
	Received   int64     `json:"received"` // bytes
	Expires    time.Time `json:"expires"`
}

// uploadPage bounds pages of uploads: a session may have 64 KiB in its row.
const uploadPage = 100

func (d *door) uploads(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	all, more, err := d.Registry.Uploads(r.Context(), q.after, min(q.n, uploadPage))
	if err != nil {
		return err
	}
	items := each(all, func(u registry.Upload) Upload {
		return Upload{ID: u.ID, Repository: u.Repository, Actor: u.Actor, Received: u.Staged.Offset, Expires: u.Expires}
	})
	return sendPage(d, w, r, q, items, more, func() string { return all[len(all)-1].ID })
}
