package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// FileVariable is the environment variable that names the configuration file;
// the flag --config wins over it.
const FileVariable = EnvPrefix + "CONFIG"

// ServerVariable is the environment variable that names the server which the
// commands that look inside ask. It is no setting of a server.
const ServerVariable = EnvPrefix + "SERVER"

// maxFile bounds the configuration file in bytes.
const maxFile = 1 << 20

// A Setting is a key with a value, and where it was given.
type Setting struct {
	Key   string
	Value string
	// Where is the place for messages: "store.yaml:12", an environment
	// variable or a flag.
	Where string
}

// A Problem is something wrong with the configuration.
type Problem struct {
	Where string // place, or empty if the value is a default
	Key   string // or empty, if it is about no single key
	Text  string
}

func (p Problem) String() string {
	parts := []string{p.Where, p.Key, p.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Problems is the error for an invalid configuration: everything that is
// wrong with it, one line each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// err returns p as an error, nil if there is no problem.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Effective is a configuration, and where each of its values came from.
type Effective struct {
	Config
	// Where maps the name of each key that was set to its place; a key that
	// is missing here has its default.
	Where map[string]string
}

// Load reads the file of that name ("" for none) and the environment, in the
// form of os.Environ, lets flags win over them, and validates the result. The
// error is Problems with all that is wrong, or that the file cannot be read.
func Load(file string, environ []string, flags []Setting) (*Effective, error) {
	var problems Problems
	collect := func(err error) error {
		if found, ok := errors.AsType[Problems](err); ok {
			problems = append(problems, found...)
			return nil
		}
		return err
	}
	var settings []Setting
	if file != "" {
		data, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		settings, err = FromYAML(file, data)
		if err := collect(err); err != nil {
			return nil, err
		}
	}
	fromEnv, err := FromEnv(environ)
	if err := collect(err); err != nil {
		return nil, err
	}
	effective, err := Resolve(slices.Concat(settings, fromEnv, flags))
	if err := collect(err); err != nil {
		return nil, err
	}
	return effective, problems.err()
}

func readFile(name string) (data []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return data, nil
}

// Resolve applies settings to the defaults, a later one winning over an
// earlier one of the same key, and validates the result. The error is Problems.
func Resolve(settings []Setting) (*Effective, error) {
	e := &Effective{Config: Default(), Where: make(map[string]string)}
	var problems Problems
	for _, s := range settings {
		key, ok := Lookup(s.Key)
		if !ok {
			problems = append(problems, Problem{s.Where, s.Key, "unknown key" + suggest(s.Key, names())})
			continue
		}
		if err := key.Set(&e.Config, s.Value); err != nil {
			problems = append(problems, Problem{s.Where, s.Key, err.Error()})
			continue
		}
		e.Where[s.Key] = s.Where
	}
	for _, p := range e.Validate() {
		p.Where = e.Where[p.Key]
		problems = append(problems, p)
	}
	return e, problems.err()
}

// FromEnv returns the settings of an environment in the form of os.Environ.
// A variable that begins with EnvPrefix and names no key is a problem.
func FromEnv(environ []string) ([]Setting, error) {
	byName := make(map[string]string, len(keys))
	for _, k := range keys {
		byName[k.Env()] = k.Name
	}
	others := []string{FileVariable, ServerVariable}
	known := append(envNames(), others...)
	var settings []Setting
	var problems Problems
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(others, name) {
			continue
		}
		key, ok := byName[name]
		if !ok {
			problems = append(problems, Problem{name, "", "unknown environment variable" + suggest(name, known)})
			continue
		}
		settings = append(settings, Setting{key, value, name})
	}
	return settings, problems.err()
}

func names() []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.Name
	}
	return list
}

func envNames() []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.Env()
	}
	return list
}

// suggest returns "; did you mean X?" for the nearest of the names, or "" if
// none is near.
func suggest(name string, names []string) string {
	if len(name) > 64 { // the cost grows with the length
		return ""
	}
	best, least := "", 4
	for _, candidate := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the Levenshtein distance of two short strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
