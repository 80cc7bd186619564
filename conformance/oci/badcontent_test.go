package oci_test

import (
	"fmt"
	"strings"

	"artifactstore/conformance/harness"
)

const (
	imageType = harness.ImageManifest
	indexType = harness.ImageIndex
)

// putBody is a push of a manifest with a body that must be refused.
func putBody(name, mediaType, body, code string) bad {
	return bad{name, "PUT", "/v2/good/repo/manifests/new", header{"Content-Type": mediaType}, body, 400, code}
}

// badManifests has manifests that say something wrong about themselves.
func badManifests() []bad {
	image := func(name, body string) bad {
		return putBody(name, imageType, `{"schemaVersion":2,"mediaType":"`+imageType+`",`+body+`}`, "MANIFEST_INVALID")
	}
	plain := func(name, body string) bad { return putBody(name, imageType, body, "MANIFEST_INVALID") }
	return []bad{
		plain("a manifest has no body", ""),
		plain("a manifest is no JSON", "nonsense"),
		plain("a manifest is a list", "[]"),
		plain("a manifest is null", "null"),
		plain("a manifest ends too early", `{"schemaVersion":2,`),
		plain("a manifest has something behind its end", "{body}{}"),
		plain("a manifest has bytes that are no UTF-8", "{\"schemaVersion\":2,\"x\":\"\xff\xfe\",{config},\"layers\":[]}"),
		plain("a manifest writes a member in another case", `{"SchemaVersion":2,{config},"layers":[]}`),
		image("a manifest has both layers and manifests", `{config},"layers":[{layer}],"manifests":[{child}]`),
		image("a manifest names a member twice", `{config},"layers":[{layer}],"layers":[]`),
		image("a manifest names a member of a descriptor twice", `{config},"layers":[{"mediaType":"a/b","digest":"{blob}","digest":"{absent}","size":1}]`),
		image("a manifest has no config", `"layers":[{layer}]`),
		image("a manifest has layers that are no list", `{config},"layers":{}`),
		image("a descriptor has no digest", `{config},"layers":[{"mediaType":"a/b","size":1}]`),
		image("a descriptor has no size", `{config},"layers":[{"mediaType":"a/b","digest":"{blob}"}]`),
		image("a descriptor has no media type", `{config},"layers":[{"digest":"{blob}","size":1}]`),
		image("a descriptor has a negative size", `{config},"layers":[{"mediaType":"a/b","digest":"{blob}","size":-1}]`),
		image("a descriptor has a size with a fraction", `{config},"layers":[{"mediaType":"a/b","digest":"{blob}","size":1.5}]`),
		image("a descriptor has a size beyond 2^53", `{config},"layers":[{"mediaType":"a/b","digest":"{blob}","size":9007199254740993}]`),
		image("a descriptor has a digest that is a path", `{config},"layers":[{"mediaType":"a/b","digest":"../../etc/passwd","size":1}]`),
		image("a descriptor has an algorithm that is a path", `{config},"layers":[{"mediaType":"a/b","digest":"../x:`+hex64+`","size":1}]`),
		image("a subject has a bad digest", `{config},"layers":[],"subject":{"mediaType":"a/b","digest":"sha256:abc","size":1}`),
		image("a config has a media type with a zero byte", `"config":{"mediaType":"a/b\u0000","digest":"{blob}","size":1},"layers":[]`),
		image("a layer has a media type with a zero byte", `{config},"layers":[{"mediaType":"\u0000","digest":"{blob}","size":1}]`),
		image("an artifact type has a zero byte", `{config},"layers":[],"artifactType":"a/b\u0000c"`),
		image("an artifact type is beyond ASCII", `{config},"layers":[],"artifactType":"a/\u00fc"`),
		image("a subject has a media type with a zero byte", `{config},"layers":[],"subject":{"mediaType":"a/\u0000","digest":"{blob}","size":1}`),
		plain("an artifact type is no UTF-8", "{\"schemaVersion\":2,\"artifactType\":\"a/\xff\",{config},\"layers\":[]}"),
		image("an annotation is no text", `{config},"layers":[],"annotations":{"a":1}`),
		image("an annotation has half of a surrogate pair", `{config},"layers":[],"annotations":{"a":"\ud800"}`),
		image("a manifest has a schema version of another age", `"schemaVersion":1,{config},"layers":[]`),
		image("a manifest is nested 65 deep", `{config},"layers":[],"x":`+strings.Repeat("[", 65)+strings.Repeat("]", 65)),
		image("a manifest has 10,001 descriptors", `{config},"layers":[{layer}`+strings.Repeat(`,{layer}`, 10000)+`]`),
		putBody("a manifest has another media type than the request", indexType, "{body}", "MANIFEST_INVALID"),
		putBody("a manifest comes with a media type that is none", "nonsense", "{body}", "MANIFEST_INVALID"),
		putBody("a manifest comes as plain text", "text/plain", "{body}", "MANIFEST_INVALID"),
		putBody("a manifest is of Docker's schema 1", "application/vnd.docker.distribution.manifest.v1+json",
			`{"schemaVersion":1,"name":"good/repo","tag":"new","fsLayers":[]}`, "MANIFEST_INVALID"),
		putBody("a signed manifest is of Docker's schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws",
			`{"schemaVersion":1,"name":"good/repo","tag":"new","fsLayers":[]}`, "MANIFEST_INVALID"),
		putBody("an index has layers", indexType,
			`{"schemaVersion":2,"mediaType":"`+indexType+`","layers":[{layer}],"manifests":[{child}]}`, "MANIFEST_INVALID"),
		{"a manifest is larger than the limit", "PUT", "/v2/good/repo/manifests/new", header{"Content-Type": imageType},
			`{"schemaVersion":2,{config},"layers":[],"annotations":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`, 413, "MANIFEST_TOO_LARGE"},
	}
}

