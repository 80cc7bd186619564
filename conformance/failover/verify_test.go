package failover_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"artifactstore/conformance/harness"
)

// verify reads through every node what was acknowledged, and looks into the log
// for gaps and for what is there twice. The load has ended.
func (l *load) verify(t *testing.T, c *harness.Cluster) []harness.Event {
	t.Helper()
	events, err := c.Nodes[0].Events(0)
	harness.Must(t, err)
	l.checkLog(t, events)
	var wait sync.WaitGroup
	for i, node := range c.Nodes {
		client := node.Client()
		defer client.Close()
		for _, w := range l.writers {
			wait.Go(func() {
				if err := w.check(t.Context(), client); err != nil {
					t.Errorf("node %d: %v", i+1, err)
				}
			})
		}
	}
	wait.Wait()
	if _, err := c.Nodes[0].CheckReplay(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		for i, node := range c.Nodes {
			t.Logf("node %d printed:\n%s", i+1, warnings(node.Output()))
		}
	}
	return events
}

// warnings are the last lines of a log that are no lines of requests that went well.
func warnings(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if !strings.Contains(line, "level=INFO msg=request") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// check reads all that a writer pushed, byte for byte.
func (w *writer) check(ctx context.Context, c *harness.Client) error {
	for _, im := range w.images {
		for _, reference := range []string{im.tag, harness.SHA256(im.manifest)} {
			if err := sameBytes(ctx, c, "/v2/"+w.repository+"/manifests/"+reference, im.manifest); err != nil {
				return err
			}
		}
		for _, blob := range im.blobs {
			if err := sameBytes(ctx, c, "/v2/"+w.repository+"/blobs/"+harness.SHA256(blob), blob); err != nil {
				return err
			}
		}
	}
	for _, tag := range []*casTag{&w.own, &w.shared} {
		for _, m := range tag.moves {
			if !m.acked {
				continue
			}
			if err := sameBytes(ctx, c, "/v2/"+tag.repository+"/manifests/"+m.to, m.manifest); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameBytes(ctx context.Context, c *harness.Client, path string, want []byte) error {
	reply, err := c.Get(ctx, path)
	if err == nil {
		err = reply.Expect(http.StatusOK)
	}
	if err != nil {
		return fmt.Errorf("acknowledged and then lost: %s: %w", path, err)
	}
	if !bytes.Equal(reply.Body, want) {
		return fmt.Errorf("%s: %d bytes that were not pushed", path, len(reply.Body))
	}
	return nil
}

// payload is what the tests read of payloads.
type payload struct {
	Digest  string            `json:"digest"`
	Receipt map[string]string `json:"receipt"`
	To      json.RawMessage   `json:"to"`
}

// checkLog looks for what is there twice, and follows the tags that were moved
// conditionally. Everything that was pushed is unique.
func (l *load) checkLog(t *testing.T, events []harness.Event) {
	t.Helper()
	seen := map[string]int{}
	moved := map[string][]string{} // subject: digests, in order
	for _, e := range events {
		switch e.Kind {
		case "v1.manifest.pulled", "v1.storage.location_verified": // are said again and again
			continue
		case "v1.tag.moved":
			var p payload
			harness.Must(t, json.Unmarshal(e.Payload, &p))
			moved[e.Subject] = append(moved[e.Subject], p.Digest)
			continue
		}
		seen[e.Kind+" "+e.Subject]++
	}
	for what, n := range seen {
		if n > 1 {
			t.Errorf("%s is %d times in the log", what, n)
		}
	}
	var shared []move
	for _, w := range l.writers {
		for _, im := range w.images {
			if got := moved[w.repository+":"+im.tag]; len(got) != 1 || got[0] != harness.SHA256(im.manifest) {
				t.Errorf("%s:%s, acknowledged once, was moved to %v", w.repository, im.tag, got)
			}
		}
		checkMoves(t, w.repository+":own", moved[w.repository+":own"], w.own.moves)
		shared = append(shared, w.shared.moves...)
	}
	checkMoves(t, common+":shared", moved[common+":shared"], shared)
}

// checkMoves compares where a tag went with who wanted to move it from where:
// each step is one that somebody wanted, and each that was acknowledged is there
// once.
func checkMoves(t *testing.T, tag string, went []string, wanted []move) {
	t.Helper()
	from := map[string]string{}
	for _, m := range wanted {
		from[m.to] = m.from
	}
	times, at := map[string]int{}, ""
	for _, digest := range went {
		if expected, ok := from[digest]; !ok || expected != at {
			t.Errorf("%s went from %q to %s, which was to be moved to from %q", tag, at, digest, expected)
		}
		times[digest]++
		at = digest
	}
	for _, m := range wanted {
		if n := times[m.to]; n > 1 || m.acked && n == 0 {
			t.Errorf("%s was moved to %s %d times (acknowledged: %v)", tag, m.to, n, m.acked)
		}
	}
}
