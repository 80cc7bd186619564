package harness

import (
	"os"
	"strconv"
	"testing"
)

// Start starts a server with a data folder of its own for the test. When the
// test ends the server is stopped, and the test fails unless replaying the log
// gives the live state.
func Start(t testing.TB, env ...string) *Server {
	t.Helper()
	return StartIn(t, Config{Data: t.TempDir() + "/data", Env: env})
}

// StartIn is Start for a data folder, and whatever else, of the caller's choice.
func StartIn(t testing.TB, config Config) *Server {
	t.Helper()
	s, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, s) })
	return s
}

func finish(t testing.TB, s *Server) {
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := s.CheckReplay(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the server printed, at the end:\n%s", tail(s.Output(), 4000))
	}
}

// tail returns at most the last n bytes of a text.
func tail(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}

// Must fails the test if there was an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Setting returns the number in an environment variable, or a default.
func Setting(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