// badReferences has manifests that reference what is absent or different.
func badReferences() []bad {
	image := func(name, layer, code string) bad {
		return putBody(name, imageType, `{"schemaVersion":2,"mediaType":"`+imageType+`",{config},"layers":[`+layer+`]}`, code)
	}
	descriptor := func(mediaType, digest string, size int) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
	}
	index := func(name, child, code string) bad {
		return putBody(name, indexType, `{"schemaVersion":2,"mediaType":"`+indexType+`","manifests":[`+child+`]}`, code)
	}
	return []bad{
		image("a manifest references a layer that is absent", descriptor(harness.ImageLayer, "{absent}", 6), "MANIFEST_BLOB_UNKNOWN"),
		image("a manifest references a layer that was deleted", descriptor(harness.ImageLayer, "{gone}", 300), "MANIFEST_BLOB_UNKNOWN"),
		image("a manifest references a layer of another repository", descriptor(harness.ImageLayer, "{foreign}", 1024), "MANIFEST_BLOB_UNKNOWN"),
		image("a manifest lies about the size of a layer", descriptor(harness.ImageLayer, "{loose}", 299), "SIZE_INVALID"),
		putBody("a manifest references a config that is absent", imageType,
			`{"schemaVersion":2,"mediaType":"`+imageType+`","config":`+descriptor(harness.ImageConfig, "{absent}", 6)+`,"layers":[]}`, "MANIFEST_BLOB_UNKNOWN"),
		putBody("a manifest lies about the size of its config", imageType,
			`{"schemaVersion":2,"mediaType":"`+imageType+`","config":`+descriptor(harness.ImageConfig, "{blob}", 1)+`,"layers":[]}`, "SIZE_INVALID"),
		index("an index references a manifest that is absent", descriptor(imageType, "{absent}", 6), "MANIFEST_BLOB_UNKNOWN"),
		index("an index lies about the size of a manifest", descriptor(imageType, "{manifest}", 1), "SIZE_INVALID"),
		index("an index lies about the media type of a manifest", "{misnamed-child}", "MANIFEST_INVALID"),
	}
}

// badConditions has pushes whose condition does not hold.
func badConditions() []bad {
	put := func(name, reference, field, value string) bad {
		return bad{name, "PUT", "/v2/good/repo/manifests/" + reference,
			header{"Content-Type": imageType, field: value}, "{body}", 412, "PRECONDITION_FAILED"}
	}
	return []bad{
		put("a tag is created that exists", "v2", "If-None-Match", "*"),
		put("a tag is created once more by the same push", "v1", "If-None-Match", "*"),
		put("a tag is moved from a digest that it does not have", "v2", "If-Match", `"{absent}"`),
		put("a tag that does not exist is moved", "new", "If-Match", `"{manifest}"`),
		put("a tag that does not exist is moved from anything", "new", "If-Match", "*"),
		put("one of two tags exists though both are to be created", "{manifest}?tag=new&tag=v2", "If-None-Match", "*"),
		put("one of two tags is not what both are moved from", "{manifest}?tag=v2&tag=new", "If-Match", `"{second}"`),
	}
}

// badDeletes has deletions of what is absent or in use.
func badDeletes() []bad {
	return []bad{
		{"a blob is deleted that a manifest references", "DELETE", "/v2/good/repo/blobs/{blob}", nil, "", 405, "DENIED"},
		{"a blob is deleted that is absent", "DELETE", "/v2/good/repo/blobs/{absent}", nil, "", 404, "BLOB_UNKNOWN"},
		{"a blob is deleted a second time", "DELETE", "/v2/good/repo/blobs/{gone}", nil, "", 404, "BLOB_UNKNOWN"},
		{"a blob of another repository is deleted", "DELETE", "/v2/good/repo/blobs/{foreign}", nil, "", 404, "BLOB_UNKNOWN"},
		{"a manifest is deleted that is absent", "DELETE", "/v2/good/repo/manifests/{absent}", nil, "", 404, "MANIFEST_UNKNOWN"},
		{"a tag is deleted that does not exist", "DELETE", "/v2/good/repo/manifests/v9", nil, "", 404, "MANIFEST_UNKNOWN"},
		{"a blob is deleted in a repository that does not exist", "DELETE", "/v2/no/repo/blobs/{blob}", nil, "", 404, "NAME_UNKNOWN"},
		{"a manifest is deleted in a repository that does not exist", "DELETE", "/v2/no/repo/manifests/v1", nil, "", 404, "NAME_UNKNOWN"},
	}
}
