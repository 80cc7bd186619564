package model_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"artifactstore/conformance/harness"
)

// transcript is what was asked and answered, without what differs between any
// two stores: times, random ids, where bytes are, and the hashes of those.
type transcript struct{ lines []string }

// sessions are the ids of uploads, which are random.
var sessions = regexp.MustCompile(`(/blobs/uploads/)[A-Za-z0-9_-]{20,}`)

// own are the headers that no two servers answer alike.
var own = []string{"Date", "X-Request-Id", "Docker-Upload-Uuid", "Artifactstore-Log"}

func (s *transcript) add(r harness.Request, reply harness.Reply) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Method, r.Path)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, " %s=%s", name, r.Header[name])
	}
	fmt.Fprintf(&b, " (%d bytes) -> %d", len(r.Body), reply.Status)
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		if !slices.Contains(own, name) {
			fmt.Fprintf(&b, " %s=%s", name, reply.Header[name])
		}
	}
	if kind := reply.Header.Get("Content-Type"); strings.Contains(kind, "json") {
		fmt.Fprintf(&b, " %s", reply.Body)
	} else {
		fmt.Fprintf(&b, " %s", harness.SHA256(reply.Body))
	}
	s.lines = append(s.lines, sessions.ReplaceAllString(b.String(), "$1*"))
}

// dump reads the operators' API. After an error it does nothing.
type dump struct {
	ctx    context.Context
	client *harness.Client
	script *transcript
	err    error
}

// escape makes a name one segment of a path.
func escape(name any) string { return url.PathEscape(fmt.Sprint(name)) }

// repository reads all of a repository.
func (d *dump) repository(name string) {
	path := "repositories/" + name
	d.read(path)
	d.read(path + "/usage")
	for _, tag := range d.list(path+"/tags", 5) {
		of := path + "/tags/" + escape(tag["name"])
		d.read(of)
		d.list(of+"/history", 3)
	}
	for _, manifest := range d.list(path+"/manifests", 7) {
		of := path + "/manifests/" + escape(manifest["digest"])
		for _, form := range []string{"", "/info", "/pushed"} {
			d.read(of + form)
		}
		d.list(of+"/references", 4)
		d.list(of+"/referrers", 2)
	}
}

// uploads reads the uploads in progress, whose order is that of random ids.
func (d *dump) uploads() {
	apart := &dump{ctx: d.ctx, client: d.client, script: new(transcript)}
	items := apart.list("uploads", 3)
	d.err = errors.Join(d.err, apart.err)
	var lines []string
	for _, item := range items {
		lines = append(lines, fmt.Sprintf("upload %v %v %v", item["repository"], item["actor"], item["received"]))
	}
	slices.Sort(lines)
	d.script.lines = append(d.script.lines, lines...)
}

// digest reads all that is known of a digest.
func (d *dump) digest(digest string) {
	path := "digests/" + digest
	if status := d.read(path); status == http.StatusOK {
		d.list(path+"/repositories", 3)
		d.list(path+"/references", 3)
	}
}

// read reads one answer.
func (d *dump) read(path string) (status int) {
	reply := d.get("/admin/v1/" + path)
	return reply.Status
}

// list reads all pages of a list and returns its items.
func (d *dump) list(path string, size int) (items []map[string]any) {
	next := harness.AddQuery("/admin/v1/"+path, "n", fmt.Sprint(size))
	for next != "" && d.err == nil {
		reply := d.get(next)
		var page struct{ Items []map[string]any }
		if d.err == nil {
			d.err = json.Unmarshal(reply.Body, &page)
		}
		items = append(items, page.Items...)
		next = reply.Next()
	}
	return items
}

func (d *dump) get(path string) harness.Reply {
	if d.err != nil {
		return harness.Reply{}
	}
	request := harness.Request{Method: http.MethodGet, Path: path}
	reply, err := d.client.Do(d.ctx, request)
	if err == nil {
		err = reply.Expect(http.StatusOK, http.StatusNotFound)
	}
	if err != nil {
		d.err = fmt.Errorf("%s: %w", path, err)
		return reply
	}
	alike := reply
	alike.Header = reply.Header.Clone()
	alike.Header.Del("Content-Length") // of times that end with zeros
	for i, line := range bytes.Split(reply.Body, []byte("\n")) {
		// A stream of events is a line of the dump for each.
		if alike.Body, err = withoutOwn(line); err != nil {
			d.err = fmt.Errorf("%s: %w", path, err)
			break
		}
		if i == 0 || len(line) > 0 {
			d.script.add(request, alike)
		}
	}
	return reply
}

// ownFields are those that no two stores have in common.
var ownFields = []string{
	"time", "created", "moved", "pushed", "stored", "expires", "id", "request", "locator", "payloadDigest", "privateDigest", "chain",
}

// withoutOwn replaces the texts of ownFields in a JSON text.
func withoutOwn(text []byte) ([]byte, error) {
	if !json.Valid(text) {
		return text, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	replaceOwn(v)
	return json.Marshal(v)
}

func replaceOwn(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if _, isText := value.(string); isText && slices.Contains(ownFields, name) {
				v[name] = "*"
			} else {
				replaceOwn(value)
			}
		}
	case []any:
		for _, value := range v {
			replaceOwn(value)
		}
	}
}
