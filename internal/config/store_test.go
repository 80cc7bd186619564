package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/config"
)

// settingsOf turns "key=value" into settings.
func settingsOf(pairs ...string) []config.Setting {
	var settings []config.Setting
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		settings = append(settings, config.Setting{Key: key, Value: value, Where: "--flag"})
	}
	return settings
}

func TestValidateDatabaseAndBucket(t *testing.T) {
	const onPostgres, inS3, bucket = "database.driver=postgres", "storage.driver=s3", "s3.bucket=b"
	cases := []struct {
		name  string
		pairs []string
		want  string // "" if they are accepted
	}{
		{"postgres without a DSN", []string{onPostgres}, "database.dsn: must say how to reach PostgreSQL"},
		{"postgres with a DSN", []string{onPostgres, "database.dsn=host=db"}, ""},
		{"postgres with a file", []string{onPostgres, "database.dsn_file=/run/dsn"}, ""},
		{"a DSN and a file", []string{onPostgres, "database.dsn=host=db", "database.dsn_file=/run/dsn"}, "database.dsn_file: must not be set beside"},
		{"a DSN for SQLite", []string{"database.dsn=host=db"}, "database.dsn: is set, but database.driver is sqlite"},
		{"a file for SQLite", []string{"database.dsn_file=/run/dsn"}, "database.dsn_file: is set, but database.driver is sqlite"},
		{"an unknown database", []string{"database.driver=mysql"}, `"mysql" is not a database; write sqlite or postgres`},
		{"too few connections", []string{"database.max_connections=3"}, "must be 4 to 1000"},
		{"too many connections", []string{"database.max_connections=1001"}, "must be 4 to 1000"},
		{"a negative number", []string{"database.max_connections=-1"}, `"-1" is not a whole number`},
		{"a size for a number", []string{"s3.concurrency=4MiB"}, `"4MiB" is not a whole number`},
		{"no time to connect", []string{"database.connect_timeout=0"}, "at least 1s"},
		{"no time for a statement", []string{"database.statement_timeout=999ms"}, "at least 1s"},
		{"a node name with a space", []string{"node.name=a b"}, "without spaces"},
		{"a long node name", []string{"node.name=" + strings.Repeat("n", 129)}, "128 bytes"},

		{"an unknown place", []string{"storage.driver=gcs"}, `"gcs" is not a place for bytes`},
		{"memory on loopback", []string{"storage.driver=memory"}, ""},
		{"memory beyond loopback", []string{"storage.driver=memory", "listen=:5000"}, "memory is for trials"},
		{"s3", []string{inS3, bucket}, ""},
		{"s3 without a bucket", []string{inS3}, "s3.bucket: must be set"},
		{"s3 without a region", []string{inS3, bucket, "s3.region="}, "s3.region: must be set"},
		{"a bucket that is not used", []string{bucket}, "s3.bucket: is set, but storage.driver is filesystem"},
		{"a URL for a bucket", []string{inS3, "s3.bucket=s3://b"}, "must be the name alone"},
		{"a folder of a bucket", []string{inS3, bucket, "s3.prefix=registry/prod_1.x-y"}, ""},
		{"a prefix that begins with a slash", []string{"s3.prefix=/a"}, "s3.prefix: must be names"},
		{"a prefix that ends with a slash", []string{"s3.prefix=a/"}, "s3.prefix: must be names"},
		{"a prefix that climbs", []string{"s3.prefix=a/../b"}, "s3.prefix: must be names"},
		{"a prefix with a space", []string{"s3.prefix=a b"}, "s3.prefix: must be names"},
		{"a long prefix", []string{"s3.prefix=" + strings.Repeat("p", 513)}, "512 bytes"},
		{"endpoints", []string{inS3, bucket, "s3.endpoint=http://10.0.0.5:9000", "s3.public_endpoint=https://s3.example.com"}, ""},
		{"an IPv6 endpoint", []string{"s3.endpoint=http://[::1]:9000"}, ""},
		{"an endpoint without a scheme", []string{"s3.endpoint=s3.example.com"}, "s3.endpoint: must be a URL"},
		{"an endpoint of another scheme", []string{"s3.endpoint=s3://example.com"}, "s3.endpoint: must be a URL"},
		{"an endpoint with a path", []string{"s3.public_endpoint=https://example.com/bucket"}, "s3.public_endpoint: must be a URL"},
		{"an endpoint that ends with a slash", []string{"s3.endpoint=https://example.com/"}, "s3.endpoint: must be a URL"},
		{"an endpoint with credentials", []string{"s3.endpoint=https://id:hunter2@example.com"}, "s3.endpoint: must be a URL"},
		{"an endpoint with a query", []string{"s3.endpoint=https://example.com?hunter2"}, "s3.endpoint: must be a URL"},
		{"an endpoint with a bad port", []string{"s3.endpoint=https://example.com:hunter2"}, "s3.endpoint: must be a URL"},
		{"a class that cannot be read", []string{"s3.storage_class=DEEP_ARCHIVE"}, "DEEP_ARCHIVE needs a restore"},
		{"a class that can be read", []string{"s3.storage_class=GLACIER_IR"}, ""},
		{"two classes", []string{"s3.storage_class=STANDARD IA"}, "must be one name"},
		{"an unknown encryption", []string{"s3.sse=aes"}, `"aes" is not an encryption`},
		{"a key of KMS", []string{"s3.sse=aws:kms", "s3.sse_kms_key_id=k"}, ""},
		{"a key without KMS", []string{"s3.sse=AES256", "s3.sse_kms_key_id=k"}, "s3.sse_kms_key_id: must not be set unless"},
		{"an id without a secret", []string{"s3.access_key_id_file=f"}, "s3.secret_access_key_file: must be set"},
		{"a secret without an id", []string{"s3.secret_access_key_file=f"}, "s3.access_key_id_file: must be set"},
		{"a profile beside a key", []string{"s3.profile=p", "s3.access_key_id_file=f", "s3.secret_access_key_file=f"}, "credentials come from one place"},
		{"a small part", []string{"s3.part_size=5242879"}, "at least 5MiB"},
		{"a large part", []string{"s3.part_size=1025MiB", "s3.memory=2GiB"}, "at most 1GiB"},
		{"a part larger than the memory", []string{"s3.part_size=33MiB"}, "s3.memory: must be at least s3.part_size, 33MiB"},
		{"no part at a time", []string{"s3.concurrency=0"}, "must be 1 to 64"},
		{"many parts at a time", []string{"s3.concurrency=65"}, "must be 1 to 64"},
		{"a redirect of no size", []string{"s3.redirect=above"}, `"above" does not say when to redirect`},
		{"a short redirect", []string{"s3.redirect_expiry=59s"}, "at least 1m"},
		{"a long redirect", []string{"s3.redirect_expiry=169h"}, "at most 168h"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Resolve(settingsOf(c.pairs...))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

func TestRedirectAppliesAboveItsSize(t *testing.T) {
	for text, want := range map[string][]int64{
		"never": nil, "always": {1, 1 << 20, 1<<20 + 1, 1 << 40}, "above 1MiB": {1<<20 + 1, 1 << 40}, "above 0": {1, 1 << 20, 1<<20 + 1, 1 << 40},
	} {
		var r config.Redirect
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
			continue
		}
		var got []int64
		for _, size := range []int64{0, 1, 1 << 20, 1<<20 + 1, 1 << 40} {
			if r.Applies(size) {
				got = append(got, size)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s redirects blobs of %v, want %v", text, got, want)
		}
	}
}

func TestRulesAreWhatNodesMustShare(t *testing.T) {
	c := config.Default()
	local := []string{"delete.enabled", "erase.delay", "manifests.allow_sparse", "manifests.max_size", "retention", "retention.enforce", "retention.erase",
		"storage.driver", "storage.inline_limit", "sweep.after", "sweep.grace", "uploads.expire"}
	if got := slices.Sorted(maps.Keys(c.Rules())); !slices.Equal(got, local) {
		t.Errorf("rules %v", got)
	}
	c.Storage.Driver = config.InS3
	want := slices.Sorted(slices.Values(append(local, "s3.bucket", "s3.endpoint", "s3.prefix")))
	rules := c.Rules()
	if got := slices.Sorted(maps.Keys(rules)); !slices.Equal(got, want) {
		t.Errorf("rules with S3 %v", got)
	}
	for name, value := range map[string]string{"manifests.max_size": "4MiB", "delete.enabled": "true", "storage.driver": "s3", "uploads.expire": "24h"} {
		if rules[name] != value {
			t.Errorf("%s is %q, want %q", name, rules[name], value)
		}
	}
	// Two spellings of one value are one rule.
	e, err := config.Resolve(settingsOf("manifests.max_size=4096KiB", "uploads.expire=1440m"))
	if err != nil {
		t.Fatal(err)
	}
	d := config.Default()
	if got := e.Rules(); !maps.Equal(got, d.Rules()) {
		t.Errorf("rules %v differ from %v", got, d.Rules())
	}
}
