package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// BinaryVariable names the environment variable with the path of the server
// to be tested. Without it the server is built from this module.
const BinaryVariable = "ARTIFACTSTORE_BIN"

// built is the binary of this test process: it is made once and never changes.
var built struct {
	once sync.Once
	dir  string // to be removed; empty if the binary is not ours
	path string
	err  error
}

// Main runs the tests of a package and removes the binary that was built for
// them. Every package that starts servers calls it from its TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if err := RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Binary returns the path of the server under test, building it at the first
// call unless the environment names one.
func Binary() (string, error) {
	built.once.Do(func() { built.path, built.err = findOrBuild() })
	return built.path, built.err
}

// RemoveBinary removes what Binary has built, if it did.
func RemoveBinary() error {
	if built.dir == "" {
		return nil
	}
	return os.RemoveAll(built.dir)
}

func findOrBuild() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", BinaryVariable, err)
		}
		return path, nil
	}
	dir, err := os.MkdirTemp("", "artifactstore-conformance-")
	if err != nil {
		return "", err
	}
	built.dir = dir
	path := filepath.Join(dir, "artifactstore")
	build := exec.Command("go", "build", "-o", path, "artifactstore/cmd/artifactstore")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build the server: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return path, nil
}
