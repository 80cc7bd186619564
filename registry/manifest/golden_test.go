package manifest_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// held is the content that the tests' server has: resolve finds it by any digest.
var held = []string{"config", "layer one", "layer two", "{}", "image", "subject"}

func resolve(d identity.Digest) (identity.DigestSet, bool) {
	for _, content := range held {
		if set := identity.Of([]byte(content), identity.SHA512); set.Has(d) {
			return set, true
		}
	}
	return nil, false
}

// none is a server without content.
func none(identity.Digest) (identity.DigestSet, bool) { return nil, false }

// pushed are the files of testdata; their Content-Type is "".
func pushed(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in testdata: %v", err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func build(t testing.TB, raw []byte, resolve func(identity.Digest) (identity.DigestSet, bool)) *manifest.Manifest {
	t.Helper()
	p, err := manifest.Parse(raw, "", manifest.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Build(p, identity.Of(raw, identity.SHA512), int64(len(raw)), resolve)
}

func TestGoldenVectors(t *testing.T) {
	for path, raw := range pushed(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got := describe(t, raw)
			golden := path[:len(path)-len(".json")] + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// describe gives everything that is persisted or sent of a pushed manifest.
func describe(t *testing.T, raw []byte) []byte {
	m := build(t, raw, resolve)
	cbor, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	jcs, err := m.JCS()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	checkBothWays(t, cbor, jcs)
	p, err := manifest.Parse(raw, m.Source.MediaType, manifest.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	referrer := manifest.ReferrerDescriptor(p, identity.FromBytes(identity.SHA256, raw), int64(len(raw)))
	return fmt.Appendf(nil, "cbor: %x\njcs: %s\ndigest: %s\nreferrer: %s\n", cbor, jcs, digest, referrer)
}

// checkBothWays decodes both forms and compares what they encode to.
func checkBothWays(t testing.TB, cbor, jcs []byte) {
	t.Helper()
	fromCBOR, err := manifest.Decode(cbor)
	if err != nil {
		t.Fatal(err)
	}
	fromJCS, err := manifest.FromJCS(jcs)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*manifest.Manifest{fromCBOR, fromJCS} {
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, cbor) {
			t.Fatalf("encoded again: %x, %v\nwant %x", again, err, cbor)
		}
		if again, err := m.JCS(); err != nil || !bytes.Equal(again, jcs) {
			t.Fatalf("projected again: %s, %v\nwant %s", again, err, jcs)
		}
	}
}
