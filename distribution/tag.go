package distribution

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"artifactstore/registry"
)

// tags lists the tags of a repository (end-8).
func (d *door) tags(w http.ResponseWriter, r *http.Request, t target) error {
	repo, err := d.repository(r, t)
	if err != nil {
		return err
	}
	n, last, err := d.page(r, func(last string) error {
		ref, err := registry.ParseReference(last)
		if err == nil && ref.Tag == "" {
			err = registry.Errorf(registry.TagInvalid, "a digest is no tag")
		}
		return err
	})
	if err != nil {
		return err
	}
	page, err := repo.Tags(r.Context(), last, n)
	if err != nil {
		return err
	}
	if page.Names == nil {
		page.Names = []string{}
	}
	body, err := json.Marshal(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{t.name, page.Names})
	if err != nil {
		return fmt.Errorf("encode tags: %w", err)
	}
	release, err := d.hold(len(body))
	if err != nil {
		return err
	}
	defer release()
	linkNames(w, t, "/tags/list", page, n)
	send(w, r, http.StatusOK, "application/json", body)
	return nil
}

// page reads the parameters n and last of a list of names. check tells whether
// last could be one of the names; "" begins at the start.
func (d *door) page(r *http.Request, check func(string) error) (n int, last string, err error) {
	q, err := parseQuery(r, registry.PaginationInvalid)
	if err != nil {
		return 0, "", err
	}
	if n, err = q.pageSize(d.o.PageSize); err != nil {
		return 0, "", err
	}
	if last, err = q.get("last"); err != nil || last == "" {
		return n, "", err
	}
	if err := check(last); err != nil {
		return 0, "", &registry.Error{Code: registry.PaginationInvalid, Message: "last is no name that the list could have", Err: err}
	}
	return n, last, nil
}

// linkNames links to the page after one, if there is more. A page of no entries
// has no next one ("Listing Tags").
func linkNames(w http.ResponseWriter, t target, path string, page registry.Page, n int) {
	if page.More && len(page.Names) > 0 {
		nextPage(w, t, path, n, url.Values{"last": {page.Names[len(page.Names)-1]}})
	}
}
