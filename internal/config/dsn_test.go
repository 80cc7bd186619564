package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/internal/config"
)

func TestDSNShowsAllButSecrets(t *testing.T) {
	cases := []struct{ dsn, shown string }{
		{"", ""},
		{"postgres://app:hunter2@db.example.com:5432/registry?sslmode=verify-full", "postgres://app:REDACTED@db.example.com:5432/registry?sslmode=verify-full"},
		{"postgresql://app:hunter2@a:5432,b:5433/registry", "postgresql://app:REDACTED@a:5432,b:5433/registry"},
		{"postgres://app:hunter2:more@[2001:db8::1]:5432/registry", "postgres://app:REDACTED@[2001:db8::1]:5432/registry"},
		{"postgres://app:hunt@er2@db/registry", "postgres://app:REDACTED@db/registry"},
		{"postgres://app:@db/registry", "postgres://app:REDACTED@db/registry"},
		{"postgres://app@db/registry", "postgres://app@db/registry"},
		{"postgres:///registry?host=/run/postgresql", "postgres:///registry?host=/run/postgresql"},
		{"postgres://db/registry?user=app&password=hunter2&sslpassword=hunter2", "postgres://db/registry?user=app&password=REDACTED&sslpassword=REDACTED"},
		{"postgres://db/registry?pass%77ord=hunter2", "postgres://db/registry?pass%77ord=REDACTED"},
		{"postgres://db/registry?PASSWORD=hunter2", "postgres://db/registry?PASSWORD=REDACTED"},
		{"host=db dbname=registry", "host=db dbname=registry"},
		{"host=db password=hunter2 dbname=registry", "host=db password=REDACTED dbname=registry"},
		{`host = db password = 'hunt \' er2\\' dbname='registry'`, `host=db password=REDACTED dbname='registry'`},
		{`password=hunt\ er2 host=db`, `password=REDACTED host=db`},
		{"sslpassword=hunter2\nhost=db\n", "sslpassword=REDACTED host=db"},
		{"host=db oauth_client_secret=hunter2", "host=db oauth_client_secret=REDACTED"},
	}
	for _, c := range cases {
		t.Run(c.dsn, func(t *testing.T) {
			if got := config.DSN(c.dsn).String(); got != c.shown {
				t.Errorf("shown as %s, want %s", got, c.shown)
			}
			if c.dsn == "" {
				return
			}
			if _, err := config.Resolve(postgres(c.dsn)); err != nil {
				t.Error(err)
			}
		})
	}
}

