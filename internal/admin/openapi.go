package admin

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPI []byte

// openAPI answers with the description of the API (OpenAPI 3.1).
func (d *door) openAPI(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	send(w, r, http.StatusOK, "application/json", openAPI)
	return nil
}
