// Package backup_test copies stores with the command line while clients push,
// and starts servers on the copies.
package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// result is what `artifactstore backup --json` prints.
type result struct {
	Log      string `json:"log"`
	Sequence uint64 `json:"sequence"`
	Chain    string `json:"chain"`
	Events   int    `json:"events"`
	Objects  int    `json:"objects"`
	Bytes    int64  `json:"bytes"`
	Damaged  int    `json:"damaged"`
	Damages  []struct {
		Subject string `json:"subject"`
		Store   string `json:"store"`
		Locator string `json:"locator"`
		Problem string `json:"problem"`
	} `json:"damages"`
}

// tryBackup runs the verb and returns its exit code, its result, if it printed
// one, and all that it printed.
func tryBackup(t *testing.T, args ...string) (code int, r result, all string) {
	t.Helper()
	binary, err := harness.Binary()
	harness.Must(t, err)
	out, all, err := harness.Tool{Path: binary}.Try(append([]string{"backup", "--json"}, args...)...)
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else {
		harness.Must(t, err)
	}
	if out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
	}
	return code, r, all
}

// backup copies a server's store into a folder, which must not fail.
func backup(t *testing.T, s *harness.Server, to string) result {
	t.Helper()
	code, r, all := tryBackup(t, "--data", s.Data(), "--to", to)
	if code != 0 || r.Damaged != 0 || r.Damages == nil {
		t.Fatalf("exit code %d, %+v\n%s", code, r, all)
	}
	return r
}

// refused checks that a backup ends with a code and texts.
func refused(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	got, _, all := tryBackup(t, args...)
	if got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("%q is not in\n%s", text, all)
		}
	}
}

