package config

import (
	"encoding"
	"fmt"
	"strconv"
	"strings"
)

// EnvPrefix begins the name of every environment variable of the server.
const EnvPrefix = "ARTIFACTSTORE_"

// Key is one setting: its name, what it does, and its field in the tree.
type Key struct {
	// Name is the path in the file, such as "limits.header_size".
	Name string
	// Doc says what the setting does, in whole sentences.
	Doc string

	field func(*Config) any
}

// keys is the only list of settings: the file, the environment, flags, the
// schema, the reference and the example are all read from it or checked
// against it.
var keys = []Key{
	{"listen", "Address and port to listen on. Beyond loopback the server starts only with insecure_no_auth. " +
		"Port 0 takes a free port, which is printed.",
		func(c *Config) any { return &c.Listen }},
	{"data", "Folder that holds everything the server keeps. It is made if it is missing. " +
		"A relative path counts from the folder in which the server is started.",
		func(c *Config) any { return &c.Data }},
	{"insecure_no_auth", "Allows listening beyond loopback although anybody who reaches the port can pull, push and delete.",
		func(c *Config) any { return &c.InsecureNoAuth }},

	{"admin.listen", "Address and port of the operators' API and of /metrics, or off for neither. It speaks plain HTTP. " +
		"Beyond loopback the server starts only with insecure_no_auth.",
		func(c *Config) any { return &c.Admin.Listen }},
	{"admin.hosts", "Names, separated by commas, that the Host header of a request to the operators' API may have beside loopback; " +
		"others get 403, so that no web page can reach it through a name of its own.",
		func(c *Config) any { return &c.Admin.Hosts }},

	{"tls.cert", "PEM file with the server's certificate and its intermediates. With tls.key it turns on HTTPS (TLS 1.2 or later).",
		func(c *Config) any { return &c.TLS.Cert }},
	{"tls.key", "PEM file with the private key of tls.cert.",
		func(c *Config) any { return &c.TLS.Key }},

	{"log.format", "Form of the log lines on standard error: text or json.",
		func(c *Config) any { return &c.Log.Format }},
	{"log.level", "Least severity that is logged: debug, info, warn or error. There is one line of level info per request; for health checks and scrapes that succeed it has the level debug.",
		func(c *Config) any { return &c.Log.Level }},

	{"database.driver", "Database of the log, the views and small contents: sqlite, a file in the data folder, for one node; " +
		"or postgres, PostgreSQL 15 or newer, for any number of nodes.",
		func(c *Config) any { return &c.Database.Driver }},
	{"database.dsn", "How to reach PostgreSQL: postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full, or host=HOST dbname=DATABASE. " +
		"A password in it is shown nowhere, but stands in this file or variable: database.dsn_file keeps it apart. " +
		"What it does not say comes from the variables and files of libpq: PGPASSWORD, PGPASSFILE, PGSSLROOTCERT, ~/.pgpass and the others.",
		func(c *Config) any { return &c.Database.DSN }},
	{"database.dsn_file", "File that holds what database.dsn would; set one of the two. It is read when the server starts.",
		func(c *Config) any { return &c.Database.DSNFile }},
	{"database.max_connections", "Most connections that a node opens to PostgreSQL: one writes, one listens, the others read. All nodes together must stay below its max_connections. 4 to 1000.",
		func(c *Config) any { return &c.Database.MaxConnections }},
	{"database.connect_timeout", "Time that a request waits for a connection to PostgreSQL; several hosts in a DSN share it.",
		func(c *Config) any { return &c.Database.ConnectTimeout }},
	{"database.statement_timeout", "Time after which PostgreSQL ends a statement of a request. Migrations have no limit.",
		func(c *Config) any { return &c.Database.StatementTimeout }},

	{"node.name", "Name of this node in logs, in metrics and to the other nodes; of nodes that run at one time each has its own. Empty means the host name.",
		func(c *Config) any { return &c.Node.Name }},

	{"delete.enabled", "Whether tags, manifests and blobs can be deleted through the API. If not, such requests get 405.",
		func(c *Config) any { return &c.Delete.Enabled }},

	{"manifests.allow_sparse", "Accepts a manifest or an index although content that it references is not in the repository.",
		func(c *Config) any { return &c.Manifests.AllowSparse }},
	{"manifests.max_size", "Largest manifest that is accepted; a larger one gets 413.",
		func(c *Config) any { return &c.Manifests.MaxSize }},

	{"uploads.expire", "Time after which an upload session is removed, counted from its start.",
		func(c *Config) any { return &c.Uploads.Expire }},

	{"storage.driver", "Where bytes above storage.inline_limit are kept: filesystem, the data folder, for one node; s3, a bucket, for any number of nodes; " +
		"or memory, for trials, which forgets them when the server stops.",
		func(c *Config) any { return &c.Storage.Driver }},
	{"storage.inline_limit", "Blobs and manifests up to this size are kept in the database, larger ones where storage.driver says. 0 keeps all bytes there.",
		func(c *Config) any { return &c.Storage.InlineLimit }},
	{"storage.min_free", "Free space of the disk below which pushes get 507, so that reading and deleting go on. At least 8MiB. " +
		"0 means 1 GiB or 5 % of the disk, whichever is smaller, but not less than 8 MiB or, on a very small disk, a quarter of it.",
		func(c *Config) any { return &c.Storage.MinFree }},

	{"s3.bucket", "Name of the bucket, which must be there.",
		func(c *Config) any { return &c.S3.Bucket }},
	{"s3.prefix", "What all keys in the bucket begin with, such as registry/prod, so that a bucket can be shared; a / comes behind it. Empty uses the whole bucket.",
		func(c *Config) any { return &c.S3.Prefix }},
	{"s3.region", "Region of the bucket. Services other than AWS mostly take any.",
		func(c *Config) any { return &c.S3.Region }},
	{"s3.endpoint", "URL of a service other than AWS, such as https://s3.example.com: no path, no credentials. Empty means that of AWS in s3.region.",
		func(c *Config) any { return &c.S3.Endpoint }},
	{"s3.public_endpoint", "URL under which clients reach the service, if it is another one than the nodes use; s3.redirect sends them there.",
		func(c *Config) any { return &c.S3.PublicEndpoint }},
	{"s3.path_style", "Puts the bucket into the path of a URL, not before the host name, as most services other than AWS need it.",
		func(c *Config) any { return &c.S3.PathStyle }},
	{"s3.storage_class", "Storage class of new objects, such as STANDARD_IA. Empty leaves it to the service. Classes that need a restore before reading are refused.",
		func(c *Config) any { return &c.S3.StorageClass }},
	{"s3.sse", "Encryption that the service is asked for: AES256, aws:kms, or empty for what the bucket does by itself.",
		func(c *Config) any { return &c.S3.SSE }},
	{"s3.sse_kms_key_id", "Key for s3.sse aws:kms. Empty means the account's key for S3.",
		func(c *Config) any { return &c.S3.SSEKMSKeyID }},
	{"s3.access_key_id_file", "File that holds the id of the access key. Without it and s3.secret_access_key_file credentials come from where " +
		"the AWS SDK looks: variables such as AWS_ACCESS_KEY_ID, its own files, web identity, the machine's role.",
		func(c *Config) any { return &c.S3.AccessKeyIDFile }},
	{"s3.secret_access_key_file", "File that holds the secret of the access key.",
		func(c *Config) any { return &c.S3.SecretAccessKeyFile }},
	{"s3.profile", "Profile of the AWS SDK's own files to take credentials from.",
		func(c *Config) any { return &c.S3.Profile }},
	{"s3.part_size", "Size of the first parts of an upload; later ones grow, so that objects of 1 TiB fit. 5MiB to 1GiB.",
		func(c *Config) any { return &c.S3.PartSize }},
	{"s3.concurrency", "Parts of one upload that are sent at a time. 1 to 64.",
		func(c *Config) any { return &c.S3.Concurrency }},
	{"s3.memory", "Memory that parts of all uploads share; what does not fit waits in files in s3.spool. At least s3.part_size. It comes on top of limits.memory_budget.",
		func(c *Config) any { return &c.S3.Memory }},
	{"s3.spool", "Folder for parts that do not fit into memory. Empty means the system's folder for temporary files.",
		func(c *Config) any { return &c.S3.Spool }},
	{"s3.redirect", "Whether a GET of a blob is answered with a redirect to the bucket, which clients must reach then: never, always, or above a size, as in above 1MiB. " +
		"Whoever has such a URL can fetch the blob without asking us, until it expires.",
		func(c *Config) any { return &c.S3.Redirect }},
	{"s3.redirect_expiry", "Time for which such a URL is good. 1m to 168h.",
		func(c *Config) any { return &c.S3.RedirectExpiry }},

	{"retention.enforce", "Whether the server applies the policies by itself: marks what has expired and lets it go after the grace. If not, only plans that an operator executes do.",
		func(c *Config) any { return &c.Retention.Enforce }},
	{"retention.interval", "Time between two of these passes over all repositories. At least 1s.",
		func(c *Config) any { return &c.Retention.Interval }},
	{"retention.erase", "Whether operators can erase a manifest for a legal cause, whatever its class and the policies say. Holds win over that too.",
		func(c *Config) any { return &c.Retention.Erase }},
	{"retention.default", "Class of a manifest that no policy classifies. Empty means permanent-record, or what was set through the admin API.",
		func(c *Config) any { return &c.Retention.Default }},
	{"retention.grace", "Time that a manifest stays after it has expired or was deleted, in which it can be brought back: a whole number and one of the units s, m, h, d, w and y. " +
		"Empty means 7d, or what was set through the admin API.",
		func(c *Config) any { return &c.Retention.Grace }},
	{"retention.classes", "Terms of retention classes that are added or changed, by name: such a number, or never. In the file it is a mapping, elsewhere a JSON object. " +
		"The shipped ones are transient: 7d, raw-evidence: 90d, summary-evidence: 1y, release-evidence: 7y and permanent-record: never.",
		func(c *Config) any { return &c.Retention.Classes }},
	{"retention.policies", "Policies, of which the first applies whose repositories match; they come before those that were set through the admin API. In the file it is a list, elsewhere a JSON array. " +
		"A policy has name and repositories, a list of patterns, and may have class, choose, expire_tagged, expire_untagged, keep, immutable_tags and write_once, which docs/retention.md explains. " +
		"What a server finds here when it starts is in force from then on, and in the log.",
		func(c *Config) any { return &c.Retention.Policies }},

	{"sweep.interval", "Time between two sweeps, which take away what nothing uses. 0 leaves that to artifactstore sweep. At least 1s.",
		func(c *Config) any { return &c.Sweep.Interval }},
	{"sweep.after", "Time for which a blob that no manifest uses is left alone, as somebody may be about to push one. At least 1s.",
		func(c *Config) any { return &c.Sweep.After }},
	{"sweep.rate", "Most rows that a sweep looks at, and objects that it deletes, in a second. With a limit it also pauses after each change, three times as long as that took. 100 to 1000000, or 0 for no limit.",
		func(c *Config) any { return &c.Sweep.Rate }},
	{"sweep.grace", "Time for which a blob that no manifest uses can still be used, once a sweep has found it. A client that was told that a blob is there has at least that long to push the manifest. At least 1s.",
		func(c *Config) any { return &c.Sweep.Grace }},

	{"erase.delay", "Time for which the object of a blob that is gone stays in its store. Longer than a backup takes, so that what the database of the backup names is there; and with objects in S3 not less than s3.redirect_expiry. At least 1s.",
		func(c *Config) any { return &c.Erase.Delay }},

	{"scrub.rate", "Rate at which stored bytes are read again, to find damage before a client does; what is smaller than 16KiB counts for as much. 0/s turns it off. At least 64KiB/s.",
		func(c *Config) any { return &c.Scrub.Rate }},
	{"scrub.interval", "Time from the start of one pass over all that is stored to the start of the next. At least 1h.",
		func(c *Config) any { return &c.Scrub.Interval }},

	{"limits.header_size", "Largest request header that is accepted; a larger one gets 431.",
		func(c *Config) any { return &c.Limits.HeaderSize }},
	{"limits.header_timeout", "Time in which a request's header must arrive. An idle connection is not affected.",
		func(c *Config) any { return &c.Limits.HeaderTimeout }},
	{"limits.body_min_rate", "Least rate, averaged over half a minute, at which a client must send a request's body and take an answer; a slower one is cut off.",
		func(c *Config) any { return &c.Limits.BodyMinRate }},
	{"limits.memory_budget", "Memory that transfer buffers and the parsing of manifests share. Requests wait for their part of it. " +
		"A quarter is for what clients are slow to send or to read: while that is used up, large manifests and long lists are refused with 429. " +
		"The Go runtime is asked to stay within the budget and 32 MiB, unless GOMEMLIMIT is set. " +
		"At least ten times manifests.max_size.",
		func(c *Config) any { return &c.Limits.MemoryBudget }},

	{"shutdown.timeout", "Time that requests in flight get to finish after SIGTERM or SIGINT before they are cut off.",
		func(c *Config) any { return &c.Shutdown.Timeout }},
}

