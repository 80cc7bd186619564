package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// database judges how the database is reached. A problem never shows a DSN.
func (v *validator) database(d Database) {
	given := d.DSN != "" || d.DSNFile != ""
	if d.Driver == OnPostgreSQL {
		v.check(given, "database.dsn", "must say how to reach PostgreSQL, because database.driver is postgres; or set database.dsn_file")
	} else {
		key := "database.dsn"
		if d.DSN == "" {
			key = "database.dsn_file"
		}
		v.check(!given, key, "is set, but database.driver is "+string(d.Driver)+", which uses the data folder; set database.driver to postgres")
	}
	v.check(d.DSN == "" || d.DSNFile == "", "database.dsn_file", "must not be set beside database.dsn: one would be ignored")
	problem := d.DSN.problem()
	v.check(problem == "", "database.dsn", problem)
	v.count("database.max_connections", d.MaxConnections, 4, 1000)
	v.duration("database.connect_timeout", d.ConnectTimeout, time.Second)
	v.duration("database.statement_timeout", d.StatementTimeout, time.Second)
}

// Limits of S3.
const (
	leastPart    = 5 * MiB            // of all parts but the last
	longestLink  = 7 * 24 * time.Hour // the most that a signature of version 4 is good for
	shortestLink = time.Minute
)

// s3 judges how the bucket is reached and used.
func (v *validator) s3(s S3, driver StorageDriver) {
	if driver == InS3 {
		v.check(s.Bucket != "", "s3.bucket", "must be set, because storage.driver is s3")
		v.check(s.Region != "", "s3.region", "must be set; services that have no regions take us-east-1")
	} else {
		v.check(s.Bucket == "", "s3.bucket", "is set, but storage.driver is "+string(driver)+"; set storage.driver to s3")
	}
	v.check(plain(s.Bucket) && !strings.Contains(s.Bucket, "://"), "s3.bucket", "must be the name alone; a folder in the bucket goes to s3.prefix")
	v.check(validPrefix(s.Prefix), "s3.prefix",
		"must be names with slashes between them, such as registry/prod, of letters, digits, dots, dashes and underscores, without . and .. and 512 bytes at most")
	v.endpoint("s3.endpoint", s.Endpoint)
	v.endpoint("s3.public_endpoint", s.PublicEndpoint)
	v.check(s.StorageClass != "GLACIER" && s.StorageClass != "DEEP_ARCHIVE", "s3.storage_class",
		s.StorageClass+" needs a restore before an object can be read; GLACIER_IR does not")
	v.check(plain(s.StorageClass), "s3.storage_class", "must be one name, such as STANDARD_IA")
	v.check(s.SSEKMSKeyID == "" || s.SSE == KMS, "s3.sse_kms_key_id", "must not be set unless s3.sse is aws:kms")
	v.check(s.AccessKeyIDFile == "" || s.SecretAccessKeyFile != "", "s3.secret_access_key_file", "must be set, because s3.access_key_id_file is")
	v.check(s.SecretAccessKeyFile == "" || s.AccessKeyIDFile != "", "s3.access_key_id_file", "must be set, because s3.secret_access_key_file is")
	v.check(s.Profile == "" || s.AccessKeyIDFile == "" && s.SecretAccessKeyFile == "", "s3.profile",
		"must not be set beside s3.access_key_id_file: credentials come from one place")
	v.size("s3.part_size", s.PartSize, leastPart, GiB)
	v.count("s3.concurrency", s.Concurrency, 1, 64)
	v.check(s.Memory >= s.PartSize, "s3.memory", "must be at least s3.part_size, "+text(s.PartSize))
	v.duration("s3.redirect_expiry", s.RedirectExpiry, shortestLink)
	v.check(time.Duration(s.RedirectExpiry) <= longestLink, "s3.redirect_expiry", "must be at most "+text(Duration(longestLink)))
}

// endpoint judges the URL of a service. What is wrong with it may be that it
// holds a secret, so it is not shown.
func (v *validator) endpoint(key, endpoint string) {
	if endpoint == "" {
		return
	}
	u, err := url.Parse(endpoint)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		endpoint == u.Scheme+"://"+u.Host
	v.check(ok, key, "must be a URL of http:// or https://, a name or an address, and a port or none: no path, no slash at the end, no credentials")
}

func (v *validator) count(key string, value, least, most int) {
	v.check(value >= least && value <= most, key, fmt.Sprintf("must be %d to %d", least, most))
}

// validPrefix tells whether keys below a prefix are legal in every service,
// those that keep objects in folders too.
func validPrefix(prefix string) bool {
	if prefix == "" {
		return true
	}
	for name := range strings.SplitSeq(prefix, "/") {
		odd := strings.ContainsFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
		})
		if name == "" || name == "." || name == ".." || odd {
			return false
		}
	}
	return len(prefix) <= 512
}
