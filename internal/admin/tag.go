package admin

import (
	"net/http"
	"time"

	"artifactstore/registry"
)

// Tag is a tag, what it names and who moved it there.
type Tag struct {
	Repository   string    `json:"repository"`
	Name         string    `json:"name"`
	Digest       string    `json:"digest"` // that the tag answers with
	MediaType    string    `json:"mediaType"`
	ArtifactType string    `json:"artifactType,omitempty"`
	Size         int64     `json:"size"` // bytes of the manifest
	Moved        time.Time `json:"moved"`
	Actor        string    `json:"actor"`
	Sequence     uint64    `json:"sequence"` // of the event that moved it
	// The retention of the manifest, as in Manifest.
	Class   string     `json:"class"`
	Rule    string     `json:"rule,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Marked  *time.Time `json:"marked,omitempty"`
	Pulled  *time.Time `json:"pulled,omitempty"`
}

func tagJSON(repository string, t registry.TagInfo) Tag {
	return Tag{Repository: repository, Name: t.Name, Digest: t.Digest.String(), MediaType: t.MediaType,
		ArtifactType: t.ArtifactType, Size: t.Size, Moved: t.Moved, Actor: t.Actor, Sequence: uint64(t.Sequence),
		Class: t.Class, Rule: t.Rule, Expires: moment(t.Expires), Marked: moment(t.Marked), Pulled: moment(t.Pulled)}
}

func (d *door) tags(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	repo, err := d.repositoryOf(r)
	if err != nil {
		return err
	}
	infos, more, err := repo.TagInfos(r.Context(), q.after, q.n)
	if err != nil {
		return err
	}
	items := each(infos, func(t registry.TagInfo) Tag { return tagJSON(repo.Name(), t) })
	return sendPage(d, w, r, q, items, more, func() string { return infos[len(infos)-1].Name })
}

func (d *door) tag(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	repo, name, err := d.tagOf(r)
	if err != nil {
		return err
	}
	info, err := repo.TagInfo(r.Context(), name)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, tagJSON(repo.Name(), *info))
}

func (d *door) tagOf(r *http.Request) (*registry.Repository, string, error) {
	repo, err := d.repositoryOf(r)
	if err != nil {
		return nil, "", err
	}
	name, err := variable(r, "tag")
	return repo, name, err
}

// TagMove is one move of a tag. From is absent if the tag was new, To if it was
// deleted; both are SHA-256 digests, or BLAKE3 once the bytes were forgotten.
type TagMove struct {
	Repository string    `json:"repository"`
	Tag        string    `json:"tag"`
	Time       time.Time `json:"time"`
	Actor      string    `json:"actor"`
	From       string    `json:"from,omitempty"`
	To         string    `json:"to,omitempty"`
	Sequence   uint64    `json:"sequence"`
}

func (d *door) tagHistory(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	before, err := q.sequence()
	if err != nil {
		return err
	}
	repo, name, err := d.tagOf(r)
	if err != nil {
		return err
	}
	moves, more, err := repo.TagMoves(r.Context(), name, before, q.n)
	if err != nil {
		return err
	}
	items := each(moves, func(m registry.TagMove) TagMove {
		return TagMove{Repository: repo.Name(), Tag: m.Tag, Time: m.Time, Actor: m.Actor,
			From: m.From.String(), To: m.To.String(), Sequence: uint64(m.Sequence)}
	})
	return sendPage(d, w, r, q, items, more, func() string { return number(moves[len(moves)-1].Sequence) })
}