// restore starts a server on a copy. At the end of the test it is stopped.
func restore(t *testing.T, copied string) *harness.Server {
	t.Helper()
	s, err := harness.Open(harness.Config{Data: copied})
	harness.Must(t, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// logOf is the whole log of a data folder, a line for each event.
func logOf(t *testing.T, data string) string {
	t.Helper()
	return verb(t, "events", "--json", "--data", data)
}

func verb(t *testing.T, args ...string) string {
	t.Helper()
	binary, err := harness.Binary()
	harness.Must(t, err)
	return harness.Tool{Path: binary}.Run(t, args...)
}

// pushBlob pushes random bytes and returns their digest.
func pushBlob(t *testing.T, s *harness.Server, seed uint64, size int) string {
	t.Helper()
	data := harness.Random(seed, size)
	digest := harness.SHA256(data)
	harness.Must(t, s.Client().PushBlob(t.Context(), "demo", digest, data))
	return digest
}

// large is above the size up to which bytes are kept in the database.
const large = 200_000

func TestDamageIsReportedUntilItIsHealed(t *testing.T) {
	s := harness.Start(t)
	to := t.TempDir() + "/copy"
	lost, changed := pushBlob(t, s, 1, large), pushBlob(t, s, 2, large)
	kept := pushBlob(t, s, 3, large)
	harness.Must(t, os.Remove(objectFile(t, s.Data(), lost)))
	data, err := os.ReadFile(objectFile(t, s.Data(), changed))
	harness.Must(t, err)
	data[large/2]++
	harness.Must(t, os.WriteFile(objectFile(t, s.Data(), changed), data, 0o600))

	for range 2 {
		code, r, all := tryBackup(t, "--data", s.Data(), "--to", to)
		if code != 1 || r.Damaged != 2 || len(r.Damages) != 2 {
			t.Fatalf("exit code %d, %+v\n%s", code, r, all)
		}
		for _, digest := range []string{lost, changed} {
			if !strings.Contains(all, "damaged: "+digest+", ") {
				t.Errorf("%s is not named:\n%s", digest, all)
			}
		}
		for _, d := range r.Damages {
			if d.Subject != lost && d.Subject != changed || d.Store != "files" || d.Locator == "" || d.Problem == "" {
				t.Errorf("%+v", d)
			}
		}
		if got, err := os.ReadFile(objectFile(t, to, kept)); err != nil || harness.SHA256(got) != kept {
			t.Errorf("what is intact was not copied (%v)", err)
		}
	}
	// As the message says: the damaged file is removed, and all is pushed again.
	harness.Must(t, os.Remove(objectFile(t, s.Data(), changed)))
	pushBlob(t, s, 1, large)
	pushBlob(t, s, 2, large)
	if r := backup(t, s, to); r.Objects != 2 {
		t.Errorf("%+v", r)
	}
	copied := restore(t, to)
	for _, digest := range []string{lost, changed, kept} {
		readable(t, copied, "/v2/demo/blobs/"+digest, digest)
	}
}

// objectFile is the path of the object that an event named first, by its digest.
func objectFile(t *testing.T, data, digest string) string {
	t.Helper()
	for line := range strings.Lines(logOf(t, data)) {
		var e struct {
			Kind    string
			Payload struct {
				Digests []string
				Receipt struct{ Locator string }
			}
		}
		harness.Must(t, json.Unmarshal([]byte(line), &e))
		if e.Kind == "v1.blob.stored" && strings.Contains(fmt.Sprint(e.Payload.Digests), digest) {
			return data + "/store/objects/" + e.Payload.Receipt.Locator
		}
	}
	t.Fatalf("no event stored %s", digest)
	return ""
}

func readable(t *testing.T, s *harness.Server, path, digest string) {
	t.Helper()
	reply, err := s.Client().Get(t.Context(), path)
	harness.Must(t, err)
	if reply.Status != http.StatusOK || harness.SHA256(reply.Body) != digest {
		t.Errorf("%s: status %d, %d bytes", path, reply.Status, len(reply.Body))
	}
}

func TestAFolderThatCannotBecomeTheCopyIsRefused(t *testing.T) {
	s, other := harness.Start(t), harness.Start(t)
	pushBlob(t, s, 1, 1000)
	pushBlob(t, other, 2, 1000)
	dir := t.TempDir()
	harness.Must(t, os.Symlink(s.Data(), dir+"/link"))
	to := dir + "/copy"
	from := []string{"--data", s.Data(), "--to"}

	for _, inside := range []string{s.Data(), s.Data() + "/", s.Data() + "/store/copy", s.Data() + "/new/copy", dir + "/link", dir + "/link/copy"} {
		refused(t, 2, append(from, inside), "is in the data folder "+s.Data(), "outside of it")
	}
	refused(t, 1, append(from, other.Data()), "data folder "+other.Data()+" is in use by process "+fmt.Sprint(other.PID()))
	harness.Must(t, other.Stop())
	before := logOf(t, other.Data())
	refused(t, 1, append(from, other.Data()), "it holds another log", "nothing in it was changed", "another folder with --to")
	if logOf(t, other.Data()) != before {
		t.Error("a store that is no copy was changed")
	}

	backup(t, s, to)
	copied := restore(t, to)
	refused(t, 1, append(from, to), "is in use by process "+fmt.Sprint(copied.PID()))
	pushBlob(t, copied, 3, large) // the copy is a store of its own from now on
	harness.Must(t, copied.Stop())
	refused(t, 1, append(from, to), "its log is not a beginning", "another folder with --to")
	if code, _, all := tryBackup(t, "--data", to, "--to", dir+"/again"); code != 0 {
		t.Errorf("a copy cannot be copied: %s", all)
	}
}

func TestAServedCopyIsBroughtUpToDateLater(t *testing.T) {
	s := harness.Start(t)
	to := t.TempDir() + "/copy"
	first := pushBlob(t, s, 1, large)
	backup(t, s, to)
	copied := restore(t, to) // looked at, and nothing is pushed
	readable(t, copied, "/v2/demo/blobs/"+first, first)
	harness.Must(t, copied.Stop())
	second := pushBlob(t, s, 2, large)
	if r := backup(t, s, to); r.Objects != 1 {
		t.Errorf("%+v", r)
	}
	harness.Must(t, copied.Start())
	readable(t, copied, "/v2/demo/blobs/"+second, second)
}

// TestFullCopy fills the disk of the copy. With more room the next run goes on.
func TestFullCopy(t *testing.T) {
	dir := t.TempDir()
	mount := func(options string) error {
		return exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).Run()
	}
	if mount("size=3m") != nil {
		harness.Skip(t, "a small disk cannot be mounted: that takes root")
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Errorf("umount: %v", err)
		}
	})
	s := harness.Start(t)
	for i := range uint64(60) {
		pushBlob(t, s, 1000+i, []int{1000, large}[i%2])
	}
	to := dir + "/copy"
	refused(t, 1, []string{"--data", s.Data(), "--to", to}, "there is no room for the copy", "it goes on where it was")
	harness.Must(t, mount("remount,size=64m"))
	backup(t, s, to)
	if logOf(t, to) != logOf(t, s.Data()) {
		t.Error("the copy is not the store")
	}
	verb(t, "rebuild", "--check", "--data", to)
}

func TestResultIsPrintedForPeople(t *testing.T) {
	s := harness.Start(t)
	pushBlob(t, s, 1, large)
	to := t.TempDir() + "/copy"
	out := verb(t, "backup", "--data", s.Data(), "--to", to)
	for _, text := range []string{": 3 events, running hash ", "Copied 3 events, 1 objects, 195.3 KiB.", "artifactstore serve --data " + to} {
		if !strings.Contains(out, text) {
			t.Errorf("%q is not in\n%s", text, out)
		}
	}
}

// same checks that a reply has a status, and the bytes, if there are any to expect.
func same(ctx context.Context, c *harness.Client, path string, status int, want []byte) error {
	reply, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	if err := reply.Expect(status); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if want != nil && !bytes.Equal(reply.Body, want) {
		return fmt.Errorf("%s: %d bytes that were not pushed", path, len(reply.Body))
	}
	return nil
}
