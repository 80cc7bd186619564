package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	spec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

func FuzzParse(f *testing.F) {
	for _, raw := range pushed(f) {
		f.Add(raw, "")
		f.Add(raw, ociManifest)
	}
	for _, raw := range []string{image(`"manifests":[]`), `{"schemaVersion":1}`, layered(whole + `,"data":"bGF5ZXIgb25l"`), image(`"x":` + strings.Repeat("[", 99)), "\xff"} {
		f.Add([]byte(raw), dockerManifest+"; charset=utf-8")
	}
	f.Fuzz(func(t *testing.T, raw []byte, contentType string) {
		p, err := manifest.Parse(raw, contentType, manifest.Limits{Descriptors: 100, Entries: 100})
		if err != nil {
			if _, ok := errors.AsType[*manifest.Error](err); !ok || p != nil {
				t.Fatalf("got %v, %T", p, err)
			}
			return
		}
		compareWithSpec(t, raw, p)
		set := identity.Of(raw)
		m := manifest.Build(p, set, int64(len(raw)), resolve)
		checkBothWays(t, native(t, m), must(m.JCS()))
		if manifest.ReferrerDescriptor(p, set.Primary(), int64(len(raw))) == nil {
			t.Fatal("no referrer descriptor")
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, raw := range pushed(f) {
		f.Add(native(f, build(f, raw, resolve)))
		f.Add(native(f, build(f, raw, none)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Decode(data)
		if err != nil {
			if !errors.Is(err, manifest.ErrInvalid) || m != nil {
				t.Fatalf("got %v, %v", m, err)
			}
			return
		}
		checkBothWays(t, data, must(m.JCS()))
	})
}

func FuzzJCS(f *testing.F) {
	for _, raw := range pushed(f) {
		f.Add(must(build(f, raw, resolve).JCS()))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.FromJCS(text)
		if err != nil {
			if !errors.Is(err, manifest.ErrInvalid) || m != nil {
				t.Fatalf("got %v, %v", m, err)
			}
			return
		}
		checkBothWays(t, native(t, m), text)
	})
}

// twentyLayers is an OCI manifest of a usual size, and a server that holds it.
func twentyLayers(b *testing.B) ([]byte, func(identity.Digest) (identity.DigestSet, bool)) {
	sets := map[identity.Digest]identity.DigestSet{}
	hold := func(content string) string {
		set := identity.Of([]byte(content))
		sha256, _ := set.Get(identity.SHA256)
		sets[sha256] = set
		return sha256.String()
	}
	var layers []string
	for i := range 20 {
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":%d}`, hold(fmt.Sprint(i)), 1<<i))
	}
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":6},"layers":[%s],"annotations":{"org.opencontainers.image.created":"2026-01-01T00:00:00Z"}}`,
		ociManifest, hold("config"), strings.Join(layers, ","))
	return []byte(raw), func(d identity.Digest) (identity.DigestSet, bool) {
		set, ok := sets[d]
		return set, ok
	}
}

func BenchmarkTwentyLayers(b *testing.B) {
	raw, resolve := twentyLayers(b)
	p := must(manifest.Parse(raw, ociManifest, manifest.DefaultLimits()))
	source := identity.Of(raw)
	m := manifest.Build(p, source, int64(len(raw)), resolve)
	data, text := native(b, m), must(m.JCS())
	steps := []struct {
		name string
		run  func() error
	}{
		{"Parse", func() error { _, err := manifest.Parse(raw, ociManifest, manifest.DefaultLimits()); return err }},
		{"Build", func() error { manifest.Build(p, source, int64(len(raw)), resolve); return nil }},
		{"Encode", func() error { _, err := m.Encode(); return err }},
		{"Decode", func() error { _, err := manifest.Decode(data); return err }},
		{"JCS", func() error { _, err := m.JCS(); return err }},
		{"FromJCS", func() error { _, err := manifest.FromJCS(text); return err }},
		{"encoding/json, for comparison", func() error { return json.NewDecoder(bytes.NewReader(raw)).Decode(new(spec.Manifest)) }},
	}
	for _, s := range steps {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
