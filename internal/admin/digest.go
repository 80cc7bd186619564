package admin

import (
	"fmt"
	"net/http"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
)

// Digest is a byte sequence that is stored.
type Digest struct {
	Digests []string  `json:"digests"`
	Size    int64     `json:"size"` // bytes
	Stored  time.Time `json:"stored"`
	// Store is where the bytes are: "content" means the database.
	Store    string `json:"store"`
	Locator  string `json:"locator,omitempty"`
	Sequence uint64 `json:"sequence"` // of the event that stored it
	// Verified is when the bytes were last read and found right. Damaged: they
	// were found missing or wrong, and are not served.
	Verified *time.Time `json:"verified,omitempty"`
	Damaged  bool       `json:"damaged,omitempty"`
	// Native has manifests whose native form this is, the first ones.
	Native []User `json:"native,omitempty"`
}

// nativeShown is how many manifests of one native form are told with it.
const nativeShown = 10

func (d *door) digest(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	b, err := d.blobOf(r)
	if err != nil {
		return err
	}
	native, _, err := d.Registry.NativeOf(r.Context(), b, nativeShown)
	if err != nil {
		return err
	}
	all := digestJSON(*b)
	all.Native = each(native, userJSON)
	return d.sendJSON(w, r, all)
}

func digestJSON(b registry.Blob) Digest {
	return Digest{Digests: digestTexts(b.Digests), Size: b.Size, Stored: b.Stored, Store: b.Receipt.Store, Locator: b.Receipt.Locator,
		Sequence: uint64(b.Sequence), Verified: moment(b.Verified), Damaged: b.Damaged}
}

// damaged lists what is not served because its bytes are missing or wrong.
func (d *door) damaged(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, err := q.sequence()
	if err != nil {
		return err
	}
	all, more, err := d.Registry.DamagedBlobs(r.Context(), after, q.n)
	if err != nil {
		return err
	}
	return sendPage(d, w, r, q, each(all, digestJSON), more, func() string { return number(all[len(all)-1].Sequence) })
}

// blobOf is the byte sequence that the path names by any digest.
func (d *door) blobOf(r *http.Request) (*registry.Blob, error) {
	digest, err := digestOf(r)
	if err != nil {
		return nil, err
	}
	return d.Registry.Find(r.Context(), digest)
}

// Holder is a repository that has a byte sequence, as a blob, as a manifest, or
// as both.
type Holder struct {
	Repository string `json:"repository"`
	Blob       bool   `json:"blob"`
	Manifest   bool   `json:"manifest"`
}

func (d *door) holders(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, err := q.sequence()
	if err != nil {
		return err
	}
	b, err := d.blobOf(r)
	if err != nil {
		return err
	}
	all, more, err := d.Registry.Holders(r.Context(), b, eventlog.Sequence(after), q.n)
	if err != nil {
		return err
	}
	items := each(all, func(h registry.Holder) Holder { return Holder{h.Repository, h.Blob, h.Manifest} })
	return sendPage(d, w, r, q, items, more, func() string { return number(all[len(all)-1].Sequence) })
}

// User is a manifest that references a byte sequence, or is made of it.
type User struct {
	Repository string `json:"repository"`
	Manifest   string `json:"manifest"` // by which the manifest was pushed
	MediaType  string `json:"mediaType"`
	Role       string `json:"role"` // config, layer, manifest or native
}

func userJSON(u registry.User) User {
	return User{Repository: u.Repository, Manifest: u.Manifest.String(), MediaType: u.MediaType, Role: u.Role}
}

func (d *door) users(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	place, err := q.place(4)
	if err != nil {
		return err
	}
	b, err := d.blobOf(r)
	if err != nil {
		return err
	}
	after := registry.UserPlace{Digest: int(min(place[0], 16)), Repository: place[1], Manifest: place[2], Ordinal: place[3]}
	all, more, err := d.Registry.Users(r.Context(), b, after, q.n)
	if err != nil {
		return err
	}
	return sendPage(d, w, r, q, each(all, userJSON), more, func() string {
		p := all[len(all)-1].Place
		return fmt.Sprintf("%d.%d.%d.%d", p.Digest, p.Repository, p.Manifest, p.Ordinal)
	})
}
