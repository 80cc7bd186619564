package admin

import (
	"net/http"
	"time"

	"artifactstore/registry"
)

// Repository is a repository.
type Repository struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	Sequence uint64    `json:"sequence"` // of the event that made it
}

func repositoryJSON(info registry.RepositoryInfo) Repository {
	return Repository{Name: info.Name, Created: info.Created, Sequence: uint64(info.Sequence)}
}

func (d *door) repositories(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	infos, more, err := d.Registry.Repositories(r.Context(), q.after, q.n)
	if err != nil {
		return err
	}
	return sendPage(d, w, r, q, each(infos, repositoryJSON), more, func() string { return infos[len(infos)-1].Name })
}

func (d *door) repository(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	repo, err := d.repositoryOf(r)
	if err != nil {
		return err
	}
	info, err := repo.Info(r.Context())
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, repositoryJSON(*info))
}

// Usage says how much a repository holds.
type Usage struct {
	Repository string `json:"repository"`
	Tags       int64  `json:"tags"`
	Manifests  int64  `json:"manifests"`
	Blobs      int64  `json:"blobs"`
	// Bytes of its blobs and manifests, each counted once, whatever other
	// repositories share them.
	Bytes int64 `json:"bytes"`
	// Shared is the part of Bytes that other repositories hold as well, Exclusive
	// the rest; Condemned the part of Exclusive that nothing uses.
	Shared    int64 `json:"shared"`
	Exclusive int64 `json:"exclusive"`
	Condemned int64 `json:"condemned"`
}

func (d *door) repositoryUsage(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	repo, err := d.repositoryOf(r)
	if err != nil {
		return err
	}
	done, err := d.count(r.Context())
	if err != nil {
		return err
	}
	defer done()
	u, err := repo.Usage(r.Context())
	if err != nil {
		return err
	}
	s, err := repo.Sharing(r.Context())
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, Usage{Repository: repo.Name(), Tags: u.Tags, Manifests: u.Manifests, Blobs: u.Blobs, Bytes: s.Logical,
		Shared: s.Shared, Exclusive: s.Exclusive, Condemned: s.Condemned})
}

// each converts a list.
func each[A, B any](list []A, convert func(A) B) []B {
	all := make([]B, 0, len(list))
	for _, item := range list {
		all = append(all, convert(item))
	}
	return all
}
