package manifest

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image manifest version 2. Schema 2 is what engines
// have pushed since 2016; schema 1 is refused.
const (
	dockerManifest      = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList          = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// kinds has every media type that can be pushed as a manifest.
var kinds = map[string]Kind{
	specs.MediaTypeImageManifest: Package,
	specs.MediaTypeImageIndex:    Index,
	dockerManifest:               Package,
	dockerList:                   Index,
}

// nondistributable has the media types of layers that their owner does not
// allow to be copied to registries. They are spelled out since image-spec marks
// its constants as deprecated; they are still pushed.
var nondistributable = []string{
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
}

// KindOf returns the kind of manifest that a media type stands for, and false
// if it stands for none: what an index lists under such a type is a blob.
func KindOf(mediaType string) (Kind, bool) {
	kind, ok := kinds[mediaType]
	return kind, ok
}

// essence returns the media type of a Content-Type header: in lower case,
// without parameters (RFC 9110 section 8.3.1).
func essence(contentType string) string {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(mediaType))
}

// checkMediaType refuses a media type that no manifest has. The field is where
// it was found.
func checkMediaType(field, mediaType string) error {
	if _, ok := kinds[mediaType]; ok {
		return nil
	}
	if mediaType == dockerSchema1 || mediaType == dockerSchema1Signed {
		return errSchema1()
	}
	return &Error{Field: field, Problem: "must be one of " + accepted()}
}

func errSchema1() *Error {
	return &Error{Problem: "must not be of Docker schema 1; push it as an OCI or Docker schema 2 manifest"}
}

// accepted lists the media types for a message.
func accepted() string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// isMediaType tells whether s can be kept as the media type of a descriptor.
// RFC 6838 section 4.2 is narrower, but clients do push types outside it, and
// the OCI specification forbids to refuse a type for being unknown.
func isMediaType(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}
