package registry

import (
	"errors"
	"regexp"
	"strings"

	"artifactstore/registry/identity"
)

// Reference names a manifest of a repository: by tag or by digest, never both.
type Reference struct {
	Tag    string
	Digest identity.Digest
}

// tagGrammar is the <reference> as a tag of the OCI distribution
// specification, "Pulling manifests".
var tagGrammar = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ParseReference reads a tag or a digest; TagInvalid or DigestInvalid. What has
// a colon is meant as a digest, since no tag can have one.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	return Reference{Tag: s}, checkTag(s)
}

func checkTag(s string) error {
	if !tagGrammar.MatchString(s) {
		return Errorf(TagInvalid, "a tag has 1 to %d characters of A-Z, a-z, 0-9, '_', '.' and '-', and begins with none of the last two", MaxTag)
	}
	return nil
}

// ParseDigest reads a digest of any registered algorithm; DigestInvalid.
func ParseDigest(s string) (identity.Digest, error) {
	d, err := identity.Parse(s)
	if errors.Is(err, identity.ErrUnsupported) {
		return d, &Error{Code: DigestInvalid, Message: "the digest's algorithm is not one of blake3, sha256 and sha512", Err: err}
	}
	if err != nil {
		return d, &Error{Code: DigestInvalid, Message: "a digest is an algorithm, a colon and lower case hex digits of the algorithm's length", Err: err}
	}
	return d, nil
}

// checkAlgorithm refuses algorithms that cannot be computed.
func checkAlgorithm(a identity.Algorithm) error {
	if a != "" && !a.Registered() {
		return Errorf(DigestInvalid, "the digest algorithm is not one of blake3, sha256 and sha512")
	}
	return nil
}
