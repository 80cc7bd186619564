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

	{"delete.enabled", "Whether tags, manifests and blobs can be deleted through the API. If not, such requests get 405.",
		func(c *Config) any { return &c.Delete.Enabled }},

	{"manifests.allow_sparse", "Accepts a manifest or an index although content that it references is not in the repository.",
		func(c *Config) any { return &c.Manifests.AllowSparse }},
	{"manifests.max_size", "Largest manifest that is accepted; a larger one gets 413.",
		func(c *Config) any { return &c.Manifests.MaxSize }},

	{"uploads.expire", "Time after which an upload session is removed, counted from its start.",
		func(c *Config) any { return &c.Uploads.Expire }},

	{"storage.inline_limit", "Blobs and manifests up to this size are kept in the database, larger ones as files. 0 keeps all bytes in files.",
		func(c *Config) any { return &c.Storage.InlineLimit }},
	{"storage.min_free", "Free space of the disk below which pushes get 507, so that reading and deleting go on. At least 8MiB. " +
		"0 means 1 GiB or 5 % of the disk, whichever is smaller, but not less than 8 MiB or, on a very small disk, a quarter of it.",
		func(c *Config) any { return &c.Storage.MinFree }},

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

// Get returns the setting's value in c as text that Set reads.
func (k Key) Get(c *Config) string {
	switch v := k.field(c).(type) {
	case *string:
		return *v
	case *bool:
		return strconv.FormatBool(*v)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			panic(err) // none of this package's MarshalText returns an error
		}
		return string(text)
	}
	panic("config: no text form of " + k.Name) // a test touches every key
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
	case encoding.TextUnmarshaler:
		return v.UnmarshalText([]byte(text))
	}
	panic("config: no text form of " + k.Name) // a test touches every key
}
