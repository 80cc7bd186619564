package distribution_test

import (
	"strings"
	"testing"

	"artifactstore/internal/metastore/sqlite"
)

// TestDamagedRowIsNeverACompleteAnswer: a content row that is shorter, longer or
// empty is answered as missing, and logged as something to look after.
func TestDamagedRowIsNeverACompleteAnswer(t *testing.T) {
	s := newServer(t)
	data := content(1, 500)
	d := s.pushBlob("a", data)
	manifest := s.pushImage("a", "v1", 2)
	db, err := sqlite.Open(t.Context(), strings.TrimSuffix(s.files, "store")+"artifactstore.db", sqlite.Options{})
	must(t, err)
	defer db.Close()
	script := func(sql string) {
		t.Helper()
		must(t, db.Writer().Script(sql))
	}
	for _, damage := range []string{"substr(bytes, 1, 3)", "substr(bytes, 1, length(bytes) - 1)", "zeroblob(0)", "bytes || x'00'"} {
		script("CREATE TABLE kept AS SELECT * FROM objects")
		script("UPDATE objects SET bytes = CAST(" + damage + " AS BLOB)")
		s.do("GET", "/v2/a/blobs/"+d, nil).refused(404, "BLOB_UNKNOWN")
		s.do("GET", "/v2/a/blobs/"+d, nil, "Range: bytes=1-2").refused(404, "BLOB_UNKNOWN")
		s.do("HEAD", "/v2/a/blobs/"+d, nil).want(404)
		s.do("GET", "/v2/a/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
		s.do("GET", "/v2/a/manifests/"+sha256Of(manifest), nil).refused(404, "MANIFEST_UNKNOWN")
		report, err := s.ledger.Check(t.Context(), nil)
		must(t, err)
		if report.Missing == 0 {
			t.Errorf("%s: the check reports no missing content", damage)
		}
		script("UPDATE objects SET bytes = (SELECT bytes FROM kept WHERE kept.sequence = objects.sequence)")
		script("DROP TABLE kept")
	}
	s.do("GET", "/v2/a/blobs/"+d, nil).want(200).bytes(data)
	if !strings.Contains(s.log.String(), `"level":"ERROR"`) {
		t.Error("the log does not call lost content an error")
	}
}
