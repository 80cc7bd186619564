package admin

import (
	"net/http"
	"strconv"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
)

// DeletedManifest is a deleted manifest that can be put back.
type DeletedManifest struct {
	Repository   string    `json:"repository"`
	Digest       string    `json:"digest"` // by which it was pushed
	MediaType    string    `json:"mediaType"`
	ArtifactType string    `json:"artifactType,omitempty"`
	Size         int64     `json:"size"`
	Class        string    `json:"class"`
	Pushed       time.Time `json:"pushed"`
	Deleted      time.Time `json:"deleted"`
	Until        time.Time `json:"until"`    // it can be put back before
	Sequence     uint64    `json:"sequence"` // of the event to undo
}

// DeletedRepository is a deleted repository that can be put back.
type DeletedRepository struct {
	Name string `json:"name"`
	// DeletedName is what it goes by now.
	DeletedName string    `json:"deletedName"`
	Deleted     time.Time `json:"deleted"`
	Until       time.Time `json:"until"`    // it can be put back before
	Sequence    uint64    `json:"sequence"` // of the event to undo
}

// UndoRequest is the body of POST /undo, which answers with Undone.
type UndoRequest struct {
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
}

// Undone is what an undo has done.
type Undone struct {
	// The event that was undone.
	Sequence   uint64 `json:"sequence"`
	Kind       string `json:"kind"`
	Subject    string `json:"subject"`
	Repository string `json:"repository"` // by the name that it has now
	// Restored are the manifests that are back, Moved the tags that name another
	// manifest or exist again, Removed those that are gone again.
	Restored []string `json:"restored"`
	Moved    []string `json:"moved"`
	Removed  []string `json:"removed"`
	// Left are tags that were moved or deleted later, and left alone.
	Left []LeftTag `json:"left"`
	// Notes are sentences about what may have to be done next.
	Notes []string `json:"notes"`
}

// LeftTag is a tag that an undo has left alone.
type LeftTag struct {
	Tag      string `json:"tag"`
	Sequence uint64 `json:"sequence"` // of the last event that moved or deleted it
}

func (d *door) deletedManifests(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, err := q.sequence()
	if err != nil {
		return err
	}
	repo, err := d.repositoryOf(r)
	if err != nil {
		return err
	}
	all, grace, more, err := repo.DeletedManifests(r.Context(), after, q.n)
	if err != nil {
		return err
	}
	items := each(all, func(g registry.Grave) DeletedManifest {
		return DeletedManifest{Repository: repo.Name(), Digest: g.Digest.String(), MediaType: g.MediaType, ArtifactType: g.ArtifactType, Size: g.Blob.Size,
			Class: g.Class, Pushed: g.Pushed, Deleted: g.Deleted, Until: g.Deleted.Add(grace), Sequence: uint64(g.By)}
	})
	return sendPage(d, w, r, q, items, more, func() string { return number(all[len(all)-1].Manifest.Sequence) })
}

func (d *door) deletedRepositories(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, err := q.sequence()
	if err != nil {
		return err
	}
	grace, err := d.Registry.Grace(r.Context())
	if err != nil {
		return err
	}
	all, more, err := d.Registry.DeletedRepositories(r.Context(), int64(after), q.n)
	if err != nil {
		return err
	}
	items := each(all, func(d registry.DeletedRepository) DeletedRepository { return deletedJSON(d, grace) })
	return sendPage(d, w, r, q, items, more, func() string { return number(all[len(all)-1].ID) })
}

func deletedJSON(d registry.DeletedRepository, grace time.Duration) DeletedRepository {
	return DeletedRepository{Name: d.Name, DeletedName: d.DeletedName, Deleted: d.Deleted, Until: d.Deleted.Add(grace), Sequence: uint64(d.Sequence)}
}

func (d *door) deleteRepository(w http.ResponseWriter, r *http.Request) error {
	var request ReasonRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	name, err := variable(r, "repository")
	if err != nil {
		return err
	}
	grace, err := d.Registry.Grace(r.Context())
	if err != nil {
		return err
	}
	deleted, err := d.Registry.DeleteRepository(r.Context(), caller(r), name, request.Reason)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, deletedJSON(deleted, grace))
}

func (d *door) undo(w http.ResponseWriter, r *http.Request) error {
	var request UndoRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	if int64(request.Sequence) <= 0 {
		return badBody("sequence must be that of an event, from 1 on; it is " + strconv.FormatUint(request.Sequence, 10))
	}
	undone, err := d.Registry.Undo(r.Context(), caller(r), eventlog.Sequence(request.Sequence), request.Reason)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, Undone{Sequence: uint64(undone.Sequence), Kind: undone.Kind, Subject: undone.Subject, Repository: undone.Repository,
		Restored: digestTexts(undone.Restored), Moved: append([]string{}, undone.Moved...), Removed: append([]string{}, undone.Removed...),
		Left:  each(undone.Left, func(l registry.LeftTag) LeftTag { return LeftTag{l.Tag, uint64(l.Event)} }),
		Notes: append([]string{}, undone.Notes...)})
}
