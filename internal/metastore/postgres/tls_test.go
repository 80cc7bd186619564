package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
)

// certificate makes a key and a certificate of it for 127.0.0.1.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	server := harness.StartPrivatePostgres(t)
	for _, setting := range []string{
		"ssl_cert_file = '" + server.WriteFile(t, "cert.pem", cert) + "'",
		"ssl_key_file = '" + server.WriteFile(t, "key.pem", key) + "'", "ssl = on"} {
		server.SQL(t, "ALTER SYSTEM SET "+setting)
	}
	must(t, server.Stop())
	must(t, server.Start())
	root := filepath.Join(t.TempDir(), "root.pem")
	must(t, os.WriteFile(root, cert, 0o600))
	dsn := strings.Replace(server.DSN(), "sslmode=disable", "sslmode=verify-full&sslrootcert="+root, 1)
	db := openAt(t, postgres.Options{DSN: dsn})
	makeTables(t, db)
	w := db.Writer()
	must(t, write(t, w, row(1)))
	encrypted := [][]any{{int64(1)}}
	const query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
	expect(t, all(t, w, 1, query), encrypted...)
	expect(t, read(t, db, 1, query), encrypted...)
	// The farewell of the server is seen through TLS, too.
	server.SQL(t, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'test'")
	must(t, write(t, w, row(2)))
	expect(t, read(t, db, 1, "SELECT k FROM t ORDER BY k"), []any{int64(1)}, []any{int64(2)})
	other, _ := certificate(t)
	must(t, os.WriteFile(root, other, 0o600))
	if _, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with another certificate: %v", err)
	}
}

// TestSeveralHosts: those that do not answer are passed over.
func TestSeveralHosts(t *testing.T) {
	server := harness.StartPostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSNAt("127.0.0.1:1", server.Host())})
	makeTables(t, db)
	must(t, write(t, db.Writer(), row(1)))
	expect(t, read(t, db, 1, "SELECT k FROM t"), []any{int64(1)})
}

// TestReadersReadWhatIsWritten: readers do not go to a standby that comes up
// later, whatever the DSN prefers.
func TestReadersReadWhatIsWritten(t *testing.T) {
	server := harness.StartPrivatePostgres(t)
	standby := server.Standby(t)
	must(t, standby.Kill())
	db := openAt(t, postgres.Options{DSN: server.DSNAt(standby.Host(), server.Host()) + "&target_session_attrs=prefer-standby"})
	must(t, standby.Start())
	// More than the one connection that there is already.
	must(t, db.Read(t.Context(), func(database.Conn) error {
		if in := read(t, db, 1, "SELECT pg_is_in_recovery()"); in[0][0] != int64(0) {
			t.Error("a reader is on the standby")
		}
		return nil
	}))
}

func TestServersThatWillNotDo(t *testing.T) {
	server := harness.StartPostgres(t)
	server.SQL(t, "CREATE DATABASE "+server.Name()+"_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc")
	defer server.SQL(t, "DROP DATABASE "+server.Name()+"_latin WITH (FORCE)")
	_, err := postgres.Open(t.Context(), postgres.Options{DSN: strings.Replace(server.DSN(), "?", "_latin?", 1)})
	if err == nil || !strings.Contains(err.Error(), "UTF8") {
		t.Errorf("a database in LATIN1: %v", err)
	}
	_, err = postgres.Open(t.Context(), postgres.Options{DSN: server.DSN() + "&search_path=none"})
	if err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("a search_path of nothing: %v", err)
	}
}

// TestConnectionsBeginAsPgBouncerAllows: it refuses all other parameters.
func TestConnectionsBeginAsPgBouncerAllows(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	said := make(chan []byte, 1)
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = client.Close() }()
		packet := make([]byte, 4096)
		n, _ := client.Read(packet)
		said <- packet[:n]
	}()
	_, err = postgres.Open(t.Context(), postgres.Options{DSN: "postgres://user@" + listener.Addr().String() + "/db?sslmode=disable",
		Name: "node", ConnectTimeout: 5 * time.Second})
	if err == nil {
		t.Error("it was no server")
	}
	must(t, listener.Close())
	const header = 8 // length and protocol
	words := strings.Split(strings.TrimRight(string((<-said)[header:]), "\x00"), "\x00")
	for i := 0; i < len(words); i += 2 {
		switch words[i] {
		case "user", "database", "client_encoding", "application_name":
		default:
			t.Errorf("parameter %s", words[i])
		}
	}
}
