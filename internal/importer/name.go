package importer

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// splitName reads the name of an image as tools write it into layouts and
// archives, "docker.io/library/alpine:3.19", "team/app:v1" or "alpine". The
// registry's host is dropped, and so is what Docker puts before the names of its
// own images.
func splitName(name string) (repository, tag string, err error) {
	rest, _, _ := strings.Cut(name, "@")
	if host, path, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		rest = path
		if host == "docker.io" || host == "index.docker.io" {
			rest = strings.TrimPrefix(rest, "library/")
		}
	}
	repository, tag, _ = strings.Cut(rest, ":")
	if err := checkRepository(repository); err != nil {
		return "", "", fmt.Errorf("%q is no name of an image: %w", name, err)
	}
	if tag != "" {
		if err := checkTag(tag); err != nil {
			return "", "", fmt.Errorf("%q is no name of an image: %w", name, err)
		}
	}
	return repository, tag, nil
}

// checkRepository refuses what is no name of a repository.
func checkRepository(name string) error {
	if (registry.Reference{Repository: name}).ValidateRepository() != nil || len(name) > 255 {
		return fmt.Errorf("%q is no name of a repository", name)
	}
	return nil
}

// checkTag refuses what is no tag.
func checkTag(tag string) error {
	if (registry.Reference{Reference: tag}).ValidateReferenceAsTag() != nil {
		return fmt.Errorf("%q is no tag", tag)
	}
	return nil
}

// Patterns choose repositories by their names. No patterns choose all.
type Patterns struct {
	texts []string
	exprs []*regexp.Regexp
}

// ParsePatterns reads patterns: * stands for any part of a path element, ? for
// one character of it, ** for any part of a path.
func ParsePatterns(texts []string) (Patterns, error) {
	p := Patterns{texts: texts}
	for _, text := range texts {
		if text == "" || path.IsAbs(text) {
			return p, fmt.Errorf("%q is no pattern of repositories: write a name such as team/app, or team/* or team/**", text)
		}
		expr := regexp.QuoteMeta(text)
		expr = strings.ReplaceAll(expr, `\*\*`, `.*`)
		expr = strings.ReplaceAll(expr, `\*`, `[^/]*`)
		expr = strings.ReplaceAll(expr, `\?`, `[^/]`)
		p.exprs = append(p.exprs, regexp.MustCompile("^"+expr+"$"))
	}
	return p, nil
}

// Match tells whether a name is chosen.
func (p Patterns) Match(name string) bool {
	for _, expr := range p.exprs {
		if expr.MatchString(name) {
			return true
		}
	}
	return len(p.exprs) == 0
}

// names returns the patterns if all are plain names.
func (p Patterns) names() ([]string, bool) {
	for _, text := range p.texts {
		if strings.ContainsAny(text, "*?") {
			return nil, false
		}
	}
	return p.texts, len(p.texts) > 0
}
