package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"artifactstore/registry"
)

// Hold is a hold that was placed and not released. Tag and Digest are absent if
// it is on the whole repository.
type Hold struct {
	Name       string     `json:"name"`
	Repository string     `json:"repository"`
	Tag        string     `json:"tag,omitempty"`
	Digest     string     `json:"digest,omitempty"` // BLAKE3 of the manifest as pushed
	Placed     time.Time  `json:"placed"`
	Until      *time.Time `json:"until,omitempty"` // absent: until it is released
	// Ended: its end has come. It holds nothing, and is listed until it is released.
	Ended    bool   `json:"ended,omitempty"`
	Actor    string `json:"actor"`
	Reason   string `json:"reason,omitempty"` // absent if it was erased
	Sequence uint64 `json:"sequence"`         // of the event that placed it
}

// HoldRequest is the body of POST /holds, which answers with the Hold. At most
// one of Tag and Digest is set; neither means the whole repository.
type HoldRequest struct {
	Name       string     `json:"name"`
	Repository string     `json:"repository"`
	Tag        string     `json:"tag,omitempty"`
	Digest     string     `json:"digest,omitempty"` // any of the manifest's
	Until      *time.Time `json:"until,omitempty"`
	Reason     string     `json:"reason"`
}

// HoldRelease is the body of POST /holds/release.
type HoldRelease struct {
	Name       string `json:"name"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Reason     string `json:"reason"`
}

// HoldReleased is the answer to a HoldRelease.
type HoldReleased struct {
	Name       string `json:"name"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
}

// holdPage bounds pages of holds, whose reasons may be long.
const holdPage = 100

func holdJSON(h registry.HoldInfo) Hold {
	return Hold{Name: h.Name, Repository: h.Target.Repository, Tag: h.Target.Tag, Digest: h.Target.Manifest.String(), Placed: h.Placed,
		Until: moment(h.Until), Ended: h.Ended, Actor: h.Actor, Reason: h.Reason, Sequence: uint64(h.Sequence)}
}

func (d *door) holds(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, err := parseHoldPlace(q.after)
	if err != nil {
		return err
	}
	all, next, more, err := d.Registry.HoldPage(r.Context(), after, min(q.n, holdPage))
	if err != nil {
		return err
	}
	return sendPage(d, w, r, q, each(all, holdJSON), more, func() string {
		return fmt.Sprintf("%d/%s/%s", next.Repository, next.Name, next.Target)
	})
}

// parseHoldPlace reads what holds gave as the place of a page. Names have no slash.
func parseHoldPlace(after string) (p registry.HoldPlace, err error) {
	if after == "" {
		return p, nil
	}
	parts := strings.SplitN(after, "/", 3)
	if len(parts) == 3 {
		p.Name, p.Target = parts[1], parts[2]
		p.Repository, err = strconv.ParseInt(parts[0], 10, 64)
	}
	if err != nil || len(parts) < 3 {
		return p, badRequest("after must be taken from the page before")
	}
	return p, nil
}

// holdsOn lists the holds on one repository and in it. They are read at once, as
// there is a limit to how many there can be, and sent in pages.
func (d *door) holdsOn(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	target, name, found := strings.Cut(q.after, "/")
	if q.after != "" && !found {
		return badRequest("after must be taken from the page before")
	}
	repository, err := variable(r, "repository")
	if err != nil {
		return err
	}
	done, err := d.count(r.Context())
	if err != nil {
		return err
	}
	defer done()
	all, err := d.Registry.HoldsOn(r.Context(), repository)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b registry.HoldInfo) int {
		return cmp.Or(cmp.Compare(within(a), within(b)), cmp.Compare(a.Name, b.Name))
	})
	if q.after != "" {
		all = slices.DeleteFunc(all, func(h registry.HoldInfo) bool {
			return cmp.Or(cmp.Compare(within(h), target), cmp.Compare(h.Name, name)) <= 0
		})
	}
	page := all[:min(len(all), q.n, holdPage)]
	return sendPage(d, w, r, q, each(page, holdJSON), len(page) < len(all), func() string {
		last := page[len(page)-1]
		return within(last) + "/" + last.Name
	})
}

// within is what a hold is on within its repository.
func within(h registry.HoldInfo) string { return h.Target.Tag + h.Target.Manifest.String() }

func (d *door) placeHold(w http.ResponseWriter, r *http.Request) error {
	var request HoldRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	ref, err := target(request.Tag, request.Digest)
	if err != nil {
		return err
	}
	hold := registry.HoldRequest{Name: request.Name, Repository: request.Repository, Reference: ref, Reason: request.Reason}
	if request.Until != nil {
		if hold.Until = *request.Until; hold.Until.IsZero() {
			return badBody("the member until is no time to come; a hold without it holds until it is released")
		}
	}
	placed, err := d.Registry.PlaceHold(r.Context(), caller(r), hold)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, holdJSON(placed))
}

func (d *door) releaseHold(w http.ResponseWriter, r *http.Request) error {
	var request HoldRelease
	if err := d.change(r, &request); err != nil {
		return err
	}
	ref, err := target(request.Tag, request.Digest)
	if err != nil {
		return err
	}
	if err := d.Registry.ReleaseHold(r.Context(), caller(r), request.Name, request.Repository, ref, request.Reason); err != nil {
		return err
	}
	return d.sendJSON(w, r, HoldReleased{request.Name, request.Repository, request.Tag, request.Digest})
}

// target reads what a hold is on within its repository.
func target(tag, digest string) (ref registry.Reference, err error) {
	ref.Tag = tag
	if digest != "" {
		ref.Digest, err = registry.ParseDigest(digest)
	}
	return ref, err
}