// Keys returns all settings in the order of the reference.
func Keys() []Key { return append([]Key(nil), keys...) }

// Lookup finds a setting by its name.
func Lookup(name string) (Key, bool) {
	for _, k := range keys {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

// Env is the name of the environment variable of the setting.
func (k Key) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Get returns the setting's value in c as text that Set reads, without secrets.
func (k Key) Get(c *Config) string {
	switch v := k.field(c).(type) {
	case *string:
		return *v
	case *bool:
		return strconv.FormatBool(*v)
	case *int:
		return strconv.Itoa(*v)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			panic(err) // none of this package's MarshalText returns an error
		}
		return string(text)
	}
	panic("config: no text form of " + k.Name) // a test touches every key
}

// structure tells whether the setting is a mapping or a list.
func (k Key) structure() (structure, bool) {
	switch k.field(new(Config)).(type) {
	case *Classes:
		return Classes(""), true
	case *Policies:
		return Policies(""), true
	}
	return nil, false
}

// Set parses text into the setting's field of c. On error c is unchanged.
func (k Key) Set(c *Config, text string) error {
	switch v := k.field(c).(type) {
	case *string:
		*v = text
		return nil
	case *bool:
		switch text {
		case "true", "false":
			*v = text == "true"
			return nil
		}
		return fmt.Errorf("%q is neither true nor false", text)
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*v = n
		return nil
	case encoding.TextUnmarshaler:
		return v.UnmarshalText([]byte(text))
	}
	panic("config: no text form of " + k.Name) // a test touches every key
}
