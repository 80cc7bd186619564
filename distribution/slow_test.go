package distribution_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"artifactstore/internal/budget"
)

// share gives the server room for lists and bodies that wait for clients.
func share(size int64) func(*settings) {
	return func(o *settings) {
		held := budget.NewShare(size)
		o.registry.Held, o.door.Held = held, held
		o.registry.Budget = budget.New(budget.Minimum)
	}
}

// TestStalledManifestsKeepNobodyWaiting: what a client announces and does not
// send costs nothing, and what it has sent is not waited for by others.
func TestStalledManifestsKeepNobodyWaiting(t *testing.T) {
	s := newServer(t, share(256<<10))
	manifest := s.image("a", 1, "")
	for i := range 20 {
		header := fmt.Sprintf("PUT /v2/a/manifests/slow%d HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 4194304\r\n\r\n{", i, imageType)
		s.raw(header + strings.Repeat(" ", i%4*10_000))
	}
	began := time.Now()
	s.putManifest("a", "v1", manifest).want(201)
	if took := time.Since(began); took > 5*time.Second { // the stalled ones stay for 30 s
		t.Errorf("the push took %v", took)
	}
}

func TestLargeManifestIsRefusedWhileThereIsNoRoom(t *testing.T) {
	s := newServer(t, share(64<<10))
	manifest := s.image("a", 1, "")
	large := append(bytes.Clone(manifest), bytes.Repeat([]byte(" "), 100<<10)...)
	s.putManifest("a", "v1", large).refused(429, "TOOMANYREQUESTS", "Retry-After: 1")
	s.putManifest("a", "v1", append(manifest, bytes.Repeat([]byte(" "), 50<<10)...)).want(201)
}

// TestPagesGetShorterWhileThereIsNoRoom: what fits into what is always free is
// listed, in more pages than usual.
func TestPagesGetShorterWhileThereIsNoRoom(t *testing.T) {
	for size, want := range map[int64]int{256 << 10: 1, 0: 2} {
		s := newServer(t, share(size), func(o *settings) { o.door.PageBytes = 128 << 10 })
		subject := s.pushImage("a", "v1", 1)
		for i := range 3 {
			s.putManifest("a", fmt.Sprint("r", i), s.image("a", 10+i, fmt.Sprintf(
				`,"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"note":%q}`,
				imageType, sha256Of(subject), len(subject), strings.Repeat("x", 6<<10)))).want(201)
		}
		if all, pages := s.referrers("/v2/a/referrers/" + sha256Of(subject)); len(all) != 3 || pages != want {
			t.Errorf("with %d bytes: %d referrers in %d pages, want %d", size, len(all), pages, want)
		}
	}
}

func TestListIsRefusedWhereThereIsNoRoomForIt(t *testing.T) {
	s := newServer(t, share(0))
	manifest := s.image("a", 1, "")
	var tags []string
	for i := range 200 {
		tags = append(tags, fmt.Sprintf("tag=%s%03d", strings.Repeat("t", 100), i))
	}
	s.putManifest("a", sha256Of(manifest)+"?"+strings.Join(tags, "&"), manifest).want(201)
	s.do("GET", "/v2/a/tags/list", nil).refused(429, "TOOMANYREQUESTS", "Retry-After: 1")
	s.do("GET", "/v2/a/tags/list?n=100", nil).want(200)
}

func TestLogKeepsNoTokensAndNoAddresses(t *testing.T) {
	s := newServer(t)
	at := s.start("a", "")
	session := at[strings.LastIndex(at, "/")+1:]
	for _, path := range []string{at + "/", at + "/x", "/v2/" + at[3:], strings.Replace(at, "uploads", "Uploads", 1)} {
		if got := s.do("PATCH", path, nil); got.status < 400 {
			t.Fatalf("%s: %d", path, got.status)
		}
	}
	// A client that goes away while it is being answered.
	blob := s.pushBlob("a", content(1, 8<<20))
	c := s.raw("GET /v2/a/blobs/" + blob + " HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
	s.http.Close() // waits for the request
	log := s.log.String()
	if strings.Contains(log, session) {
		t.Error("the log has the token of a session")
	}
	if host := strings.TrimPrefix(s.url, "http://"); strings.Contains(log, host) {
		t.Errorf("the log has the address %s", host)
	}
}
