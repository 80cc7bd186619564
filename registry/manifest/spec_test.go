package manifest_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	spec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// The manifests below are made by the types of image-spec, in the shapes that
// the OCI distribution conformance suite pushes.

func descriptor(mediaType, content string, algorithm digest.Algorithm) spec.Descriptor {
	return spec.Descriptor{MediaType: mediaType, Digest: algorithm.FromString(content), Size: int64(len(content))}
}

func specImage(change func(*spec.Manifest)) spec.Manifest {
	m := spec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: spec.MediaTypeImageManifest,
		Config: descriptor(spec.MediaTypeImageConfig, "config", digest.SHA256),
		Layers: []spec.Descriptor{
			descriptor(spec.MediaTypeImageLayerGzip, "layer one", digest.SHA256),
			descriptor(spec.MediaTypeImageLayer, "layer two", digest.SHA256),
		},
	}
	if change != nil {
		change(&m)
	}
	return m
}

func specIndex(change func(*spec.Index)) spec.Index {
	i := spec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: spec.MediaTypeImageIndex,
		Manifests: []spec.Descriptor{descriptor(spec.MediaTypeImageManifest, "image", digest.SHA256)},
	}
	i.Manifests[0].Platform = &spec.Platform{OS: "linux", Architecture: "amd64"}
	if change != nil {
		change(&i)
	}
	return i
}

// customised adds a member with an unknown name, as the suite does.
func customised(v any) any {
	t := reflect.StructOf([]reflect.StructField{
		{Name: "Embed", Anonymous: true, Type: reflect.TypeOf(v)},
		{Name: "Custom", Type: reflect.TypeFor[string](), Tag: `json:"org.ABC234"`},
	})
	c := reflect.New(t).Elem()
	c.Field(0).Set(reflect.ValueOf(v))
	c.Field(1).SetString("custom")
	return c.Interface()
}

func TestParseReadsWhatTheSpecificationsTypesWrite(t *testing.T) {
	large := map[string]string{}
	for i := range 390 {
		large[fmt.Sprintf("large-annotation-%d", i)] = strings.Repeat("A", 10000)
	}
	const example = "application/vnd.example.oci.conformance.v1"
	artifact := func(m *spec.Manifest) {
		m.ArtifactType, m.Config = example, descriptor(spec.MediaTypeEmptyJSON, "{}", digest.SHA256)
	}
	tests := []struct {
		name string
		in   any
		kind manifest.Kind
	}{
		{"image", specImage(nil), manifest.Package},
		{"image with a large manifest", specImage(func(m *spec.Manifest) { m.Annotations = large }), manifest.Package},
		{"image without layers", specImage(func(m *spec.Manifest) { m.Layers = []spec.Descriptor{} }), manifest.Package},
		{"image with nil layers", specImage(func(m *spec.Manifest) { m.Layers = nil }), manifest.Package},
		{"image without mediaType", specImage(func(m *spec.Manifest) { m.MediaType = "" }), manifest.Package},
		{"image by SHA-512", specImage(func(m *spec.Manifest) {
			m.Config = descriptor(spec.MediaTypeImageConfig, "config", digest.SHA512)
		}), manifest.Package},
		{"artifact", specImage(artifact), manifest.Package},
		{"artifact with the empty descriptor", specImage(func(m *spec.Manifest) {
			artifact(m)
			m.Config, m.Layers = spec.DescriptorEmptyJSON, []spec.Descriptor{spec.DescriptorEmptyJSON}
		}), manifest.Package},
		{"artifact with a missing subject", specImage(func(m *spec.Manifest) {
			artifact(m)
			m.Subject = &spec.Descriptor{MediaType: spec.MediaTypeImageManifest, Size: 123, Digest: digest.FromString("missing content")}
		}), manifest.Package},
		{"data fields", specImage(func(m *spec.Manifest) { m.Layers[0].Data = []byte("layer one") }), manifest.Package},
		{"non-distributable layers", specImage(func(m *spec.Manifest) {
			m.Layers[0] = spec.Descriptor{MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
				Digest: digest.FromString("elsewhere"), Size: 123456, URLs: []string{"https://store.example.com/blobs/1"}}
		}), manifest.Package},
		{"custom fields", customised(specImage(nil)), manifest.Package},
		{"index", specIndex(nil), manifest.Index},
		{"index without mediaType", specIndex(func(i *spec.Index) { i.MediaType = "" }), manifest.Index},
		{"empty index", specIndex(func(i *spec.Index) { i.Manifests = []spec.Descriptor{} }), manifest.Index},
		{"index of indexes", specIndex(func(i *spec.Index) {
			i.Manifests[0].MediaType, i.Manifests[0].Platform = spec.MediaTypeImageIndex, nil
		}), manifest.Index},
		{"artifact index with a subject", specIndex(func(i *spec.Index) {
			subject := descriptor(spec.MediaTypeImageIndex, "subject", digest.SHA256)
			i.ArtifactType, i.Subject, i.Annotations = example, &subject, map[string]string{"org.opencontainers.conformance": "hello"}
		}), manifest.Index},
		{"custom fields of an index", customised(specIndex(nil)), manifest.Index},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := json.Marshal(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			p, err := manifest.Parse(raw, "", manifest.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != tt.kind {
				t.Errorf("got a %s", p.Kind)
			}
			m := manifest.Build(p, identity.Of(raw), int64(len(raw)), resolve)
			checkBothWays(t, native(t, m), must(m.JCS()))
			compareWithSpec(t, raw, p)
		})
	}
}

// compareWithSpec reads the same bytes by the types of the specification.
func compareWithSpec(t testing.TB, raw []byte, p *manifest.Parsed) {
	t.Helper()
	var want struct {
		spec.Manifest
		Manifests []spec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	all := want.Manifests
	if p.Kind == manifest.Package {
		all = append([]spec.Descriptor{want.Config}, want.Layers...)
	}
	refs := p.References()
	if len(refs) != len(all) {
		t.Fatalf("%d references, want %d", len(refs), len(all))
	}
	for i, ref := range refs {
		if ref.Digest.String() != all[i].Digest.String() || ref.Size != all[i].Size || ref.MediaType != all[i].MediaType {
			t.Errorf("reference %d is %+v, want %+v", i, ref, all[i])
		}
		if (ref.Platform == nil) != (all[i].Platform == nil) || len(ref.URLs) != len(all[i].URLs) {
			t.Errorf("reference %d is %+v, want %+v", i, ref, all[i])
		}
	}
	if p.DeclaredArtifactType != want.ArtifactType || len(p.Annotations) != len(want.Annotations) || (p.Subject == nil) != (want.Subject == nil) {
		t.Errorf("got %+v, want %+v", p, want)
	}
}
