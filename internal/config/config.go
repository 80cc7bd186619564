// Package config is the configuration of the server: one typed tree with one
// struct per section, its defaults, and the places that settings come from: a
// YAML file, environment variables and flags, the later winning over the
// earlier.
//
// It is strict. An unknown key, a key given twice, a value that does not parse
// and a value out of bounds are errors, and all of them are reported at once,
// each with its place (the file's line, the variable, the flag).
package config

import (
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config is the whole configuration. Default gives its defaults, Load what a
// file, the environment and flags make of them.
type Config struct {
	Listen         string
	Data           string
	InsecureNoAuth bool
	Admin          Admin
	TLS            TLS
	Log            Log
	Database       Database
	Node           Node
	Delete         Delete
	Manifests      Manifests
	Uploads        Uploads
	Storage        Storage
	S3             S3
	Retention      Retention
	Sweep          Sweep
	Erase          Erase
	Scrub          Scrub
	Limits         Limits
	Shutdown       Shutdown
}

// Off is the address of a listener that is not wanted.
const Off = "off"

// Admin governs the operators' API.
type Admin struct {
	Listen string // or Off
	Hosts  string // names, separated by commas
}

// HostNames are the names that a Host header may have beside loopback.
func (a Admin) HostNames() []string {
	return strings.FieldsFunc(a.Hosts, func(r rune) bool { return r == ',' || r == ' ' })
}

// TLS names the server's certificate. Both are empty for plain HTTP.
type TLS struct {
	Cert string // PEM file: the certificate, then its intermediates
	Key  string // PEM file
}

// Log says how the server logs.
type Log struct {
	Format Format
	Level  Level
}

// Database says where the log, the views and small contents are kept.
type Database struct {
	Driver DatabaseDriver
	// DSN and DSNFile say how PostgreSQL is reached; Source reads them.
	DSN              DSN
	DSNFile          string // file that holds a DSN
	MaxConnections   int
	ConnectTimeout   Duration
	StatementTimeout Duration
}

// Node is this process among others that serve the same store.
type Node struct {
	Name string // empty for the name of the host
}

// Delete governs deletion through the API.
type Delete struct {
	Enabled bool
}

// Manifests governs what manifests are accepted.
type Manifests struct {
	AllowSparse bool
	MaxSize     Size
}

// Uploads governs upload sessions.
type Uploads struct {
	Expire Duration
}

// Storage governs where bytes are kept.
type Storage struct {
	Driver      StorageDriver
	InlineLimit Size
	MinFree     Size // 0 leaves it to the size of the disk
}

// S3 governs the bucket that holds the bytes, if Storage.Driver is InS3.
type S3 struct {
	Bucket         string
	Prefix         string // of all keys, without a slash at either end
	Region         string
	Endpoint       string // URL, or empty for that of the region
	PublicEndpoint string // URL for clients, or empty for Endpoint
	PathStyle      bool
	StorageClass   string // or empty for that of the bucket
	SSE            Encryption
	SSEKMSKeyID    string
	// AccessKeyIDFile and SecretAccessKeyFile are both empty where the SDK is
	// to find credentials by itself; AccessKey reads them.
	AccessKeyIDFile     string
	SecretAccessKeyFile string
	Profile             string // of the SDK's own files
	PartSize            Size
	Concurrency         int
	Memory              Size
	Spool               string // folder, or empty for that of temporary files
	Redirect            Redirect
	RedirectExpiry      Duration
}

// Scrub governs the reading of all that is stored, to find what is damaged.
type Scrub struct {
	Rate     Rate // 0: it is off
	Interval Duration
}

// Limits bounds what clients can make the server spend.
type Limits struct {
	HeaderSize    Size
	HeaderTimeout Duration
	BodyMinRate   Rate
	MemoryBudget  Size
}

// Shutdown governs the end of the server.
type Shutdown struct {
	Timeout Duration
}

// Default returns the configuration of a server that was told nothing.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:5000",
		Data:   "./data",
		Admin:  Admin{Listen: "127.0.0.1:5001"},
		Log:    Log{Format: Text, Level: Info},
		Database: Database{
			Driver:           OnSQLite,
			MaxConnections:   16,
			ConnectTimeout:   Duration(10 * time.Second),
			StatementTimeout: Duration(30 * time.Second),
		},
		Delete:    Delete{Enabled: true},
		Manifests: Manifests{MaxSize: 4 * MiB},
		Uploads:   Uploads{Expire: Duration(24 * time.Hour)},
		Storage:   Storage{Driver: InFilesystem, InlineLimit: 64 * KiB},
		S3: S3{
			Region:         "us-east-1",
			PartSize:       8 * MiB,
			Concurrency:    4,
			Memory:         32 * MiB,
			Redirect:       Never,
			RedirectExpiry: Duration(15 * time.Minute),
		},
		Retention: Retention{Interval: Duration(time.Hour), Enforce: true},
		Sweep:     Sweep{Interval: Duration(time.Hour), After: Duration(time.Hour), Grace: Duration(24 * time.Hour), Rate: 5000},
		Erase:     Erase{Delay: Duration(24 * time.Hour)},
		Scrub:     Scrub{Rate: Rate(16 * MiB), Interval: Duration(30 * 24 * time.Hour)},
		Limits: Limits{
			HeaderSize:    64 * KiB,
			HeaderTimeout: Duration(10 * time.Second),
			BodyMinRate:   Rate(16 * KiB),
			MemoryBudget:  64 * MiB,
		},
		Shutdown: Shutdown{Timeout: Duration(30 * time.Second)},
	}
}

// Loopback tells whether an address is reached only from its own machine. Of
// host names only "localhost" counts: what others resolve to can change.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
