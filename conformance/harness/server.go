package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// readyTimeout bounds the start of a server. It is generous because the
	// race detector and a busy machine both slow it down.
	readyTimeout = 30 * time.Second
	// stopTimeout is the server's own grace period and a little more.
	stopTimeout = 40 * time.Second
)

// Config says how a server is started.
type Config struct {
	// Data is the data folder. It may be empty if File names it.
	Data string
	// Env is added to the environment, as "KEY=value".
	Env []string
	// File is the path of a configuration file, or empty.
	File string
}

// where are the flags that say which store it is.
func (c Config) where() (flags []string) {
	if c.Data != "" {
		flags = append(flags, "--data", c.Data)
	}
	if c.File != "" {
		flags = append(flags, "--config", c.File)
	}
	return flags
}

// Server is one server, on a port and a data folder that outlive its process.
// One goroutine starts and stops it; the rest may be called concurrently.
type Server struct {
	config Config
	port   int
	admin  int // port of the operators' API
	output buffer

	process *exec.Cmd
	exited  chan struct{} // closed once process has ended, after exit is set
	exit    error
}

// Open starts a server and waits until it is ready.
func Open(config Config) (*Server, error) { return open(config, "/readyz") }

// Launch starts a server and waits until it answers, ready or not.
func Launch(config Config) (*Server, error) { return open(config, "/livez") }

func open(config Config, until string) (*Server, error) {
	const ports = 5 // a port may be taken between the choice and the start
	var failures error
	for range ports {
		s := &Server{config: config, port: choosePort(), admin: choosePort()}
		err := s.start(until)
		if err == nil {
			return s, nil
		}
		failures = errors.Join(failures, err)
		if !strings.Contains(s.Output(), "address already in use") {
			break
		}
	}
	return nil, failures
}

// choosePort returns a port that is free now. It stays below the ports that
// Linux gives to outgoing connections: one of those could otherwise take the
// server's port while the server is down.
func choosePort() int {
	const first, last, tries = 15000, 32000, 100
	port := 0
	for range tries {
		port = first + rand.IntN(last-first)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil && l.Close() == nil {
			break
		}
	}
	return port
}

// Host is the server's address, as "127.0.0.1:port".
func (s *Server) Host() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's address, as "http://127.0.0.1:port".
func (s *Server) URL() string { return "http://" + s.Host() }

// AdminURL is the address of the operators' API, as "http://127.0.0.1:port".
func (s *Server) AdminURL() string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.admin))
}

// Data is the server's data folder.
func (s *Server) Data() string { return s.config.Data }

// Output is all that the server's processes have printed.
func (s *Server) Output() string { return s.output.String() }

// PID is the id of the running process.
func (s *Server) PID() int { return s.process.Process.Pid }

// Client returns a client of the server.
func (s *Server) Client() *Client { return NewClient(s.URL()) }

// Running tells whether the server has been started and not been stopped.
func (s *Server) Running() bool { return s.process != nil }

// Start starts a stopped server and waits until it is ready.
func (s *Server) Start() error { return s.start("/readyz") }

// Ready tells whether the server says that it is ready.
func (s *Server) Ready(ctx context.Context) bool {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return ready(ctx, client, s.URL()+"/readyz")
}

func (s *Server) start(until string) error {
	if s.process != nil {
		return errors.New("the server is running already")
	}
	binary, err := Binary()
	if err != nil {
		return err
	}
	args := []string{"serve", "--listen", s.Host(), "--admin-listen", strings.TrimPrefix(s.AdminURL(), "http://")}
	args = append(args, s.config.where()...)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(quietEnvironment(), s.config.Env...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.process, s.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		s.exit = cmd.Wait()
		close(exited)
	}(s.exited)
	if err := s.wait(until); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

// wait polls a check until it answers 200.
func (s *Server) wait(check string) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if ready(ctx, client, s.URL()+check) {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended before it was ready: %v\n%s", s.exit, s.Output())
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready after %v\n%s", readyTimeout, s.Output())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func ready(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK
}

// Stop ends the server with SIGTERM and waits. It is an error if the server
// does not end by itself, or not with status 0. A stopped server stays so.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("the server did not stop within %v\n%s", stopTimeout, s.Output()), s.Kill())
	}
	s.process = nil
	if s.exit != nil {
		return fmt.Errorf("the server stopped with: %w\n%s", s.exit, s.Output())
	}
	return nil
}

// Kill ends the server with SIGKILL and waits.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	err := s.process.Process.Kill()
	<-s.exited
	s.process = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Pause stops the process where it is (SIGSTOP), until Resume. What others send
// it is kept by the operating system.
func (s *Server) Pause() error { return s.process.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() error { return s.process.Process.Signal(syscall.SIGCONT) }

// Restart stops and starts the server.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start()
}

// Run runs another verb of the binary on the server's data folder, and
// returns what it printed on standard output.
func (s *Server) Run(verb string, args ...string) (string, error) {
	binary, err := Binary()
	if err != nil {
		return "", err
	}
	args = append(append([]string{verb}, s.config.where()...), args...)
	out, all, err := Tool{Path: binary, Env: s.config.Env}.Try(args...)
	if err != nil {
		return out, fmt.Errorf("artifactstore %s: %w\n%s", strings.Join(args, " "), err, all)
	}
	return out, nil
}

// CheckReplay proves that replaying the log gives the live state, and returns
// how many rows each view has. It may be called beside a running server.
func (s *Server) CheckReplay() (rows map[string]int, err error) {
	out, err := s.Run("rebuild", "--check")
	if err != nil {
		return nil, err
	}
	rows = make(map[string]int)
	for line := range strings.Lines(out) {
		var view string
		var n int
		if _, err := fmt.Sscanf(line, "%s %d rows equal", &view, &n); err == nil {
			rows[view] = n
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("rebuild --check names no view:\n%s", out)
	}
	return rows, nil
}
