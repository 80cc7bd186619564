package admin

import (
	"net/http"
	"time"

	"artifactstore/registry"
)

// Retention is how long a manifest is kept, and why.
type Retention struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"` // by which it was pushed
	Class      string `json:"class"`
	// Rule is what gave the class, such as "policy ci"; absent: the default.
	Rule string `json:"rule,omitempty"`
	// Chosen: an annotation or an operator picked the class for this manifest.
	Chosen  bool       `json:"chosen,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // absent: never
	// Extended: an operator has put the end off.
	Extended bool       `json:"extended,omitempty"`
	Marked   *time.Time `json:"marked,omitempty"`   // when it was marked as expired
	Pulled   *time.Time `json:"pulled,omitempty"`   // the last day
	Untagged *time.Time `json:"untagged,omitempty"` // when the last tag left it; absent: it has one, or never had
	// The decision of now: the state that it is to have (current, expired or
	// eligible), since when, when to ask again, and why, as a sentence.
	State  string     `json:"state"`
	Since  *time.Time `json:"since,omitempty"`
	Next   *time.Time `json:"next,omitempty"`
	Reason string     `json:"reason"`
	// Holds freeze it: on itself, on its repository, on a tag that names it, on
	// an index that lists it or on its subject.
	Holds []Hold `json:"holds"`
}

// ExtendRequest is the body of POST .../extend, which answers with Retention.
type ExtendRequest struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// ClassRequest is the body of POST .../class, which answers with Retention.
type ClassRequest struct {
	Class  string `json:"class"`
	Reason string `json:"reason"`
}

// ReasonRequest is the body of what needs nothing but a reason: POST .../erase,
// which answers with Erased, DELETE /repositories/{repository}, which answers
// with a DeletedRepository, and POST /clock/confirm, which answers with Clock.
type ReasonRequest struct {
	Reason string `json:"reason"`
}

// Erased is a manifest that was erased for a legal cause.
type Erased struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"` // as in the request
}

func (d *door) retention(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	repo, ref, err := d.referenceOf(r)
	if err != nil {
		return err
	}
	return d.sendRetention(w, r, repo, ref)
}

// sendRetention answers with the retention of a manifest. Where the policy ranks
// tags all of them are read, so one such request goes on at a time.
func (d *door) sendRetention(w http.ResponseWriter, r *http.Request, repo *registry.Repository, ref registry.Reference) error {
	done, err := d.count(r.Context())
	if err != nil {
		return err
	}
	defer done()
	info, err := repo.Retention(r.Context(), ref)
	if err != nil {
		return err
	}
	m, decided := &info.Manifest, &info.Decision
	return d.sendJSON(w, r, Retention{
		Repository: repo.Name(), Digest: m.Digest.String(), Class: m.Class, Rule: m.Rule, Chosen: m.Chosen, Expires: moment(m.Expires),
		Extended: m.Extended, Marked: moment(m.Marked), Pulled: moment(m.Pulled), Untagged: moment(m.Untagged),
		State: string(decided.State), Since: moment(decided.Since), Next: moment(decided.Next), Reason: decided.Reason,
		Holds: each(info.Holds, holdJSON),
	})
}

func (d *door) extend(w http.ResponseWriter, r *http.Request) error {
	var request ExtendRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	if request.Until.IsZero() {
		return badBody("the member until is missing: the new end, as in 2027-01-01T12:00:00Z")
	}
	repo, ref, err := d.referenceOf(r)
	if err != nil {
		return err
	}
	if _, err := repo.Extend(r.Context(), ref, request.Until, request.Reason); err != nil {
		return err
	}
	return d.sendRetention(w, r, repo, ref)
}

func (d *door) changeClass(w http.ResponseWriter, r *http.Request) error {
	var request ClassRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	repo, ref, err := d.referenceOf(r)
	if err != nil {
		return err
	}
	if _, err := repo.ChangeClass(r.Context(), ref, request.Class, request.Reason); err != nil {
		return err
	}
	return d.sendRetention(w, r, repo, ref)
}

// erase takes a digest and no tag, which could name another manifest by the time
// that the request arrives.
func (d *door) erase(w http.ResponseWriter, r *http.Request) error {
	var request ReasonRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	repo, ref, err := d.referenceOf(r)
	if err != nil {
		return err
	}
	if ref.Digest.IsZero() {
		return badRequest("a manifest is erased by its digest, not by a tag")
	}
	if err := repo.EraseManifest(r.Context(), ref.Digest, request.Reason); err != nil {
		return err
	}
	return d.sendJSON(w, r, Erased{Repository: repo.Name(), Digest: ref.Digest.String()})
}
