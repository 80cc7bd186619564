package config

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// ParsingWeight is how many times its size the parsing of a manifest takes
// from the memory budget.
const ParsingWeight = 10

// leastMinFree is what the database may need to go on while pushes are refused.
const leastMinFree = 8 * MiB

// Bounds of the work behind the scenes.
const (
	leastPass      = time.Second
	leastScrub     = 64 * KiB
	leastScrubPass = time.Hour
)

// Validate returns everything that is wrong with the values, each problem
// naming its key; nothing else is read (a file that a key names may be missing).
func (c *Config) Validate() Problems {
	var v validator
	v.listen("listen", c.Listen)
	if c.Admin.Listen != Off {
		v.listen("admin.listen", c.Admin.Listen)
	}
	for _, name := range c.Admin.HostNames() {
		v.check(!strings.ContainsAny(name, "/*"), "admin.hosts",
			fmt.Sprintf("%q is not a name or an address, such as registry.example.com or 10.0.0.5; there are no patterns", name))
	}
	v.check(c.Data != "", "data", "must name a folder")
	v.check(c.TLS.Cert == "" || c.TLS.Key != "", "tls.key", "must be set, because tls.cert is")
	v.check(c.TLS.Key == "" || c.TLS.Cert != "", "tls.cert", "must be set, because tls.key is")
	v.database(c.Database)
	v.check(len(c.Node.Name) <= 128 && plain(c.Node.Name), "node.name", "must be at most 128 bytes without spaces")
	v.size("manifests.max_size", c.Manifests.MaxSize, KiB, GiB)
	v.duration("uploads.expire", c.Uploads.Expire, time.Minute)
	v.check(c.Storage.Driver != InMemory || Loopback(c.Listen), "storage.driver",
		"memory is for trials on one machine, since it forgets what was pushed: listen on loopback, or use filesystem or s3")
	v.s3(c.S3, c.Storage.Driver)
	v.size("storage.inline_limit", c.Storage.InlineLimit, 0, MiB)
	v.check(c.Storage.MinFree == 0 || c.Storage.MinFree >= leastMinFree, "storage.min_free",
		"must be at least "+text(leastMinFree)+", which the database itself may need, or 0 for what suits the disk")
	v.retention(c)
	v.size("limits.header_size", c.Limits.HeaderSize, 4*KiB, 16*MiB)
	v.duration("limits.header_timeout", c.Limits.HeaderTimeout, time.Second)
	v.check(c.Limits.BodyMinRate >= 1, "limits.body_min_rate", "must be at least 1B/s: a connection that never moves would stay for ever")
	v.size("limits.memory_budget", c.Limits.MemoryBudget, 16*MiB, math.MaxInt64)
	v.check(c.Limits.MemoryBudget >= ParsingWeight*c.Manifests.MaxSize || c.Manifests.MaxSize > GiB,
		"limits.memory_budget", "must be at least ten times manifests.max_size, which parsing a manifest takes")
	v.duration("shutdown.timeout", c.Shutdown.Timeout, time.Second)
	return v.problems
}

type validator struct{ problems Problems }

func (v *validator) check(ok bool, key, text string) {
	if !ok {
		v.problems = append(v.problems, Problem{Key: key, Text: text})
	}
}

func (v *validator) listen(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	v.check(err == nil, key,
		fmt.Sprintf("%q is not an address with a port, such as 127.0.0.1:5000 or [::1]:5000", address))
}

func (v *validator) size(key string, value, least, most Size) {
	v.check(value >= least, key, "must be at least "+text(least))
	v.check(value <= most, key, "must be at most "+text(most))
}

func (v *validator) duration(key string, value Duration, least time.Duration) {
	v.check(time.Duration(value) >= least, key, "must be at least "+text(Duration(least)))
}

func text(v interface{ MarshalText() ([]byte, error) }) string {
	b, err := v.MarshalText()
	if err != nil {
		panic(err) // none of this package's MarshalText returns an error
	}
	return string(b)
}
