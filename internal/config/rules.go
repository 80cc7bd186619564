package config

// shared are the keys that Rules returns.
var shared = []string{"delete.enabled", "manifests.allow_sparse", "manifests.max_size", "uploads.expire",
	"storage.inline_limit", "storage.driver", "retention.enforce", "retention.erase", "sweep.after", "sweep.grace", "erase.delay"}

// sharedS3 are those beside them that say which bucket it is.
var sharedS3 = []string{"s3.bucket", "s3.prefix", "s3.endpoint"}

// RetentionRule is the name, in Rules, of the retention policies: the members
// default, grace, classes and policies of the section.
const RetentionRule = "retention"

// Place returns which of Rules say where objects are, whatever the driver.
func Place() []string { return append([]string{"storage.driver"}, sharedS3...) }

// Rules returns the settings that decide what the store accepts, what it keeps
// and where it is found, by the names of their keys. All nodes of one store
// must have the same, for it must not matter which of them a client reaches:
//
//   - delete.enabled, manifests.allow_sparse and manifests.max_size: what one
//     node refuses, another one would do;
//   - uploads.expire: the node that cleans up would end the sessions that
//     another one still promises;
//   - retention.enforce, retention.erase, sweep.after, sweep.grace and erase.delay: what one
//     node lets go, another one would keep; and the policies, which are in the
//     log and which each node would set to its own (RetentionRule is a digest
//     of them);
//   - storage.inline_limit: whether a content is a row or an object, and so what
//     a backup of the database holds, would hang on who took it;
//   - storage.driver, and with s3 the bucket, its prefix and the endpoint: what
//     one node stored, another would not find. Two endpoints that have a bucket
//     of one name are two stores, so nodes name the service alike.
//
// Not among them is what concerns one node or one client alone: addresses,
// limits, timeouts, the pool of connections, free space, log; and what holds for
// each object by itself and can be changed node by node: region, path style,
// credentials, storage class, encryption, part size, redirects. How the database
// is reached is not either: that nodes meet in it is the proof.
//
// There are no secrets in it.
func (c *Config) Rules() map[string]string {
	names := shared
	if c.Storage.Driver == InS3 {
		names = append(names[:len(names):len(names)], sharedS3...)
	}
	rules := make(map[string]string, len(names))
	for _, name := range names {
		key, ok := Lookup(name)
		if !ok {
			panic("config: no key " + name) // a test asks for the rules
		}
		rules[name] = key.Get(c)
	}
	rules[RetentionRule] = c.Retention.documentDigest()
	return rules
}
