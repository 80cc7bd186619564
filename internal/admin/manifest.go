package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// Manifest is a manifest of a repository.
type Manifest struct {
	Repository   string    `json:"repository"`
	Digest       string    `json:"digest"`  // by which it was pushed
	Digests      []string  `json:"digests"` // all that find it
	Native       string    `json:"native"`  // the digest of its canonical CBOR
	MediaType    string    `json:"mediaType"`
	ArtifactType string    `json:"artifactType,omitempty"`
	Subject      string    `json:"subject,omitempty"` // as written
	Size         int64     `json:"size"`              // of the pushed bytes
	Pushed       time.Time `json:"pushed"`
	Class        string    `json:"class"` // of retention
	// Rule is what gave the class, such as "policy ci"; absent: the default.
	Rule    string     `json:"rule,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // absent: never
	// Marked is when it was marked as expired, Pulled the last day on which it
	// was asked for.
	Marked   *time.Time `json:"marked,omitempty"`
	Pulled   *time.Time `json:"pulled,omitempty"`
	Tags     []string   `json:"tags"` // the first ones
	MoreTags bool       `json:"moreTags,omitempty"`
	Sequence uint64     `json:"sequence"` // of the event that put it
}

// tagsShown is how many of the tags of a manifest are told with it.
const tagsShown = 10

func manifestJSON(repository string, m *registry.Manifest) Manifest {
	return Manifest{Repository: repository, Digest: m.Digest.String(), Digests: digestTexts(m.Blob.Digests), Native: m.Native.String(),
		MediaType: m.MediaType, ArtifactType: m.ArtifactType, Subject: m.Subject.String(), Size: m.Blob.Size,
		Pushed: m.Pushed, Class: m.Class, Rule: m.Rule, Expires: moment(m.Expires), Marked: moment(m.Marked), Pulled: moment(m.Pulled),
		Tags: []string{}, Sequence: uint64(m.Sequence)}
}

func digestTexts(set identity.DigestSet) []string {
	return each(set, func(d identity.Digest) string { return d.String() })
}

func (d *door) withTags(r *http.Request, repo *registry.Repository, m *registry.Manifest) (Manifest, error) {
	all := manifestJSON(repo.Name(), m)
	tags, more, err := repo.TagsNaming(r.Context(), m, tagsShown)
	all.Tags, all.MoreTags = append(all.Tags, tags...), more
	return all, err
}

func (d *door) manifests(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	before, err := q.sequence()
	if err != nil {
		return err
	}
	repo, err := d.repositoryOf(r)
	if err != nil {
		return err
	}
	infos, more, err := repo.Manifests(r.Context(), before, q.n)
	if err != nil {
		return err
	}
	items := make([]Manifest, len(infos))
	for i := range infos {
		if items[i], err = d.withTags(r, repo, &infos[i]); err != nil {
			return err
		}
	}
	return sendPage(d, w, r, q, items, more, func() string { return number(infos[len(infos)-1].Sequence) })
}

func (d *door) manifest(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	repo, m, err := d.manifestOf(r)
	if err != nil {
		return err
	}
	all, err := d.withTags(r, repo, m)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, all)
}

// native answers with the native form: its canonical CBOR if the client asks
// for application/cbor, otherwise its JSON projection (RFC 8785).
func (d *door) native(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	_, m, err := d.manifestOf(r)
	if err != nil {
		return err
	}
	content, err := d.Registry.Native(r.Context(), m)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if prefers(r, "application/cbor", "application/json") {
		return d.transmit(w, r, content, m.Native, "application/cbor")
	}
	text, release, err := d.projection(r, content, m.Native)
	if err != nil {
		return err
	}
	defer release()
	// The digest is that of other bytes, hence weak.
	w.Header().Set("Etag", `W/"`+m.Native.String()+`"`)
	send(w, r, http.StatusOK, "application/json", text)
	return nil
}

// projection is the JCS of a native form, and the room that it takes.
func (d *door) projection(r *http.Request, c *registry.Content, digest identity.Digest) (text []byte, release func(), err error) {
	data, back, err := d.whole(r, c, digest)
	if err != nil {
		return nil, nil, err
	}
	text, err = d.project(r.Context(), data)
	back()
	if err != nil {
		return nil, nil, err
	}
	release, err = d.hold(int64(len(text)))
	return text, release, err
}

func (d *door) project(ctx context.Context, data []byte) ([]byte, error) {
	done, err := d.reserve(ctx, int64(len(data)))
	if err != nil {
		return nil, err
	}
	defer done()
	native, err := manifest.Decode(data)
	if err != nil {
		return nil, err
	}
	return native.JCS()
}

// pushed answers with the bytes that were pushed.
func (d *door) pushed(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	repo, m, err := d.manifestOf(r)
	if err != nil {
		return err
	}
	content, err := repo.Pushed(r.Context(), registry.Reference{Digest: m.Digest})
	if err != nil {
		return err
	}
	return d.transmit(w, r, content, m.Digest, m.MediaType)
}

// transmit sends a whole content, of which digest is the name.
func (d *door) transmit(w http.ResponseWriter, r *http.Request, c *registry.Content, digest identity.Digest, mediaType string) error {
	data, release, err := d.whole(r, c, digest)
	if err != nil {
		return err
	}
	defer release()
	w.Header().Set("Etag", `"`+digest.String()+`"`)
	send(w, r, http.StatusOK, mediaType, data)
	return nil
}

// whole reads a content, of a manifest's size, and proves that it is what its
// digest says, so that no operator judges by what a failing disk made of it.
func (d *door) whole(r *http.Request, c *registry.Content, digest identity.Digest) (data []byte, release func(), err error) {
	release, err = d.hold(c.Size)
	if err != nil {
		return nil, nil, err
	}
	if data, err = read(r.Context(), c, digest); err != nil {
		release()
		return nil, nil, err
	}
	return data, release, nil
}

func read(ctx context.Context, c *registry.Content, digest identity.Digest) ([]byte, error) {
	from, err := c.Open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	data := make([]byte, c.Size)
	_, err = io.ReadFull(from, data)
	if err = errors.Join(err, from.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", digest, err)
	}
	if identity.FromBytes(digest.Algorithm(), data) != digest {
		return nil, errDamaged
	}
	return data, nil
}

// prefers tells whether the client names a media type with a greater weight
// than the one that it gets otherwise. Ranges such as */* say nothing.
func prefers(r *http.Request, mediaType, otherwise string) bool {
	return weight(r, mediaType) > weight(r, otherwise)
}

// weight is the q of a media type in the Accept header, 0 if it is not named.
func weight(r *http.Request, mediaType string) (most float64) {
	for _, header := range r.Header.Values("Accept") {
		for entry := range strings.SplitSeq(header, ",") {
			name, parameters, err := mime.ParseMediaType(entry)
			if err != nil || name != mediaType {
				continue
			}
			q, err := strconv.ParseFloat(cmp.Or(parameters["q"], "1"), 64)
			if err == nil && q <= 1 {
				most = max(most, q)
			}
		}
	}
	return most
}

// Reference is one descriptor of a manifest.
type Reference struct {
	Role      string `json:"role"` // config, layer or manifest
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
	// Held tells whether the content was there when the manifest was pushed.
	Held bool `json:"held"`
}

func (d *door) references(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after := int64(-1)
	if q.after != "" {
		place, err := q.place(1)
		if err != nil {
			return err
		}
		after = place[0]
	}
	_, m, err := d.manifestOf(r)
	if err != nil {
		return err
	}
	all, more, err := d.Registry.ManifestReferences(r.Context(), m, after, q.n)
	if err != nil {
		return err
	}
	items := each(all, func(f registry.ReferenceInfo) Reference {
		return Reference{Role: f.Role, Digest: f.Digest.String(), MediaType: f.MediaType, Size: f.Size, Held: !f.Target.IsZero()}
	})
	return sendPage(d, w, r, q, items, more, func() string { return number(all[len(all)-1].Ordinal) })
}

// referrerBytes bounds the descriptors of a page of referrers.
const referrerBytes = 1 << 20

// Referrer is a manifest whose subject is the one that was asked for. The
// descriptor is as the OCI API lists it.
type Referrer struct {
	Sequence   uint64          `json:"sequence"`
	Descriptor json.RawMessage `json:"descriptor"`
}

func (d *door) referrers(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, err := q.sequence()
	if err != nil {
		return err
	}
	repo, m, err := d.manifestOf(r)
	if err != nil {
		return err
	}
	release, err := d.hold(referrerBytes) // while the page is read: what it really has is held while it is sent
	if err != nil {
		return err
	}
	defer release()
	all, more, err := repo.Referrers(r.Context(), m.Digest, "", eventlog.Sequence(after), q.n, referrerBytes)
	if err != nil {
		return err
	}
	release()
	items := each(all, func(f registry.Referrer) Referrer { return Referrer{uint64(f.Sequence), f.Descriptor} })
	return sendPage(d, w, r, q, items, more, func() string { return number(all[len(all)-1].Sequence) })
}
