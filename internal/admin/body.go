package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"artifactstore/internal/canon"
	"artifactstore/internal/web"
)

// maxBody is how long the body of a request may be, in bytes.
const maxBody = 128 << 10

var (
	errReadOnly    = &refusal{http.StatusConflict, "STORE_READ_ONLY", "this store was opened to be looked at: changes go through the server that serves it"}
	errContentType = &refusal{http.StatusUnsupportedMediaType, "CONTENT_TYPE_REFUSED", "the body must be JSON, and the Content-Type header must say application/json"}
	errBodySize    = &refusal{http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", "the body is longer than " + strconv.Itoa(maxBody>>10) + " KiB"}
)

func badBody(message string) error {
	return &refusal{http.StatusBadRequest, "BODY_INVALID", message}
}

// change reads the body of a request that changes the store.
func (d *door) change(r *http.Request, into any) error {
	if err := d.changeable(); err != nil {
		return err
	}
	return d.body(r, into)
}

// changeable refuses what would change the store where that cannot be, or where
// it would be decided by other rules than those of the other nodes.
func (d *door) changeable() error {
	if d.ReadOnly {
		return errReadOnly
	}
	if d.Fit == nil {
		return nil
	}
	if err := d.Fit(); err != nil {
		return &refusal{http.StatusConflict, "NODE_UNFIT", "this node changes nothing now: " + err.Error()}
	}
	return nil
}

// body reads the body of a request: one JSON object, of which into, a pointer to
// a struct, has all members. Members that are unknown, spelled in another case or
// there twice are refused: an option that is spelt wrongly must not be ignored.
// Pages of the web cannot send such a body to another site without being asked
// whether they may (the Fetch standard, "CORS-safelisted request-header").
func (d *door) body(r *http.Request, into any) error {
	if err := noQuery(r); err != nil {
		return err
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return errContentType
	}
	if r.ContentLength > maxBody {
		return errBodySize
	}
	size := r.ContentLength
	if size < 0 {
		size = maxBody
	}
	release, err := d.hold(size)
	if err != nil {
		return err
	}
	defer release()
	text, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if failed, ok := errors.AsType[*web.BodyError](err); ok {
		return &refusal{http.StatusBadRequest, "BODY_INVALID", "the request ended before its body was complete: " + reason(failed)}
	}
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if len(text) > maxBody {
		return errBodySize
	}
	if len(text) > freeAnswer {
		done, err := d.reserve(r.Context(), int64(len(text)))
		if err != nil {
			return err
		}
		defer done()
	}
	return decode(text, into)
}

// reason says which of the client's failures it was.
func reason(e *web.BodyError) string {
	if errors.Is(e, web.ErrSlow) {
		return "it came too slowly"
	}
	return "the connection broke"
}

// decode reads a JSON object strictly.
func decode(text []byte, into any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return badBody("the body is empty; it must be a JSON object, at least {}")
	}
	known := membersOf(into)
	reader := canon.NewJSONReader(text)
	err := reader.Object(func(name string) error {
		if !slices.Contains(known, name) {
			return badBody(fmt.Sprintf("there is no member %.100q", name))
		}
		return reader.Skip()
	})
	if err == nil {
		err = reader.End()
	}
	if wrong, ok := errors.AsType[*canon.JSONError](err); ok {
		return badBody(fmt.Sprintf("the body: JSON at byte %d %s", wrong.Offset, wrong.Problem))
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return badBody("the body: " + plainly(err))
	}
	return nil
}

// membersOf are the names of the members that a struct has in JSON.
func membersOf(into any) (names []string) {
	t := reflect.TypeOf(into).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// plainly says what a decoder found wrong, without the words of Go.
func plainly(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "the member " + wrong.Field + " does not take a " + wrong.Value
	}
	return "a time must be as in 2027-01-01T12:00:00Z" // the only texts that have a form
}
