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
	"strconv"
	"strings"

	"artifactstore/conformance/harness"
)

// transcript is what was asked and answered, without what differs between any
// two stores: times, random ids, where bytes are, and the hashes of those.
type transcript struct{ lines []string }

// sessions are the ids of uploads, which are random.
var sessions = regexp.MustCompile(`(/blobs/uploads/)[A-Za-z0-9_-]{20,}`)

// own are the headers that no two servers answer alike.
var own = []string{"Date", "X-Request-Id", "Docker-Upload-Uuid", "Artifactstore-Log", "Artifactstore-Log-Head"}

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

// addOperators adds a request of the operators' API, whose answers may be lines.
// Those of progress come as often as there is time.
func (s *transcript) addOperators(r harness.Request, reply harness.Reply) error {
	r.Path, r.Header, r.Body = markSequences(r.Path), nil, nil // which may name events, too
	alike := reply
	alike.Header = reply.Header.Clone()
	alike.Header.Del("Content-Length") // of times that end with zeros
	for name, values := range alike.Header {
		alike.Header[name] = []string{markSequences(strings.Join(values, ", "))}
	}
	for i, line := range bytes.Split(reply.Body, []byte("\n")) {
		if bytes.HasPrefix(line, []byte(`{"progress":`)) || i > 0 && len(line) == 0 {
			continue
		}
		var err error
		if alike.Body, err = withoutOwn(line); err != nil {
			return fmt.Errorf("%s: %w", r.Path, err)
		}
		s.add(r, alike)
	}
	return nil
}

// How sequences are found in paths and sentences, and how they are marked.
var (
	sequencePlaces = regexp.MustCompile(`(after=|#|[Ee]vent )([1-9][0-9]*)`)
	marked         = regexp.MustCompile(`§([0-9]+)§`)
	// present are times in sentences that are not far ahead.
	present = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+( UTC|Z)`)
)

func markSequences(text string) string {
	return present.ReplaceAllString(sequencePlaces.ReplaceAllString(text, "$1§$2§"), "*")
}

// renumber gives the events that are marked in lines numbers that two stores have
// in common: those that they would have if nobody had noted pulls, which happens
// when there is time.
func renumber(lines []string, pulls []uint64) {
	for i, line := range lines {
		lines[i] = marked.ReplaceAllStringFunc(line, func(mark string) string {
			sequence, err := strconv.ParseUint(strings.Trim(mark, "§"), 10, 64)
			if err != nil {
				return mark
			}
			before, _ := slices.BinarySearch(pulls, sequence)
			return fmt.Sprintf("%d", sequence-uint64(before))
		})
	}
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
	d.list(path+"/holds", 2)
	d.list(path+"/deleted", 3)
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
		d.read(of + "/retention")
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

// events reads the log, but for the pulls, whose sequences it returns.
func (d *dump) events() (pulls []uint64) {
	apart := &dump{ctx: d.ctx, client: d.client, script: new(transcript)}
	reply := apart.get("/admin/v1/events")
	d.err = errors.Join(d.err, apart.err)
	for i, line := range bytes.Split(bytes.TrimSpace(reply.Body), []byte("\n")) {
		var e struct {
			Kind     string
			Sequence uint64
		}
		if err := json.Unmarshal(line, &e); err != nil {
			d.err = errors.Join(d.err, fmt.Errorf("event %d: %w", i, err))
			return nil
		}
		if e.Kind == "v1.manifest.pulled" {
			pulls = append(pulls, e.Sequence)
		} else if i < len(apart.script.lines) {
			d.script.lines = append(d.script.lines, apart.script.lines[i])
		}
	}
	return pulls
}

// digest reads all that is known of a digest.
func (d *dump) digest(digest string) {
	path := "digests/" + digest
	if status := d.read(path); status == http.StatusOK {
		d.list(path+"/repositories", 3)
		d.list(path+"/references", 3)
		d.read(path + "/why")
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
	d.err = d.script.addOperators(request, reply)
	return reply
}

// ownFields are those that no two stores have in common.
var ownFields = []string{
	"time", "created", "moved", "pushed", "stored", "expires", "id", "request", "locator", "payloadDigest", "privateDigest", "chain",
	"deleted", "until", "placed", "set", "untagged", "since", "next",
}

// pulled is known of a manifest if somebody had time to note it.
const pulled = "pulled"

// firstMoment is the least number that is taken for a time in microseconds.
const firstMoment = 1e15

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
		delete(v, pulled)
		_, decided := v["state"] // the reason may count days
		for name, value := range v {
			switch value := value.(type) {
			case string:
				if slices.Contains(ownFields, name) || decided && name == "reason" {
					v[name] = "*"
				} else {
					v[name] = markSequences(value)
				}
			case json.Number:
				if n, err := value.Float64(); err == nil && n >= firstMoment {
					v[name] = "*"
				} else if name == "sequence" {
					v[name] = "§" + value.String() + "§"
				}
			default:
				replaceOwn(value)
			}
		}
	case []any:
		for _, value := range v {
			replaceOwn(value)
		}
	}
}
