package manifest_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/canon"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// native is the encoded native form.
func native(t testing.TB, m *manifest.Manifest) []byte {
	t.Helper()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTwoServersGiveOneNativeDigest(t *testing.T) {
	for path, raw := range pushed(t) {
		p, err := manifest.Parse(raw, "", manifest.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		// One server was pushed to by SHA-256 and computed nothing else, so
		// it cannot find content by SHA-512; the other knows all.
		few := func(d identity.Digest) (identity.DigestSet, bool) {
			set, ok := resolve(d)
			if ok && d.Algorithm() != identity.SHA512 {
				sha512, _ := set.Get(identity.SHA512)
				set = slices.DeleteFunc(slices.Clone(set), func(d identity.Digest) bool { return d == sha512 })
			}
			return set, ok
		}
		one := manifest.Build(p, identity.Of(raw), int64(len(raw)), few)
		two := manifest.Build(p, identity.Of(raw, identity.SHA512), int64(len(raw)), resolve)
		if !bytes.Equal(native(t, one), native(t, two)) {
			t.Errorf("%s: servers differ", path)
		}
	}
}

func TestDigestSetsOfItems(t *testing.T) {
	raw := pushed(t)["testdata/sha512.json"]
	algorithms := func(i *manifest.Item) (names []identity.Algorithm) {
		for _, d := range i.Digests {
			names = append(names, d.Algorithm())
		}
		return names
	}
	b3, s2, s5 := identity.BLAKE3, identity.SHA256, identity.SHA512
	tests := []struct {
		name           string
		resolve        func(identity.Digest) (identity.DigestSet, bool)
		config, layer1 []identity.Algorithm // named sha512 and blake3
	}{
		{"held", resolve, []identity.Algorithm{b3, s2, s5}, []identity.Algorithm{b3, s2}},
		{"absent", none, []identity.Algorithm{s5}, []identity.Algorithm{b3}},
		{"resolved to other content", func(identity.Digest) (identity.DigestSet, bool) {
			return identity.Of([]byte("other"), identity.SHA512), true
		}, []identity.Algorithm{s5}, []identity.Algorithm{b3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := build(t, raw, tt.resolve)
			if got := algorithms(m.Config); !slices.Equal(got, tt.config) {
				t.Errorf("config has %v", got)
			}
			if got := algorithms(&m.Layers[1]); !slices.Equal(got, tt.layer1) {
				t.Errorf("layer has %v", got)
			}
			if m.Config.Named != s5 || m.Config.Digest().Algorithm() != s5 || m.Layers[1].Named != b3 {
				t.Errorf("named %s, %s", m.Config.Digest(), m.Layers[1].Named)
			}
			if held := tt.name == "held"; m.Config.Held() != held || m.Layers[1].Held() != held {
				t.Errorf("held %v, %v", m.Config.Held(), m.Layers[1].Held())
			}
			checkBothWays(t, native(t, m), must(m.JCS()))
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheNativeFormTellsManifestsApart(t *testing.T) {
	seen := map[identity.Digest]string{}
	add := func(name string, m *manifest.Manifest) {
		d, err := m.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one native digest", name, other)
		}
		seen[d] = name
	}
	for path, raw := range pushed(t) {
		add(path, build(t, raw, resolve))
		if path != "testdata/empty-index.json" {
			add(path+" without content", build(t, raw, none))
		}
		add(path+" with white space", build(t, append(raw, ' '), resolve))
	}
}

func TestDecodeRejects(t *testing.T) {
	raw := pushed(t)["testdata/image.json"]
	tests := []struct {
		name   string
		change func(*manifest.Manifest)
	}{
		{"schema 0", func(m *manifest.Manifest) { m.Schema = 0 }},
		{"schema 2", func(m *manifest.Manifest) { m.Schema = 2 }},
		{"unknown kind", func(m *manifest.Manifest) { m.Kind = "image" }},
		{"kind unlike media type", func(m *manifest.Manifest) { m.Kind = manifest.Index; m.Config, m.Layers = nil, nil }},
		{"unknown media type", func(m *manifest.Manifest) { m.Source.MediaType = "application/json" }},
		{"no config", func(m *manifest.Manifest) { m.Config = nil }},
		{"package with manifests", func(m *manifest.Manifest) { m.Manifests = m.Layers }},
		{"index with layers", func(m *manifest.Manifest) {
			m.Kind, m.Source.MediaType, m.Config = manifest.Index, ociIndex, nil
		}},
		{"index with config", func(m *manifest.Manifest) {
			m.Kind, m.Source.MediaType, m.Layers = manifest.Index, ociIndex, nil
		}},
		{"source without digests", func(m *manifest.Manifest) { m.Source.Digests = nil }},
		{"source with BLAKE3 alone", func(m *manifest.Manifest) { m.Source.Digests = m.Source.Digests[:1] }},
		{"source with SHA-512", func(m *manifest.Manifest) { m.Source.Digests = identity.Of(raw, identity.SHA512) }},
		{"source of negative size", func(m *manifest.Manifest) { m.Source.Size = -1 }},
		{"source of size 2^53", func(m *manifest.Manifest) { m.Source.Size = 1 << 53 }},
		{"digests unsorted", func(m *manifest.Manifest) { slices.Reverse(m.Config.Digests) }},
		{"digests twice", func(m *manifest.Manifest) { m.Config.Digests = append(m.Config.Digests, m.Config.Digests[1]) }},
		{"zero digest", func(m *manifest.Manifest) { m.Config.Digests = append(identity.DigestSet{{}}, m.Config.Digests...) }},
		{"digests more than the named one needs", func(m *manifest.Manifest) { m.Config.Digests = identity.Of([]byte("config"), identity.SHA512) }},
		{"named digest missing", func(m *manifest.Manifest) { m.Config.Named = identity.SHA512 }},
		{"named algorithm unknown", func(m *manifest.Manifest) { m.Config.Named = "md5" }},
		{"named algorithm empty", func(m *manifest.Manifest) { m.Config.Named = "" }},
		{"item without digests", func(m *manifest.Manifest) { m.Layers[1].Digests = nil }},
		{"item of negative size", func(m *manifest.Manifest) { m.Layers[1].Size = -1 }},
		{"item without media type", func(m *manifest.Manifest) { m.Layers[1].MediaType = "" }},
		{"item with an artifact type of odd characters", func(m *manifest.Manifest) { m.Layers[1].ArtifactType = "\n" }},
		{"artifact type of odd characters", func(m *manifest.Manifest) { m.ArtifactType = "ü" }},
		{"subject without media type", func(m *manifest.Manifest) { m.Subject = &manifest.Item{} }},
		{"manifest without media type", func(m *manifest.Manifest) {
			*m = *build(t, pushed(t)["testdata/index.json"], resolve)
			m.Manifests[0].MediaType = ""
		}},
		{"annotation not UTF-8", func(m *manifest.Manifest) { m.Annotations["\xff"] = "" }},
		{"URL not UTF-8", func(m *manifest.Manifest) { m.Layers[0].URLs = []string{"\xff"} }},
		{"annotation of an item not UTF-8", func(m *manifest.Manifest) { m.Layers[0].Annotations = map[string]string{"a": "\xff"} }},
		{"platform not UTF-8", func(m *manifest.Manifest) { m.Layers[0].Platform = &manifest.Platform{Features: []string{"\xff"}} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := build(t, raw, resolve)
			tt.change(m)
			if data, err := m.Encode(); !errors.Is(err, manifest.ErrInvalid) {
				t.Errorf("encoded: %x, %v", data, err)
			}
			if _, err := m.JCS(); err == nil {
				t.Error("projected")
			}
			if _, err := m.Digest(); err == nil {
				t.Error("named")
			}
			data, err := canon.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := manifest.Decode(data); !errors.Is(err, manifest.ErrInvalid) || got != nil {
				t.Errorf("decoded %+v, %v", got, err)
			}
		})
	}
}

func TestDecodeRejectsEveryCutAndEveryAddedByte(t *testing.T) {
	m := build(t, pushed(t)["testdata/minimal.json"], resolve)
	data, text := native(t, m), must(m.JCS())
	for n := range data {
		if _, err := manifest.Decode(data[:n]); !errors.Is(err, manifest.ErrInvalid) {
			t.Fatalf("decoded %d of %d bytes: %v", n, len(data), err)
		}
	}
	for n := range text {
		if _, err := manifest.FromJCS(text[:n]); !errors.Is(err, manifest.ErrInvalid) {
			t.Fatalf("decoded %d of %d characters: %v", n, len(text), err)
		}
	}
	if _, err := manifest.Decode(append(data, 0)); !errors.Is(err, manifest.ErrInvalid) {
		t.Errorf("decoded with a byte added: %v", err)
	}
	if _, err := manifest.FromJCS(append(text, ' ')); !errors.Is(err, manifest.ErrInvalid) {
		t.Errorf("decoded with a space added: %v", err)
	}
}

func TestFromJCSRejects(t *testing.T) {
	text := string(must(build(t, pushed(t)["testdata/minimal.json"], resolve).JCS()))
	for _, change := range [][2]string{
		{`"schema":1`, `"schema":1.0`}, {`"schema":1`, `"schema":1,"schema":1`}, {`"schema":1`, `"Schema":1`},
		{`"schema":1`, `"schema":1,"shape":1`}, {`"schema":1`, `"schema": 1`}, {`"kind":`, `"\u006bind":`},
		{`"config"`, `"layers":[],"config"`}, {`"size":6`, `"size":"6"`}, {`"size":6`, `"size":-6`}, {`"kind":"package"`, `"kind":null`},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("%s is not in %s", change[0], text)
		}
		if _, err := manifest.FromJCS([]byte(changed)); !errors.Is(err, manifest.ErrInvalid) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
}

func TestReferrerDescriptor(t *testing.T) {
	d := identity.FromBytes(identity.SHA512, []byte("x"))
	tests := []struct{ name, raw, want string }{
		{"with everything", image(`"artifactType":"a/b"`, `"annotations":{"b":"2","a":"<&>\u2028"}`),
			`{"annotations":{"a":"<&>` + "\u2028" + `","b":"2"},"artifactType":"a/b","digest":"` + d.String() + `","mediaType":"` + ociManifest + `","size":7}`},
		{"with the type of the config", image(),
			`{"artifactType":"application/vnd.oci.image.config.v1+json","digest":"` + d.String() + `","mediaType":"` + ociManifest + `","size":7}`},
		{"of an index without a type", `{"schemaVersion":2,"manifests":[],"annotations":{}}`,
			`{"digest":"` + d.String() + `","mediaType":"` + ociIndex + `","size":7}`},
	}
	for _, tt := range tests {
		p, err := parse(tt.raw, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := manifest.ReferrerDescriptor(p, d, 7); string(got) != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if got := manifest.ReferrerDescriptor(&manifest.Parsed{ArtifactType: "\xff"}, d, 7); got != nil {
		t.Errorf("got %s of invalid text", got)
	}
}
