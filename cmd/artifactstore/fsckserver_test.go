package main_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestFsckOfAServer: a running server finds what is damaged in its store, and puts
// it under quarantine while it serves.
func TestFsckOfAServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", bytes.Repeat([]byte("layer"), 50_000))
	run(t, dir, nil, "fsck", "--deep", "--server", s.admin).expect(t, 0, "The views are what the log says.", "were read")
	flipped := 0
	err := filepath.WalkDir(filepath.Join(dir, "data", "store", "objects"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 1
		flipped++
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || flipped != 1 {
		t.Fatalf("%d objects, %v", flipped, err)
	}
	run(t, dir, nil, "fsck", "--deep", "--server", s.admin).expect(t, 1, "damaged: 1 found, 0 repaired", "fsck --repair")
	run(t, dir, nil, "fsck", "--deep", "--repair", "--server", s.admin, "--json").expect(t, 1, `"damaged":{"found":1,"repaired":1}`)
	run(t, dir, nil, "storage", "damaged", "--server", s.admin).expect(t, 0, "sha256:")
	run(t, dir, nil, "fsck", "--server", s.admin, "--data", "data").expect(t, 2, "name two stores")
}
