package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/adminclient"
)

// A name is what a person writes for a tag or a manifest: REPOSITORY:TAG or
// REPOSITORY@DIGEST. What repositories, tags and digests may look like is for
// the server to say.
type name struct {
	repository string
	tag        string // or
	digest     string
}

// reference is the tag or the digest.
func (n name) reference() string { return n.tag + n.digest }

// path is the path of the manifest in the API, with more components behind it.
func (n name) path(more ...string) string {
	return adminclient.Path(append([]string{"repositories", n.repository, "manifests", n.reference()}, more...)...)
}

// tagPath is the path of the tag in the API, with more components behind it.
func (n name) tagPath(more ...string) string {
	return adminclient.Path(append([]string{"repositories", n.repository, "tags", n.tag}, more...)...)
}

// parseName reads a tag or a manifest.
func parseName(cmd *cobra.Command, text string) (name, error) {
	wrong := func(format string, args ...any) (name, error) {
		return name{}, &usageError{cmd.CommandPath(), fmt.Sprintf(format, args...)}
	}
	if err := checkHost(cmd, text); err != nil {
		return name{}, err
	}
	repository, digest, byDigest := strings.Cut(text, "@")
	repository, tag, byTag := strings.Cut(repository, ":")
	switch {
	case repository == "":
		return wrong("%q names no repository: write REPOSITORY:TAG or REPOSITORY@DIGEST", text)
	case byTag && byDigest:
		return wrong("%s has a tag and a digest: write %s:%s or %s@%s", text, repository, tag, repository, digest)
	case byTag && tag == "" || byDigest && digest == "" || !byTag && !byDigest:
		return wrong("%s names a repository: add a :TAG or a @DIGEST", text)
	}
	return name{repository, tag, digest}, nil
}

// parseTag reads a tag.
func parseTag(cmd *cobra.Command, text string) (name, error) {
	if text != "" && !strings.ContainsAny(text, ":@") {
		return name{}, &usageError{cmd.CommandPath(), fmt.Sprintf("%s names a repository: add a :TAG", text)}
	}
	n, err := parseName(cmd, text)
	if err == nil && n.digest != "" {
		return n, &usageError{cmd.CommandPath(), fmt.Sprintf("%s is no tag: write REPOSITORY:TAG", text)}
	}
	return n, err
}

// parseRepository reads a repository, and returns the path of it in the API
// with more components behind it.
func parseRepository(cmd *cobra.Command, text string, more ...string) (string, error) {
	if err := checkHost(cmd, text); err != nil {
		return "", err
	}
	if repository, _, more := strings.Cut(strings.ReplaceAll(text, "@", ":"), ":"); more || text == "" {
		return "", &usageError{cmd.CommandPath(), fmt.Sprintf("%q is no repository: write only its name, such as %s", text, orDemo(repository))}
	}
	return adminclient.Path(append([]string{"repositories", text}, more...)...), nil
}

func orDemo(repository string) string {
	if repository == "" {
		return "demo"
	}
	return repository
}

// checkHost refuses the address of a registry before a name, as docker and oras
// have it: the server is chosen by a flag. A colon before a slash can be nothing
// else.
func checkHost(cmd *cobra.Command, text string) error {
	first, rest, _ := strings.Cut(text, "/")
	if !strings.Contains(first, ":") || rest == "" || strings.Contains(first, "@") {
		return nil
	}
	rest = strings.TrimPrefix(rest, "/")
	if strings.HasPrefix(first, "http") {
		_, rest, _ = strings.Cut(rest, "/")
	}
	return &usageError{cmd.CommandPath(), fmt.Sprintf("%s begins with the address of a registry: write %s, and choose the server by --server", text, orDemo(rest))}
}
