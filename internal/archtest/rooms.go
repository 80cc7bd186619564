package archtest

// Room is a package and what it may know of.
type Room struct {
	// Path is the folder, relative to the root of the module.
	Path string
	// Ours are the packages of this module that it may import; "*" is all.
	Ours []string
	// Modules are the third-party modules that live in this room.
	Modules []string
	// Pure: no clock, no I/O, no randomness. The same arguments give the same
	// results, in a replay of the log as well.
	Pure bool
	// BlackBox: its tests, too, may import only what is listed.
	BlackBox bool
}

// The third-party modules of the application. Each has one room.
const (
	awsSDK        = "github.com/aws/aws-sdk-go-v2"
	smithy        = "github.com/aws/smithy-go"
	blake3        = "lukechampine.com/blake3"
	cbor          = "github.com/fxamacker/cbor/v2"
	cobra         = "github.com/spf13/cobra"
	goDigest      = "github.com/opencontainers/go-digest"
	gorillaMux    = "github.com/gorilla/mux"
	imageSpec     = "github.com/opencontainers/image-spec"
	jsonV2        = "github.com/go-json-experiment/json"
	sqlite        = "github.com/ncruces/go-sqlite3"
	pgx           = "github.com/jackc/pgx/v5"
	xsync         = "golang.org/x/sync"
	yaml          = "go.yaml.in/yaml/v3"
	openTelemetry = "go.opentelemetry.io/otel"
	prometheus    = "github.com/prometheus/client_golang"
	orasGo        = "oras.land/oras-go/v2"
	ggcr          = "github.com/google/go-containerregistry"
	rapid         = "pgregory.net/rapid"
	goleak        = "go.uber.org/goleak"
	independent   = "github.com/gowebpki/jcs"
	jsonSchema    = "github.com/santhosh-tekuri/jsonschema/v6"
	promText      = "github.com/prometheus/common"
	otlp          = "go.opentelemetry.io/proto/otlp"
	protobuf      = "google.golang.org/protobuf"
	promModel     = "github.com/prometheus/client_model"
	porcupine     = "github.com/anishathalye/porcupine"
	sqliteImages  = "github.com/ncruces/go-sqlite3/embed"
)

