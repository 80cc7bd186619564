package manifest_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTheFormatDocumentShowsTheGoldenBytes reads the worked example of
// docs/format/manifest.md back into bytes.
func TestTheFormatDocumentShowsTheGoldenBytes(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```cbor\n")
	example, rest, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("no example")
	}
	var data []byte
	for line := range strings.Lines(example) {
		line, _, _ = strings.Cut(line, ";")
		head, text, _ := strings.Cut(line, `"`)
		offset, bytes, _ := strings.Cut(strings.TrimSpace(head), " ")
		if at, err := strconv.Atoi(offset); err != nil || at != len(data) {
			t.Errorf("offset %s is %d", offset, len(data))
		}
		b, err := hex.DecodeString(strings.ReplaceAll(bytes, " ", ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		data = append(append(data, b...), strings.TrimSuffix(text, "\"\n")...)
	}
	golden, err := os.ReadFile("testdata/minimal.golden")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("cbor: %x\n", data); !strings.HasPrefix(string(golden), want) {
		t.Errorf("the document shows %s", want)
	}
	_, digest, _ := strings.Cut(string(golden), "digest: ")
	digest, _, _ = strings.Cut(digest, "\n")
	if !strings.Contains(rest, digest) {
		t.Errorf("the document does not name %s", digest)
	}
}
