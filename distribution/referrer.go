package distribution

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// indexType is the media type of a list of referrers.
const indexType = "application/vnd.oci.image.index.v1+json"

// The list of referrers is an image index around descriptors that are kept in
// the form in which they are sent.
const (
	indexHead = `{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[`
	indexTail = `]}`
)

// referrers lists the manifests whose subject is a digest (end-12). The subject
// need not be known: the list of what is not referred to is empty.
func (d *door) referrers(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	subject, err := registry.ParseDigest(t.item)
	if err != nil {
		return err
	}
	p, err := d.referrerPage(r)
	if err != nil {
		return err
	}
	list, more, err := d.listReferrers(r, repo, subject, p)
	if err != nil {
		return err
	}
	release, err := d.hold(size(list))
	if err != nil {
		return err
	}
	defer release()
	if p.artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if more && len(list) > 0 {
		next := url.Values{"after": {strconv.FormatUint(uint64(list[len(list)-1].Sequence), 10)}}
		if p.artifactType != "" {
			next.Set("artifactType", p.artifactType)
		}
		nextPage(w, t, "/referrers/"+subject.String(), p.n, next)
	}
	sendIndex(w, r, list)
	return nil
}

// listReferrers reads a page, of as many bytes as there is room for now.
func (d *door) listReferrers(r *http.Request, repo *registry.Repository, subject identity.Digest, p referrerPage) ([]registry.Referrer, bool, error) {
	if p.n == 0 {
		return nil, false, nil
	}
	bytes, release := d.holdPage()
	defer release() // what the page really has is held while it is sent
	return repo.Referrers(r.Context(), subject, p.artifactType, p.after, p.n, bytes)
}

// size is the length of the list as it is sent.
func size(list []registry.Referrer) int {
	length := len(indexHead) + len(indexTail) + max(0, len(list)-1)
	for _, referrer := range list {
		length += len(referrer.Descriptor)
	}
	return length
}

// referrerPage is the query of a list of referrers.
type referrerPage struct {
	artifactType string
	after        eventlog.Sequence
	n            int
}

func (d *door) referrerPage(r *http.Request) (p referrerPage, err error) {
	q, err := parseQuery(r, registry.PaginationInvalid)
	if err != nil {
		return p, err
	}
	if p.n, err = q.pageSize(d.o.PageSize); err != nil {
		return p, err
	}
	if p.artifactType, err = q.get("artifactType"); err != nil {
		return p, err
	}
	if !utf8.ValidString(p.artifactType) || strings.ContainsRune(p.artifactType, 0) {
		return p, registry.Errorf(registry.PaginationInvalid, "the artifactType is no media type")
	}
	text, err := q.get("after")
	if err != nil || text == "" {
		return p, err
	}
	after, ok := parseNumber(text)
	if !ok {
		return p, registry.Errorf(registry.PaginationInvalid, "after must be taken from the Link of a page")
	}
	p.after = eventlog.Sequence(after)
	return p, nil
}

// sendIndex writes the list without a copy of it.
func sendIndex(w http.ResponseWriter, r *http.Request, list []registry.Referrer) {
	header := w.Header()
	header.Set("Content-Type", indexType)
	header.Set("Content-Length", strconv.Itoa(size(list)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	separator := indexHead
	for _, referrer := range list {
		w.Write([]byte(separator))
		w.Write(referrer.Descriptor)
		separator = ","
	}
	if len(list) == 0 {
		w.Write([]byte(indexHead))
	}
	w.Write([]byte(indexTail))
}