// Rooms is the architecture: every package of the module, from the inside out.
// A package that is not here fails the tests, and so does a row without one.
var Rooms = []Room{
	// Values and rules.
	{Path: "retention", Pure: true},
	{Path: "registry/identity", Modules: []string{blake3, goDigest}, Pure: true},
	{Path: "internal/canon", Modules: []string{cbor, jsonV2}, Pure: true},
	{Path: "registry/fact", Ours: []string{"registry/identity"}, Pure: true},
	{Path: "registry/manifest", Ours: []string{"registry/identity", "internal/canon"}, Modules: []string{imageSpec}, Pure: true},
	{Path: "eventlog", Ours: []string{"registry/identity", "internal/canon"}},
	{Path: "registry", Ours: []string{"registry/identity", "registry/manifest", "registry/fact", "eventlog", "retention", "internal/budget"}},

	// Bytes.
	{Path: "internal/budget", Modules: []string{xsync}},
	{Path: "internal/durable"},
	{Path: "storagedriver"},
	{Path: "storagedriver/filesystem", Ours: []string{"storagedriver", "internal/durable"}},
	{Path: "storagedriver/s3", Ours: []string{"storagedriver"}, Modules: []string{awsSDK, smithy}},
	{Path: "storagedriver/memory", Ours: []string{"storagedriver"}},
	{Path: "storagedriver/fault", Ours: []string{"storagedriver"}},
	{Path: "storagedriver/observe", Ours: []string{"storagedriver"}},
	{Path: "internal/dataplane", Ours: []string{"storagedriver", "registry/identity", "registry/fact", "eventlog", "internal/budget"}},

	// Facts and views on SQL.
	{Path: "internal/metastore", Ours: []string{"registry", "registry/identity", "registry/manifest", "registry/fact",
		"eventlog", "retention", "internal/canon", "internal/worker", "internal/metastore/database",
		"internal/metastore/sqlite", "internal/metastore/postgres"}},
	{Path: "internal/metastore/database"},
	{Path: "internal/metastore/sqlite", Ours: []string{"internal/metastore/database"}, Modules: []string{sqlite}},
	{Path: "internal/metastore/postgres", Ours: []string{"internal/metastore/database"}, Modules: []string{pgx}},

	// Both: a copy of facts and bytes.
	{Path: "internal/backup", Ours: []string{"registry", "registry/identity", "registry/fact", "eventlog", "internal/canon",
		"internal/metastore", "storagedriver"}},

	// The doors.
	{Path: "internal/web"},
	{Path: "distribution", Ours: []string{"registry", "registry/identity", "registry/manifest", "registry/fact", "eventlog", "internal/web"},
		Modules: []string{gorillaMux}},
	{Path: "internal/admin", Ours: []string{"registry", "registry/identity", "registry/manifest", "registry/fact", "eventlog", "retention", "internal/canon", "internal/web"},
		Modules: []string{gorillaMux}},

	// Those who knock at the doors.
	{Path: "internal/inproc"},
	{Path: "internal/adminclient", Ours: []string{"internal/admin", "eventlog"}},
	{Path: "internal/importer", Modules: []string{orasGo, goDigest, imageSpec}},

	// What operators watch.
	{Path: "internal/metrics", Ours: []string{"internal/web", "internal/metastore", "internal/dataplane", "storagedriver", "storagedriver/observe"},
		Modules: []string{prometheus}},
	{Path: "internal/tracing", Ours: []string{"internal/web", "internal/metastore", "registry", "storagedriver/observe"},
		Modules: []string{openTelemetry, otlp, protobuf}},

	// The process.
	{Path: "internal/config", Ours: []string{"retention"}, Modules: []string{yaml}},
	{Path: "internal/worker"},
	{Path: "cmd/artifactstore", Ours: []string{"*"}, Modules: []string{cobra}},

	// Suites that others run, and tests from outside.
	{Path: "eventlog/logtest", Ours: []string{"eventlog", "registry/identity", "internal/canon"}},
	{Path: "storagedriver/drivertest", Ours: []string{"storagedriver"}},
	{Path: "conformance/harness", BlackBox: true},
	{Path: "conformance/oci", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/clients", Ours: []string{"conformance/harness"}, Modules: []string{orasGo, ggcr}, BlackBox: true},
	{Path: "conformance/deploy", Ours: []string{"conformance/harness"}, Modules: []string{yaml}, BlackBox: true},
	{Path: "conformance/importing", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/native", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/model", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/events", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/crash", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/failover", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/backup", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/damage", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/cluster", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/moving", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/upgrade", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/life", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/watch", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "conformance/bench", Ours: []string{"conformance/harness"}, BlackBox: true},
	{Path: "internal/archtest"},
	{Path: "scripts/check"},
}

// TestModules may be imported by every test, beside the modules of all rooms:
// a test may ask a second opinion of any library.
var TestModules = []string{rapid, goleak, independent, jsonSchema, promText, promModel, porcupine}

// Forbidden are packages that no file imports, with the reason.
var Forbidden = map[string]string{
	sqliteImages: "it brings a second copy of SQLite",
	"unsafe":     "nothing here is worth it",
	"log":        "logging is log/slog",
	"math/rand":  "randomness is crypto/rand, or math/rand/v2 with a seed that is printed",
}

// Narrow are packages of the standard library that only some rooms may use,
// tests apart. A room stands for everything below it.
var Narrow = map[string][]string{
	"net/http": {"distribution", "internal/web", "internal/admin", "internal/adminclient", "internal/metrics", "internal/tracing",
		"internal/inproc", "internal/importer", "storagedriver/s3", "cmd", "conformance"},
	"database/sql": {"internal/metastore"},
	"os/exec":      {"conformance", "scripts"},
}

// impure are the packages that a pure room does without.
var impure = []string{"crypto/rand", "database/sql", "io/fs", "log/slog", "math/rand/v2", "net", "os", "path/filepath", "syscall"}

// clock are the functions of package time that read the clock or wait for it.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// LongestChain is how many packages of ours may import one another in a row.
const LongestChain = 7

// Limits of form.
const (
	MaxLines    = 600 // of a file
	MaxFunction = 80  // lines of a function, tests and suites apart
)
