package manifest_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"

	// config and layer are descriptors of the content "config" and "layer one".
	config = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910","size":6}`
	layer  = `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:f191e625176e7514249870c60bc24622131b04927a418001d1969c9cecd260f1","size":9}`
)

// image is an OCI manifest with further members.
func image(members ...string) string {
	members = append([]string{`"schemaVersion":2`, `"config":` + config, `"layers":[` + layer + `]`}, members...)
	return "{" + strings.Join(members, ",") + "}"
}

// layered is an OCI manifest with one layer that has these members.
func layered(members string) string {
	return `{"schemaVersion":2,"config":` + config + `,"layers":[{` + members + `}]}`
}

const (
	layerType   = `"mediaType":"application/vnd.oci.image.layer.v1.tar"`
	layerDigest = `"digest":"sha256:f191e625176e7514249870c60bc24622131b04927a418001d1969c9cecd260f1"`
	layerSize   = `"size":9`
	// whole is a complete descriptor, to add to.
	whole = layerType + "," + layerDigest + "," + layerSize
)

func parse(raw, contentType string) (*manifest.Parsed, error) {
	return manifest.Parse([]byte(raw), contentType, manifest.DefaultLimits())
}

func TestParseDecidesTheMediaType(t *testing.T) {
	image, index := image(), `{"schemaVersion":2,"manifests":[]}`
	with := func(raw, mediaType string) string { return `{"mediaType":"` + mediaType + `",` + raw[1:] }
	tests := []struct {
		name, raw, contentType, want string
		kind                         manifest.Kind
	}{
		{"by shape, an image", image, "", ociManifest, manifest.Package},
		{"by shape, an index", index, "", ociIndex, manifest.Index},
		{"by member", with(image, dockerManifest), "", dockerManifest, manifest.Package},
		{"by member, a list", with(index, dockerList), "", dockerList, manifest.Index},
		{"by Content-Type", image, ociManifest, ociManifest, manifest.Package},
		{"by Content-Type, an index", index, ociIndex, ociIndex, manifest.Index},
		{"by both", with(index, ociIndex), ociIndex, ociIndex, manifest.Index},
		{"Content-Type with a parameter", with(image, ociManifest), ociManifest + "; charset=utf-8", ociManifest, manifest.Package},
		{"Content-Type in capitals", with(image, ociManifest), " " + strings.ToUpper(ociManifest) + " ;x", ociManifest, manifest.Package},
		{"empty member", with(image, ""), "", ociManifest, manifest.Package},
		{"null member", `{"mediaType":null,` + image[1:], ociManifest, ociManifest, manifest.Package},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parse(tt.raw, tt.contentType)
			if err != nil {
				t.Fatal(err)
			}
			if p.MediaType != tt.want || p.Kind != tt.kind {
				t.Errorf("got %s, %s", p.MediaType, p.Kind)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	tests := []struct{ name, raw string }{
		{"no layers", `{"schemaVersion":2,"config":` + config + `,"layers":[]}`},
		{"null layers, as Go writes a nil list", `{"schemaVersion":2,"config":` + config + `,"layers":null}`},
		{"null manifests", `{"schemaVersion":2,"manifests":null}`},
		{"null where a member may be absent", image(`"subject":null`, `"annotations":null`, `"artifactType":null`)},
		{"null within a descriptor", layered(whole + `,"urls":null,"annotations":null,"platform":null,"data":null,"artifactType":null`)},
		{"null within a platform", layered(whole + `,"platform":{"architecture":null,"os.features":null}`)},
		{"unknown members", image(`"org.example.custom":{"deep":[{"x":[1,true,null]}]}`)},
		{"unknown members of a descriptor", layered(whole + `,"custom":[1]`)},
		{"unknown members of a platform", layered(whole + `,"platform":{"custom":1}`)},
		{"unknown media types", layered(`"mediaType":"text",` + layerDigest + "," + layerSize)},
		{"a media type with parameters", layered(`"mediaType":"application/vnd.x+json; charset=utf-8",` + layerDigest + "," + layerSize)},
		{"a media type with quotes and odd characters", layered(`"mediaType":"application/vnd.X_y.z+json;a=\"b c\"",` + layerDigest + "," + layerSize)},
		{"a media type without a slash", image(`"artifactType":"sbom"`)},
		{"annotations with control characters", image(`"annotations":{"a\u0000":"b\u0000\u001f"}`)},
		{"white space around", " \n" + image() + "\r\n\t "},
		{"size 2^53-1", layered(layerType + "," + layerDigest + `,"size":9007199254740991`)},
		{"embedded data", layered(whole + `,"data":"` + base64.StdEncoding.EncodeToString([]byte("layer one")) + `"`)},
		{"embedded data before the digest", layered(`"data":"bGF5ZXIgb25l",` + whole)},
		{"empty embedded data", layered(layerType + `,"digest":"` + identity.FromBytes(identity.SHA256, nil).String() + `","size":0,"data":""`)},
		{"sha512", layered(layerType + `,"digest":"sha512:` + strings.Repeat("a", 128) + `","size":1`)},
		{"blake3", layered(layerType + `,"digest":"blake3:` + strings.Repeat("a", 64) + `","size":1`)},
		{"the same layer twice", `{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + "," + layer + `]}`},
		{"an empty annotation", image(`"annotations":{"":""}`)},
		{"an index that lists blobs", `{"schemaVersion":2,"manifests":[` + layer + `]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parse(tt.raw, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseRejects(t *testing.T) {
	index := func(members string) string { return `{"schemaVersion":2,"manifests":[` + layer + `],` + members + `}` }
	tests := []struct{ name, raw, contentType, want string }{
		{"empty body", "", ociManifest, "the manifest must not end in the middle (at byte 0)"},
		{"no JSON", "hello", "", "the manifest must be valid JSON"},
		{"no object", "[]", "", "the manifest must be an object (at byte 0)"},
		{"no members", "{}", "", "schemaVersion must be 2"},
		{"trailing data", image() + "{}", "", "the manifest must end after the first value"},
		{"unknown Content-Type", image(), "application/json", "Content-Type must be one of application/vnd.docker"},
		{"unknown mediaType", image(`"mediaType":"application/json"`), "", "mediaType must be one of application/vnd.docker"},
		{"OCI artifact manifest of a draft", image(`"mediaType":"application/vnd.oci.artifact.manifest.v1+json"`), "", "mediaType must be one of"},
		{"mediaType unlike Content-Type", image(`"mediaType":"` + ociManifest + `"`), dockerManifest, "mediaType must be the same as the Content-Type"},
		{"mediaType in capitals", image(`"mediaType":"` + strings.ToUpper(ociManifest) + `"`), "", "mediaType must be one of"},
		{"mediaType no text", image(`"mediaType":1`), "", "mediaType must be text"},
		{"Docker manifest without mediaType", image(), dockerManifest, "mediaType is missing, and required in a Docker manifest"},
		{"Docker list without mediaType", `{"schemaVersion":2,"manifests":[]}`, dockerList, "mediaType is missing"},
		{"schema 1 by Content-Type", `{}`, "application/vnd.docker.distribution.manifest.v1+json", "the manifest must not be of Docker schema 1"},
		{"signed schema 1 by Content-Type", `{}`, "application/vnd.docker.distribution.manifest.v1+prettyjws", "the manifest must not be of Docker schema 1"},
		{"schema 1 by version", `{"schemaVersion":1,"name":"a","fsLayers":[]}`, "", "the manifest must not be of Docker schema 1"},
		{"schema 1 by version, with another type", `{"schemaVersion":1}`, ociManifest, "the manifest must not be of Docker schema 1"},
		{"schema 1 by mediaType", `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}`, "", "the manifest must not be of Docker schema 1"},
		{"schemaVersion 3", `{"schemaVersion":3,"manifests":[]}`, "", "schemaVersion must be 2"},
		{"schemaVersion as text", `{"schemaVersion":"2","manifests":[]}`, "", "schemaVersion must be an integer"},
		{"schemaVersion as float", `{"schemaVersion":2.0,"manifests":[]}`, "", "schemaVersion must be an integer, without fraction"},
		{"schemaVersion missing", `{"manifests":[]}`, "", "schemaVersion must be 2"},
		{"schemaVersion null", `{"schemaVersion":null,"manifests":[]}`, "", "schemaVersion must be 2"},
		{"layers and manifests", image(`"manifests":[]`), "", "the manifest must not have both manifests and config or layers"},
		{"layers and manifests, as an index", image(`"manifests":[]`), ociIndex, "the manifest must not have both"},
		{"layers and null manifests", image(`"manifests":null`), "", "the manifest must not have both"},
		{"manifests and config", index(`"config":` + config), "", "the manifest must not have both"},
		{"manifests and empty layers", index(`"layers":[]`), ociIndex, "the manifest must not have both"},
		{"index as a manifest", `{"schemaVersion":2,"manifests":[]}`, ociManifest, "config is missing"},
		{"manifest as an index", image(), ociIndex, "manifests is missing"},
		{"config missing", `{"schemaVersion":2,"layers":[]}`, ociManifest, "config is missing"},
		{"config missing, no type", `{"schemaVersion":2,"layers":[]}`, "", "the manifest must have config and layers, or manifests"},
		{"config null", `{"schemaVersion":2,"config":null,"layers":[]}`, ociManifest, "config is missing"},
		{"config empty", `{"schemaVersion":2,"config":{},"layers":[]}`, ociManifest, "config.mediaType is missing"},
		{"config a list", `{"schemaVersion":2,"config":[],"layers":[]}`, ociManifest, "config must be an object"},
		{"layers missing", `{"schemaVersion":2,"config":` + config + `}`, ociManifest, "layers is missing"},
		{"layers an object", `{"schemaVersion":2,"config":` + config + `,"layers":{}}`, ociManifest, "layers must be an array"},
		{"a layer that is null", `{"schemaVersion":2,"config":` + config + `,"layers":[null]}`, "", "layers[0] must be an object"},
		{"manifests missing", `{"schemaVersion":2}`, ociIndex, "manifests is missing"},
		{"a subject that is text", image(`"subject":"sha256:00"`), "", "subject must be an object"},
		{"a subject without size", image(`"subject":{` + layerType + "," + layerDigest + `}`), "", "subject.size is missing"},
		{"descriptor without mediaType", layered(layerDigest + "," + layerSize), "", "layers[0].mediaType is missing"},
		{"descriptor with empty mediaType", layered(`"mediaType":"",` + layerDigest + "," + layerSize), "", "layers[0].mediaType is missing"},
		{"descriptor with mediaType of odd characters", layered(`"mediaType":"a/b\n",` + layerDigest + "," + layerSize), "", "layers[0].mediaType must be a media type"},
		{"descriptor with a zero byte in its mediaType", layered(`"mediaType":"a/\u0000b",` + layerDigest + "," + layerSize), "", "layers[0].mediaType must be a media type"},
		{"config with a zero byte in its mediaType", `{"schemaVersion":2,"config":{"mediaType":"\u0000",` + layerDigest + "," + layerSize + `},"layers":[]}`, "", "config.mediaType must be a media type"},
		{"subject with a control character in its mediaType", image(`"subject":{"mediaType":"a/b\u001f",` + layerDigest + "," + layerSize + `}`), "", "subject.mediaType must be a media type"},
		{"child with a zero byte in its artifactType", `{"schemaVersion":2,"manifests":[{` + whole + `,"artifactType":"a\u0000"}]}`, "", "manifests[0].artifactType must be a media type"},
		{"artifactType with a zero byte", image(`"artifactType":"a/b\u0000"`), "", "artifactType must be a media type"},
		{"artifactType with a deleting character", image(`"artifactType":"a/b\u007f"`), "", "artifactType must be a media type"},
		{"artifactType of broken UTF-8", image("\"artifactType\":\"a/\xc3\""), "", "artifactType must be valid JSON"},
		{"mediaType with a zero byte", image(`"mediaType":"\u0000"`), "", "mediaType must be one of"},
		{"Content-Type with a zero byte", image(), ociManifest + "\x00", "Content-Type must be one of"},
		{"descriptor with long mediaType", layered(`"mediaType":"a/` + strings.Repeat("b", 254) + `",` + layerDigest + "," + layerSize), "", "layers[0].mediaType must be a media type"},
		{"descriptor without digest", layered(layerType + "," + layerSize), "", "layers[0].digest is missing"},
		{"descriptor with null digest", layered(layerType + "," + layerSize + `,"digest":null`), "", "layers[0].digest is missing"},
		{"descriptor without size", layered(layerType + "," + layerDigest), "", "layers[0].size is missing"},
		{"size as text", layered(layerType + "," + layerDigest + `,"size":"9"`), "", "layers[0].size must be an integer"},
		{"size negative", layered(layerType + "," + layerDigest + `,"size":-1`), "", "layers[0].size must not be negative"},
		{"size float", layered(layerType + "," + layerDigest + `,"size":9.0`), "", "layers[0].size must be an integer, without fraction"},
		{"size with exponent", layered(layerType + "," + layerDigest + `,"size":1e3`), "", "layers[0].size must be an integer, without fraction"},
		{"size 2^53", layered(layerType + "," + layerDigest + `,"size":9007199254740992`), "", "layers[0].size must be an integer between"},
		{"digest empty", layered(layerType + "," + layerSize + `,"digest":""`), "", "layers[0].digest must be a digest such as"},
		{"digest in capitals", layered(layerType + "," + layerSize + `,"digest":"sha256:` + strings.Repeat("A", 64) + `"`), "", "layers[0].digest must be a digest such as"},
		{"digest too short", layered(layerType + "," + layerSize + `,"digest":"sha256:abcd"`), "", "layers[0].digest must be a digest such as"},
		{"digest as a path", layered(layerType + "," + layerSize + `,"digest":"sha256:../../etc/passwd"`), "", "layers[0].digest must be a digest such as"},
		{"digest of an unsupported algorithm", layered(layerType + "," + layerSize + `,"digest":"md5:d41d8cd98f00b204e9800998ecf8427e"`), "", "layers[0].digest must be of a supported algorithm: blake3, sha256, sha512"},
		{"data no base64", layered(whole + `,"data":"###"`), "", "layers[0].data must be base64"},
		{"data without padding", layered(whole + `,"data":"bGF5ZXIgb25lIQ"`), "", "layers[0].data must be base64"},
		{"data with a line break", layered(whole + `,"data":"bGF5\nZXIgb25l"`), "", "layers[0].data must be base64"},
		{"data of another size", layered(whole + `,"data":"bGF5ZXI="`), "", "layers[0].data must have as many bytes as size says"},
		{"data of another digest", layered(whole + `,"data":"bGF5ZXIgdHdv"`), "", "layers[0].data must be the content that digest names"},
		{"data empty, size 9", layered(whole + `,"data":""`), "", "layers[0].data must have as many bytes"},
		{"urls no list", layered(whole + `,"urls":"https://a"`), "", "layers[0].urls must be an array"},
		{"urls of numbers", layered(whole + `,"urls":["https://a",1]`), "", "layers[0].urls[1] must be text"},
		{"annotations no object", image(`"annotations":[]`), "", "annotations must be an object"},
		{"annotation no text", image(`"annotations":{"a":1}`), "", "annotations must have text values only"},
		{"annotation null", image(`"annotations":{"a":null}`), "", "annotations must have text values only"},
		{"annotation cut", `{"annotations":{"a":`, "", "annotations must not end in the middle"},
		{"annotation of a layer", layered(whole + `,"annotations":{"a":{}}`), "", "layers[0].annotations must have text values only"},
		{"annotation twice", image(`"annotations":{"a":"1","a":"1"}`), "", "annotations must not have two members of the same name"},
		{"artifactType no text", image(`"artifactType":{}`), "", "artifactType must be text"},
		{"artifactType of odd characters", image(`"artifactType":"ü"`), "", "artifactType must be a media type"},
		{"platform no object", layered(whole + `,"platform":"linux"`), "", "layers[0].platform must be an object"},
		{"os no text", layered(whole + `,"platform":{"os":1}`), "", "layers[0].platform.os must be text"},
		{"os.features no list", layered(whole + `,"platform":{"os.features":"x"}`), "", "layers[0].platform.os.features must be an array"},
		{"features of numbers", layered(whole + `,"platform":{"features":[1]}`), "", "layers[0].platform.features[0] must be text"},
		{"duplicate layers", image(`"layers":[]`), "", "the manifest must not have two members of the same name"},
		{"duplicate layers by escape", image(`"l\u0061yers":[]`), "", "the manifest must not have two members of the same name"},
		{"duplicate size", layered(whole + `,"size":9`), "", "layers[0] must not have two members of the same name"},
		{"duplicate unknown member", image(`"x":{"y":1,"y":1}`), "", "the manifest must not have two members of the same name"},
		{"a known name in another case", image(`"Layers":[]`), "", "layers must be written in exactly this case"},
		{"a known name by Unicode folding", image("\"layer\u017f\":[]"), "", "layers must be written in exactly this case"},
		{"a known name in another case, null", image(`"MANIFESTS":null`), "", "manifests must be written in exactly this case"},
		{"a descriptor's name in another case", layered(whole + `,"Size":1`), "", "layers[0].size must be written in exactly this case"},
		{"a platform's name in another case", layered(whole + `,"platform":{"OS":"x"}`), "", "layers[0].platform.os must be written in exactly this case"},
		{"float in an unknown member", image(`"x":1.5`), "", "the manifest must be an integer, without fraction"},
		{"lone surrogate", image(`"annotations":{"a":"\ud800"}`), "", "annotations must be valid JSON"},
		{"invalid UTF-8", image("\"x\":\"\xff\""), "", "the manifest must be valid JSON"},
		{"65 levels", image(`"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64)), "", "the manifest must not be nested deeper than 64 levels"},
		{"a bomb of brackets", strings.Repeat("[", 1<<20), "", "the manifest must be an object"},
		{"a bomb within", `{"x":` + strings.Repeat(`{"a":`, 1<<18), "", "the manifest must not be nested deeper than 64 levels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parse(tt.raw, tt.contentType)
			if p != nil || err == nil {
				t.Fatalf("got %+v, %v", p, err)
			}
			if _, ok := errors.AsType[*manifest.Error](err); !ok {
				t.Errorf("got a %T", err)
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestParseHoldsLimits(t *testing.T) {
	layers := func(n int) string {
		return `{"schemaVersion":2,"config":` + config + `,"layers":[` + strings.Repeat(layer+",", n-1) + layer + `]}`
	}
	urls := func(n int) string { return layered(whole + `,"urls":[` + strings.Repeat(`"u",`, n-1) + `"u"]`) }
	annotations := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%d":"",`, i)
		}
		return image(`"annotations":{` + strings.TrimSuffix(b.String(), ",") + `}`)
	}
	tests := []struct{ name, raw, want string }{
		{"10,000 descriptors", layers(9999), ""},
		{"10,001 descriptors", layers(10000), "layers[9999] must not bring the descriptors of the manifest above 10000"},
		{"10,000 URLs", urls(10000), ""},
		{"10,001 URLs", urls(10001), "layers[0].urls must not bring the annotations, URLs and platform features of the manifest above 10000"},
		{"10,000 annotations", annotations(10000), ""},
		{"10,001 annotations", annotations(10001), "annotations must not bring"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(tt.raw, "")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestParseCostsAMultipleOfTheInput holds the reading of large manifests to the weight that callers
// reserve for it: 10 bytes of memory for each byte of a manifest.
func TestParseCostsAMultipleOfTheInput(t *testing.T) {
	const size = 2 << 20
	fill := func(head string, element func(i int) string, tail string) []byte {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len() < size-len(tail)-200; i++ {
			b.WriteString(element(i))
		}
		return []byte(strings.TrimSuffix(b.String(), ",") + tail)
	}
	limits := manifest.DefaultLimits()
	tests := []struct {
		name string
		raw  []byte
	}{
		{"unknown members", fill("{", func(i int) string { return fmt.Sprintf(`"%x":0,`, i) }, "}")},
		{"unknown members with escaped names", fill("{", func(i int) string { return fmt.Sprintf(`"\u0041%x":0,`, i) }, "}")},
		{"long annotations", fill(`{"annotations":{`, func(i int) string { return fmt.Sprintf(`"%d":"%s",`, i, strings.Repeat("a", 420)) }, "}}")},
		{"escaped annotations", fill(`{"annotations":{`, func(i int) string { return fmt.Sprintf(`"%d":"%s",`, i, strings.Repeat(`\n`, 210)) }, "}}")},
		{"layers", fill(`{"layers":[`, func(int) string {
			return strings.TrimSuffix(layer, "}") + `,"custom":"` + strings.Repeat("a", 220) + `"},`
		}, "]}")},
		{"tiny arrays", fill(`{"x":[`, func(int) string { return "[]," }, "]}")},
		{"tiny objects", fill(`{"x":[`, func(int) string { return `{"a":0},` }, "]}")},
		{"embedded data", []byte(`{"config":{"data":"` + strings.Repeat("AAAA", size/4-20) + `"}}`)},
		{"a long digest", []byte(`{"config":{"digest":"` + strings.Repeat("A", size-50) + `"}}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := manifest.Parse(tt.raw, "", limits)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("accepted")
			}
			factor := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(tt.raw))
			t.Logf("%.2f bytes per byte; %.80v", factor, err)
			if factor > 10 {
				t.Errorf("allocated %.1f bytes per byte", factor)
			}
		})
	}
}

func TestParseReadsEveryMember(t *testing.T) {
	raw := `{"schemaVersion":2,"mediaType":"` + ociIndex + `","artifactType":"a/type","manifests":[
		{` + whole + `,"artifactType":"b/type","urls":["u","v"],"annotations":{"k":"v"},
		 "platform":{"architecture":"arm","os":"linux","os.version":"1","os.features":["f"],"variant":"v7","features":["g"]}}],
		"subject":` + config + `,"annotations":{"a":"b"}}`
	p, err := parse(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	d := p.Manifests[0]
	pl := d.Platform
	ok := p.ArtifactType == "a/type" && p.DeclaredArtifactType == "a/type" && p.Annotations["a"] == "b" && p.Config == nil &&
		p.Subject.Size == 6 && d.Size == 9 && d.ArtifactType == "b/type" && slices.Equal(d.URLs, []string{"u", "v"}) && d.Annotations["k"] == "v" &&
		pl.Architecture == "arm" && pl.OS == "linux" && pl.OSVersion == "1" && pl.Variant == "v7" &&
		slices.Equal(pl.OSFeatures, []string{"f"}) && slices.Equal(pl.Features, []string{"g"})
	if !ok {
		t.Errorf("got %+v, %+v, %+v", p, d, pl)
	}
}

func TestArtifactTypeOfReferrers(t *testing.T) {
	tests := []struct{ name, raw, want, declared string }{
		{"declared", image(`"artifactType":"a/b"`), "a/b", "a/b"},
		{"that of the config", image(), "application/vnd.oci.image.config.v1+json", ""},
		{"empty means that of the config", image(`"artifactType":""`), "application/vnd.oci.image.config.v1+json", ""},
		{"declared by an index", `{"schemaVersion":2,"manifests":[],"artifactType":"a/b"}`, "a/b", "a/b"},
		{"none of an index", `{"schemaVersion":2,"manifests":[]}`, "", ""},
	}
	for _, tt := range tests {
		p, err := parse(tt.raw, "")
		if err != nil {
			t.Fatal(err)
		}
		if p.ArtifactType != tt.want || p.DeclaredArtifactType != tt.declared {
			t.Errorf("%s: got %q, %q", tt.name, p.ArtifactType, p.DeclaredArtifactType)
		}
	}
}

func TestReferencesAreInOrder(t *testing.T) {
	named := func(mediaType, more string) string {
		return `{"mediaType":"` + mediaType + `",` + layerDigest + "," + layerSize + more + `}`
	}
	layers := []string{named("l/0", ""), named("l/1", `,"urls":["u"]`), named("l/2", `,"urls":[]`),
		named("application/vnd.oci.image.layer.nondistributable.v1.tar", ""),
		named("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", ""),
		named("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", ""),
		named("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "")}
	p, err := parse(`{"schemaVersion":2,"subject":`+config+`,"layers":[`+strings.Join(layers, ",")+`],"config":`+named("c/0", `,"urls":["u"]`)+`}`, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.References() {
		got = append(got, fmt.Sprint(r.Role, r.MediaType[:3], r.NonDistributable))
	}
	want := "configc/0false layerl/0false layerl/1true layerl/2false layerapptrue layerapptrue layerapptrue layerapptrue"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	p, err = parse(`{"schemaVersion":2,"manifests":[`+named("m/0", "")+","+named("m/1", `,"urls":["u"]`)+`]}`, "")
	if err != nil {
		t.Fatal(err)
	}
	refs := p.References()
	if len(refs) != 2 || refs[0].Role != manifest.RoleManifest || refs[1].MediaType != "m/1" || refs[1].NonDistributable {
		t.Errorf("got %+v", refs)
	}
}

func TestKindOf(t *testing.T) {
	for mediaType, want := range map[string]manifest.Kind{ociManifest: manifest.Package, ociIndex: manifest.Index,
		dockerManifest: manifest.Package, dockerList: manifest.Index, "application/vnd.oci.image.layer.v1.tar": ""} {
		if kind, ok := manifest.KindOf(mediaType); kind != want || ok != (want != "") {
			t.Errorf("%s: got %s, %v", mediaType, kind, ok)
		}
	}
}

func TestParseKeepsNothingOfTheInput(t *testing.T) {
	raw := []byte(image(`"annotations":{"name":"value"}`))
	p, err := manifest.Parse(raw, "", manifest.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if p.Annotations["name"] != "value" || p.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar" {
		t.Errorf("got %+v", p)
	}
}
