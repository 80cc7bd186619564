package distribution

import (
	"encoding/json"
	"fmt"
	"net/http"

	"artifactstore/registry"
)

// catalog lists the repositories, in pages as those of tags.
func (d *door) catalog(w http.ResponseWriter, r *http.Request, t target) error {
	n, last, err := d.page(r, func(last string) error {
		_, err := d.registry.Repository(last, registry.Caller{})
		return err
	})
	if err != nil {
		return err
	}
	page, err := d.registry.Catalog(r.Context(), last, n)
	if err != nil {
		return err
	}
	if page.Names == nil {
		page.Names = []string{}
	}
	body, err := json.Marshal(struct {
		Repositories []string `json:"repositories"`
	}{page.Names})
	if err != nil {
		return fmt.Errorf("encode repositories: %w", err)
	}
	release, err := d.hold(len(body))
	if err != nil {
		return err
	}
	defer release()
	linkNames(w, t, "_catalog", page, n)
	send(w, r, http.StatusOK, "application/json", body)
	return nil
}
