package distribution

import (
	"strings"

	"artifactstore/internal/web"
)

// endpoint is one of the URL forms of the API.
type endpoint int

const (
	endpointNone     endpoint = iota // no URL of this API
	endpointBase                     // /v2/
	endpointCatalog                  // /v2/_catalog
	endpointTags                     // /v2/<name>/tags/list
	endpointManifest                 // /v2/<name>/manifests/<tag-or-digest>
	endpointBlob                     // /v2/<name>/blobs/<digest>
	endpointUploads                  // /v2/<name>/blobs/uploads/
	endpointUpload                   // /v2/<name>/blobs/uploads/<session>
	endpointReferrer                 // /v2/<name>/referrers/<digest>
)

// names has the name of each endpoint, for those who observe requests.
var names = [...]string{
	endpointNone: web.RouteNone, endpointBase: "base", endpointCatalog: "catalog", endpointTags: "tags",
	endpointManifest: "manifest", endpointBlob: "blob", endpointUploads: "uploads", endpointUpload: "upload",
	endpointReferrer: "referrers",
}

// String is the name of the endpoint.
func (e endpoint) String() string { return names[e] }

// target is a parsed path. The parts are as the client wrote them: whether they
// are a name, a tag or a digest is for the registry to say.
type target struct {
	endpoint endpoint
	name     string // of the repository
	item     string // tag, digest or session
}

// parsePath reads an escaped path. Nothing is normalised: a path with empty
// components, dots or percent signs parses to parts that have them, and these
// are no names. The one exception is a colon in the last component, which some
// clients escape.
//
// A name may have any component, "blobs" and "uploads" included, so the path is
// read from its end: the last two components (three for uploads) say what the
// endpoint is, and all before them is the name. No path fits two endpoints.
func parsePath(path string) target {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		if path == "/v2" {
			return target{endpoint: endpointBase}
		}
		return target{}
	}
	switch rest {
	case "":
		return target{endpoint: endpointBase}
	case "_catalog":
		return target{endpoint: endpointCatalog}
	}
	before, item := cutLast(rest)
	name, noun := cutLast(before)
	switch noun {
	case "manifests":
		return target{endpointManifest, name, unescapeColon(item)}
	case "referrers":
		return target{endpointReferrer, name, unescapeColon(item)}
	case "tags":
		if item == "list" {
			return target{endpointTags, name, ""}
		}
	case "blobs":
		if item == "uploads" { // no digest is spelt so
			return target{endpointUploads, name, ""}
		}
		return target{endpointBlob, name, unescapeColon(item)}
	case "uploads":
		if name, noun = cutLast(name); noun != "blobs" {
			break
		}
		if item == "" {
			return target{endpointUploads, name, ""}
		}
		return target{endpointUpload, name, item}
	}
	return target{}
}

// cutLast splits off the last component of a path.
func cutLast(path string) (before, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// unescapeColon undoes the escaping of the colon of a digest. Every other
// escape stays, and no tag or digest has a percent sign.
func unescapeColon(item string) string {
	if strings.IndexByte(item, '%') < 0 {
		return item
	}
	return strings.NewReplacer("%3A", ":", "%3a", ":").Replace(item)
}
