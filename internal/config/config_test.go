package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"artifactstore/internal/config"
)

func TestDefaultsAreValid(t *testing.T) {
	c := config.Default()
	if problems := c.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
}

// Every field of the tree has exactly one key, so that no setting exists that
// cannot be set, shown or read about.
func TestEveryFieldHasOneKey(t *testing.T) {
	fields := map[string]bool{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() != reflect.Struct {
			fields[strings.ToLower(path)] = true
			return
		}
		for i := range v.NumField() {
			walk(strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))
		}
	}
	walk("", reflect.ValueOf(config.Default()))
	envs := map[string]bool{config.FileVariable: true, config.ServerVariable: true}
	for _, k := range config.Keys() {
		field := strings.ReplaceAll(k.Name, "_", "")
		if !fields[field] {
			t.Errorf("key %s has no field of its own", k.Name)
		}
		delete(fields, field)
		if envs[k.Env()] {
			t.Errorf("variable %s has two meanings", k.Env())
		}
		envs[k.Env()] = true
	}
	if len(fields) != 0 {
		t.Errorf("fields without a key: %v", fields)
	}
}

func TestEveryKeySetsItsOwnField(t *testing.T) {
	// For each type, a value that is no key's default.
	candidates := []string{"other", "false", "true", "123B", "123MiB", "123B/s", "123h", "json", "warn", "123",
		"postgres", "memory", "AES256", "above 123B", `{"other":"3d"}`, `[{"name":"other","repositories":["x"]}]`, "3d"}
	for _, k := range config.Keys() {
		c, defaults := config.Default(), config.Default()
		value := ""
		for _, candidate := range candidates {
			if k.Set(&c, candidate) == nil && k.Get(&c) != k.Get(&defaults) {
				value = candidate
				break
			}
		}
		if value == "" {
			t.Errorf("%s takes none of %v", k.Name, candidates)
			continue
		}
		for _, o := range config.Keys() {
			if changed := o.Get(&c) != o.Get(&defaults); changed != (o.Name == k.Name) {
				t.Errorf("setting %s to %s: changed of %s is %t", k.Name, value, o.Name, changed)
			}
		}
	}
}

func TestLaterSourcesWin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.yaml")
	write(t, file, "listen: 127.0.0.1:1\ndata: from-file\nlog:\n  level: warn\n")
	env := []string{"HOME=/", "ARTIFACTSTORE_LISTEN=127.0.0.1:2", "ARTIFACTSTORE_DATA=from-env", "ARTIFACTSTORE_CONFIG=ignored"}
	flags := []config.Setting{{Key: "listen", Value: "127.0.0.1:3", Where: "--listen"}}
	e, err := config.Load(file, env, flags)
	if err != nil {
		t.Fatal(err)
	}
	if e.Listen != "127.0.0.1:3" || e.Data != "from-env" || e.Log.Level != config.Warn || e.Log.Format != config.Text {
		t.Errorf("got %+v", e.Config)
	}
	want := map[string]string{"listen": "--listen", "data": "ARTIFACTSTORE_DATA", "log.level": file + ":4"}
	if !reflect.DeepEqual(e.Where, want) {
		t.Errorf("sources %v, want %v", e.Where, want)
	}
}

