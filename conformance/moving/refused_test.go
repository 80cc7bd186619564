package moving_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestWhatIsNoCopyIsRefused names places that cannot be copied from or to.
// Nothing in them is changed.
func TestWhatIsNoCopyIsRefused(t *testing.T) {
	t.Parallel()
	bucket, database := harness.StartS3(t), harness.StartPostgres(t)
	data := t.TempDir() + "/data"
	small := harness.Place{Data: data}.Make(t)
	large := harness.Place{Postgres: database, S3: bucket, Prefix: "a"}.Make(t)
	mixed := harness.Place{Data: t.TempDir() + "/data", S3: bucket, Prefix: "a"}.Config(t)
	nested := harness.Place{Data: data + "/store/copy"}.Config(t)
	memory := harness.Place{Data: t.TempDir(), Memory: true}.Config(t)
	other := harness.Place{Postgres: database, Data: t.TempDir()}.Config(t)
	full := t.TempDir()
	harness.Must(t, os.WriteFile(full+"/letter", nil, 0o600))
	occupied := harness.Place{Data: full}.Config(t)
	missing := harness.Place{Data: full + "/none"}.Config(t)
	empty := harness.Place{Postgres: harness.StartPostgres(t), S3: bucket, Prefix: "b"}.Config(t)

	s := serve(t, small)
	pushed := newWorld()
	pushed.blob(t, s.Client(), "moving/r", harness.Random(1, 200_000), false)
	for _, c := range []struct {
		code     int
		from, to string
		text     string
	}{
		{2, small, small, "is in the data folder of --from: name another folder"},
		{2, small, nested, "is in the data folder of --from: name another folder"},
		{2, large, large, "it has the bucket and the prefix of --from"},
		{2, mixed, large, "it has the bucket and the prefix of --from"},
		{2, large, other, "it has the database of --from"},
		{2, memory, small, "--from: " + memory + " keeps objects in the memory of a server"},
		{2, small, memory, "--to: " + memory + " keeps objects in the memory of a server"},
		{2, "", small, "--from: name the configuration file of a store"},
		{2, small, "", "--to: name the configuration file of a store"},
		{1, missing, large, "there is no store in " + full + "/none"},
		{1, empty, large, "the database holds no store yet; 'artifactstore migrate' with this configuration makes one"},
		{1, small, occupied, "--to: " + full + " holds no store, but other things such as letter"},
		{1, large, small, "--to: data folder " + data + " is in use by process"},
	} {
		refused(t, c.code, []string{"copy", "--from", c.from, "--to", c.to}, c.text)
	}
	if _, err := os.Stat(full + "/none"); err == nil {
		t.Error("a source that is not there was made")
	}

	// The target has pushes of its own, and a node.
	node := harness.StartIn(t, harness.Config{File: large, Env: []string{"ARTIFACTSTORE_NODE_NAME=the-node"}})
	refused(t, 1, []string{"copy", "--from", small, "--to", large}, "--to: the store is in use by the-node: stop every node first")
	theirs := newWorld()
	theirs.blob(t, node.Client(), "moving/r", harness.Random(2, 200_000), false)
	harness.Must(t, node.Stop())
	before := logOf(t, large)
	refused(t, 1, []string{"copy", "--from", small, "--to", large}, "the database of database.dsn cannot go on as a copy of "+data,
		"it holds another log", "nothing in it was changed: name another database, folder or prefix with --to")
	if logOf(t, large) != before {
		t.Error("a store that is no copy was changed")
	}
	harness.Must(t, node.Start())
	theirs.check(t, node.Client())

	// A copy that was pushed to is a store of its own.
	target := harness.Place{Postgres: harness.StartPostgres(t), S3: bucket, Prefix: "c"}.Config(t)
	harness.Must(t, s.Stop())
	move(t, small, target)
	copied := serve(t, target)
	pushed.check(t, copied.Client())
	pushed.blob(t, copied.Client(), "moving/r", harness.Random(3, 200_000), false)
	harness.Must(t, copied.Stop())
	refused(t, 1, []string{"copy", "--from", small, "--to", target}, "its log is not a beginning of the log that is copied")
	harness.Must(t, copied.Start())
	pushed.check(t, copied.Client())
}

// TestDamageAtTheSourceIsReported loses and changes objects, in a folder and in
// a bucket. Everything else is copied, and what is healed comes later.
func TestDamageAtTheSourceIsReported(t *testing.T) {
	t.Parallel()
	bucket := harness.StartS3(t)
	for name, place := range map[string]harness.Place{
		"in a folder": {Data: t.TempDir() + "/data"},
		"in S3":       {Data: t.TempDir() + "/data", S3: bucket, Prefix: "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			from := place.Make(t)
			to := harness.Place{Postgres: harness.StartPostgres(t), S3: bucket, Prefix: filepath.Base(t.Name())}.Config(t)
			s := serve(t, from)
			w := newWorld()
			lost, changed, kept := harness.Random(1, 200_000), harness.Random(2, 6<<20), harness.Random(3, 200_000)
			for _, data := range [][]byte{lost, changed, kept} {
				w.blob(t, s.Client(), "moving/r", data, false)
			}
			path := func(data []byte) (file, called string) {
				l := locator(t, s, harness.SHA256(data))
				if place.S3 != nil {
					key := "damaged/objects/" + l
					return bucket.File(key), "object " + key + " of bucket " + bucket.Bucket
				}
				return filepath.Join(place.Data, "store/objects", l), filepath.Join("store/objects", l)
			}
			file, lostAt := path(lost)
			harness.Must(t, os.Remove(file))
			file, changedAt := path(changed)
			bytes, err := os.ReadFile(file)
			harness.Must(t, err)
			bytes[5<<20]++
			harness.Must(t, os.WriteFile(file, bytes, 0o600))

			for range 2 {
				r := tryCopy(t, from, to)
				if r.code != 1 || r.Damaged != 2 || len(r.Damages) != 2 {
					t.Errorf("exit code %d, %+v", r.code, r)
				}
				has(t, r.all, "damaged: "+harness.SHA256(lost)+", ", lostAt+": it is missing",
					"damaged: "+harness.SHA256(changed)+", ", changedAt+": its bytes are ", "and run the copy again")
			}
			// As the message says.
			harness.Must(t, os.Remove(file))
			for _, data := range [][]byte{lost, changed} {
				w.blob(t, s.Client(), "moving/r", data, false)
			}
			harness.Must(t, s.Stop())
			if r := move(t, from, to); r.Objects != 2 {
				t.Errorf("%+v", r)
			}
			w.check(t, serve(t, to).Client())
		})
	}
}

// TestTheCopyIsToldForPeople looks at what copy prints.
func TestTheCopyIsToldForPeople(t *testing.T) {
	t.Parallel()
	from := harness.Place{Data: t.TempDir() + "/data"}.Make(t)
	to := harness.Place{Data: t.TempDir() + "/data"}.Config(t)
	s := serve(t, from)
	newWorld().blob(t, s.Client(), "moving/r", harness.Random(1, 200_000), false)
	out, all, code := run(t, "copy", "--from", from, "--to", to)
	if code != 0 || !strings.HasPrefix(out, "log ") {
		t.Errorf("exit code %d, %q", code, out)
	}
	has(t, all, "0 of 3 events; 0 objects, 0 B copied", ": 3 events, running hash ", "Copied 3 events, 1 objects, 195.3 KiB.")
}
