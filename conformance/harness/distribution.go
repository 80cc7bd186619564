package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Distribution is CNCF Distribution, the registry that many come from, on a
// store of files of its own.
type Distribution struct {
	// Host is its address, as "127.0.0.1:port".
	Host string
	// Dir is its folder, with docker/registry/v2 in it.
	Dir string

	process *exec.Cmd
	output  buffer
}

const distributionConfig = `version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {addr: %s}
`

// StartDistribution starts distribution and ends it with the test.
func StartDistribution(t testing.TB) *Distribution {
	t.Helper()
	binary := Need(t, "registry", "a store that distribution wrote is to be imported; 'go run ./scripts/check tools' installs it")
	dir := t.TempDir()
	d := &Distribution{Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(choosePort())), Dir: filepath.Join(dir, "store")}
	config := filepath.Join(dir, "config.yml")
	Must(t, os.Mkdir(d.Dir, 0o700))
	Must(t, os.WriteFile(config, fmt.Appendf(nil, distributionConfig, d.Dir, d.Host), 0o600))
	d.process = exec.Command(binary, "serve", config)
	d.process.Env = append(quietEnvironment(), "OTEL_TRACES_EXPORTER=none")
	d.process.Stdout, d.process.Stderr = &d.output, &d.output
	Must(t, d.process.Start())
	t.Cleanup(func() { d.Stop(t) })
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for !ready(ctx, client, "http://"+d.Host+"/v2/") {
		select {
		case <-ctx.Done():
			t.Fatalf("distribution was not ready after %v\n%s", readyTimeout, d.output.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return d
}

// Stop ends it and waits. One that is stopped stays so.
func (d *Distribution) Stop(t testing.TB) {
	t.Helper()
	if d.process == nil {
		return
	}
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = d.process.Wait() // it ends by the signal, with a status that says so
	d.process = nil
}

// Client returns a client of it.
func (d *Distribution) Client() *Client { return NewClient("http://" + d.Host) }