func TestProblemsAreReportedAllAtOnceWithTheirPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.yaml")
	write(t, file, strings.Join([]string{
		"listen: nowhere",
		"lsten: 127.0.0.1:5000",
		"tls:",
		"  cert: a.pem",
		"log: {format: xml}",
		"limits:",
		"  header_size: 4 MB",
		"  header_size: 8KiB",
		"storage:",
		"  inline_limit: 1GiB",
		"limits.header_timeout: 1s",
		"",
	}, "\n"))
	_, err := config.Load(file, []string{"ARTIFACTSTORE_LISTN=x", "ARTIFACTSTORE_DELETE_ENABLED=yes"},
		[]config.Setting{{Key: "log.level", Value: "loud", Where: "--log-level"}})
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.ReplaceAll(err.Error(), file, "FILE")
	want := strings.Join([]string{
		"FILE:2: lsten: unknown key; did you mean listen?",
		"FILE:8: limits.header_size: given twice, first in line 7",
		"FILE:11: limits.header_timeout: unknown key; did you mean limits.header_timeout?",
		"ARTIFACTSTORE_LISTN: unknown environment variable; did you mean ARTIFACTSTORE_LISTEN?",
		`FILE:5: log.format: "xml" is not a log format; write text or json`,
		`FILE:7: limits.header_size: "4 MB" is not a size; write a whole number with a unit, such as 64KiB, 4MiB or 0`,
		`ARTIFACTSTORE_DELETE_ENABLED: delete.enabled: "yes" is neither true nor false`,
		`--log-level: log.level: "loud" is not a log level; write debug, info, warn or error`,
		`FILE:1: listen: "nowhere" is not an address with a port, such as 127.0.0.1:5000 or [::1]:5000`,
		"tls.key: must be set, because tls.cert is",
		"FILE:10: storage.inline_limit: must be at most 1MiB",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestYAMLRefusals(t *testing.T) {
	cases := []struct{ name, yaml, want string }{
		{"bad syntax", "listen: x\n\tdata: y\n", "f:2: found a tab character"},
		{"a list at the top", "- listen\n", "f:1: want keys with values here, one a line"},
		{"a text at the top", "hello\n", "f:1: want keys with values here, one a line"},
		{"a scalar for a section", "tls: yes\n", "f:1: tls: want keys with values here, one a line"},
		{"a mapping for a value", "listen:\n  host: a\n", "f:2: listen: want a single value"},
		{"a list for a value", "listen: [a]\n", "f:1: listen: want a single value"},
		{"no value", "listen:\n", "f:1: listen: has no value"},
		{"a section twice", "log: {}\nlog: {}\n", "f:2: log: given twice, first in line 1"},
		{"an unknown section", "lgo:\n  level: info\n", "f:1: lgo: unknown key"},
		{"an unknown key of a section", "log:\n  levle: info\n", "f:2: log.levle: unknown key; did you mean log.level?"},
		{"a key of no text", "? [a]\n: b\n", "f:1: a key must be plain text"},
		{"a second document", "listen: a:1\n---\ndata: b\n", "f:2: only one YAML document is allowed"},
		{"an alias", "listen: &a x\ndata: *a\n", "f:2: data: want a single value"},
		{"a merge key", "log: &a {level: info}\ntls:\n  <<: *a\n", "f:3: tls.<<: unknown key"},
		{"a wrong case", "Listen: a:1\n", "f:1: Listen: unknown key; did you mean listen?"},
		{"binary", "data: !!binary aGk=\n", "f:1: data: want a single value; put it in quotes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.FromYAML("f", []byte(c.yaml))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestYAMLAcceptsCommentedOutSections(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "tls:\n  # cert: a\n", "{}\n", "---\nlog: {}\n"} {
		settings, err := config.FromYAML("f", []byte(text))
		if err != nil || len(settings) != 0 {
			t.Errorf("%q: %v, %v", text, settings, err)
		}
	}
}

func TestValidateBounds(t *testing.T) {
	cases := []struct{ key, value, want string }{
		{"listen", "5000", "is not an address"},
		{"listen", "127.0.0.1:70000", "is not an address"},
		{"listen", "127.0.0.1:http", "is not an address"},
		{"data", "", "must name a folder"},
		{"tls.cert", "x", "tls.key: must be set"},
		{"tls.key", "x", "tls.cert: must be set"},
		{"manifests.max_size", "1023B", "at least 1KiB"},
		{"manifests.max_size", "8MiB", "limits.memory_budget: must be at least ten times"},
		{"manifests.max_size", "2GiB", "at most 1GiB"},
		{"uploads.expire", "59s", "at least 1m"},
		{"scrub.interval", "59m", "at least 1h"},
		{"storage.inline_limit", "1025KiB", "at most 1MiB"},
		{"storage.min_free", "1B", "at least 8MiB"},
		{"admin.hosts", "registry.example, *", `"*" is not a name or an address`},
		{"admin.hosts", "http://registry.example", "is not a name or an address"},
		{"limits.header_size", "1KiB", "at least 4KiB"},
		{"limits.header_size", "1GiB", "at most 16MiB"},
		{"limits.header_timeout", "0s", "at least 1s"},
		{"limits.body_min_rate", "0/s", "at least 1B/s"},
		{"shutdown.timeout", "0", "at least 1s"},
		{"limits.memory_budget", "1MiB", "at least 16MiB"},
	}
	for _, c := range cases {
		t.Run(c.key+" "+c.value, func(t *testing.T) {
			_, err := config.Resolve([]config.Setting{{Key: c.key, Value: c.value, Where: "--flag"}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	cases := map[string]bool{
		"127.0.0.1:5000": true, "127.8.9.1:0": true, "[::1]:5000": true, "localhost:5000": true,
		"[::ffff:127.0.0.1]:1": true,
		":5000":                false, "0.0.0.0:5000": false, "[::]:5000": false, "10.0.0.1:5000": false,
		"example.org:5000": false, "localhost.example.org:5000": false, "127.0.0.1": false, "": false,
	}
	for listen, want := range cases {
		c := config.Config{Listen: listen}
		if got := config.Loopback(c.Listen); got != want {
			t.Errorf("%q: %t, want %t", listen, got, want)
		}
	}
}

func TestYAMLWritesWhatItReads(t *testing.T) {
	c := config.Default()
	c.Data = "true" // text that YAML would take for something else
	c.Limits.BodyMinRate = 1
	c.Database.Driver, c.Database.DSN = config.OnPostgreSQL, "host=db"
	c.S3.SSE, c.S3.Redirect, c.S3.Concurrency = config.KMS, config.Redirect(config.MiB), 7
	var out bytes.Buffer
	if err := c.YAML(&out, func(k config.Key) string { return "key " + k.Name }); err != nil {
		t.Fatal(err)
	}
	settings, err := config.FromYAML("f", out.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	e, err := config.Resolve(settings)
	if err != nil || e.Config != c {
		t.Errorf("got %+v (%v), want %+v\n%s", e.Config, err, c, &out)
	}
	if !strings.Contains(out.String(), "  header_size: 64KiB # key limits.header_size\n") {
		t.Errorf("no comment:\n%s", &out)
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Description string
			Default     any
			Properties  map[string]struct {
				Description string
				Default     any
			}
		}
	}
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		section, leaf, nested := strings.Cut(k.Name, ".")
		description, value := schema.Properties[section].Description, schema.Properties[section].Default
		if nested {
			p := schema.Properties[section].Properties[leaf]
			description, value = p.Description, p.Default
		}
		if description != k.Doc || value == nil {
			t.Errorf("%s: description %q, default %v", k.Name, description, value)
		}
	}
}

func TestLoadRefusesFilesItCannotRead(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); err == nil {
		t.Error("no error for a missing file")
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	write(t, large, strings.Repeat("#", 1<<20+1))
	if _, err := config.Load(large, nil, nil); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("large file: %v", err)
	}
}

func FuzzFromYAML(f *testing.F) {
	for _, seed := range []string{"listen: a:1\n", "log: {level: info}\n", "? [a]\n: b", "a: &a\n  b: *a", "- x", "---\n---\n", "\xff", "tls:\n  cert: !!str 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		settings, err := config.FromYAML("f", data)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range settings {
			if _, ok := config.Lookup(s.Key); !ok || seen[s.Key] {
				t.Errorf("setting %+v", s)
			}
			seen[s.Key] = true
		}
	})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