// What has neither form could have its secret anywhere, so nothing is shown.
func TestDSNThatMakesNoSenseIsRefusedUnseen(t *testing.T) {
	for _, dsn := range []string{
		"hunter2", "hunter2=", "mysql://app:hunter2@db/registry", "postgres:app:hunter2@db",
		"postgres://app:hunter2/more@db/registry", "postgres://app:12/hunter2@db/registry",
		"postgres://app:12?hunter2@db/registry", "postgres://app:12#hunter2@db/registry", "postgres://app:hunter2",
		"postgres://app:hunter2%zz@db/registry", "postgres://app:hunter2 @db/registry", "postgres://db/registry?password", "postgres://app:1000002",
		"postgres://db/registry?=hunter2", "postgres://db/registry#hunter2", "postgres://[hunter2]/registry",
		"password=hunter2 more host=db", "password='hunter2 host=db", "password='hunter2'more host=db", "password=hunter'2 host=db",
		`password=hunter2\`, "host=db hunter2", "pass word=hunter2", " ", "password=hunter2\x00",
	} {
		t.Run(dsn, func(t *testing.T) {
			if got := config.DSN(dsn).String(); got != config.Redacted {
				t.Errorf("shown as %s", got)
			}
			_, err := config.Resolve(postgres(dsn))
			if err == nil || !strings.Contains(err.Error(), "--flag: database.dsn: is n") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// However a configuration is printed, the password is not.
func TestNothingPrintsAPassword(t *testing.T) {
	e, err := config.Resolve(postgres("postgres://app:hunter2@db.example.com/registry"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := e.YAML(&out, func(config.Key) string { return "" }); err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		out.WriteString(k.Get(&e.Config) + "\n")
	}
	fmt.Fprintf(&out, "%v\n%+v\n%#v\n%s\n%v\n", e, e, e.Config, e.Database.DSN, e.Database)
	encoded, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "config", e.Config, "dsn", e.Database.DSN)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "config", e.Config, "dsn", e.Database.DSN)
	out.Write(config.Schema())
	fmt.Fprintln(&out, e.Rules())
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the password is in\n%s", &out)
	}
	if n := strings.Count(out.String(), "app:REDACTED@db.example.com/registry"); n < 10 {
		t.Errorf("host and database are readable %d times in\n%s", n, &out)
	}
	if source, err := e.Database.Source(); err != nil || source != "postgres://app:hunter2@db.example.com/registry" {
		t.Errorf("source %q, %v", source, err)
	}
}

func TestSourceReadsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dsn")
	d := config.Database{DSNFile: file}
	refuse := func(want string) {
		t.Helper()
		_, err := d.Source()
		if err == nil || !strings.Contains(err.Error(), "database.dsn_file: ") || !strings.Contains(err.Error(), file) ||
			!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	refuse("no such file")
	for text, want := range map[string]string{
		"": "is empty", "\n": "is empty", "app:hunter2@db": "is neither", "postgres://app:hunter2/@db": "is no URL",
		strings.Repeat("hunter2", 10_000): "is larger than 64 KiB",
	} {
		write(t, file, text)
		refuse(want)
	}
	const want = "postgres://app:hunter2@db/registry"
	for _, text := range []string{want, want + "\n", want + "\r\n"} {
		write(t, file, text)
		if got, err := d.Source(); err != nil || got != want {
			t.Errorf("%q gave %q, %v", text, got, err)
		}
	}
	write(t, file, "host=other") // a password that was changed is used from now on
	if got, err := d.Source(); err != nil || got != "host=other" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAccessKeyReadsBothFiles(t *testing.T) {
	dir := t.TempDir()
	s := config.S3{AccessKeyIDFile: filepath.Join(dir, "id"), SecretAccessKeyFile: filepath.Join(dir, "secret")}
	write(t, s.AccessKeyIDFile, "AKIA\n")
	if _, _, err := s.AccessKey(); err == nil || !strings.Contains(err.Error(), "s3.secret_access_key_file: ") {
		t.Errorf("without a secret: %v", err)
	}
	write(t, s.SecretAccessKeyFile, "hunter2\n")
	if id, secret, err := s.AccessKey(); err != nil || id != "AKIA" || secret != "hunter2" {
		t.Errorf("got %q, %q, %v", id, secret, err)
	}
	if err := os.Remove(s.AccessKeyIDFile); err != nil {
		t.Fatal(err)
	}
	if _, secret, err := s.AccessKey(); err == nil || secret != "" || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without an id: %q, %v", secret, err)
	}
	if id, secret, err := (config.S3{}).AccessKey(); err != nil || id != "" || secret != "" {
		t.Errorf("without files: %q, %q, %v", id, secret, err)
	}
}

// A password of any bytes, written as it must be in either form, is never shown.
func FuzzDSN(f *testing.F) {
	f.Add("app", "hunter2hunter2", "host")
	f.Add("a@b:c/d", "p@:/?#[]%& '\\=\nx.", "[::1]")
	f.Fuzz(func(t *testing.T, user, password, raw string) {
		_ = config.DSN(raw).String() // does not fail
		const mark = "hunter2"
		password = mark + password + mark
		if strings.ContainsRune(user+password, 0) || strings.Contains(user, mark) {
			return
		}
		u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: "db", Path: "/registry"}
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		written := []string{u.String(), "host=db password='" + quoted + "' dbname=registry", "postgres://db/registry?password=" + url.QueryEscape(password)}
		if !strings.ContainsAny(password, " \t\n\r\v\f") { // what is behind a space is another keyword
			written = append(written, "postgres://"+user+":"+password+"@db/registry", "host=db password="+password)
		}
		for _, dsn := range written {
			if shown := config.DSN(dsn).String(); strings.Contains(shown, mark) {
				t.Errorf("%q is shown as %q", dsn, shown)
			}
		}
		if shown := config.DSN(u.String()).String(); !strings.HasSuffix(shown, ":REDACTED@db/registry") {
			t.Errorf("%q is shown as %q", u.String(), shown)
		}
	})
}

// postgres are the settings of a server on PostgreSQL.
func postgres(dsn string) []config.Setting {
	return []config.Setting{{Key: "database.driver", Value: "postgres", Where: "--flag"}, {Key: "database.dsn", Value: dsn, Where: "--flag"}}
}
