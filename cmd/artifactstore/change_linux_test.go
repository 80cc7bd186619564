package main_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal returns both ends of a new terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0) // Linux: pts(4)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { person.Close() })
	control := func(request uintptr, value *int32) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	var unlock, number int32
	control(syscall.TIOCSPTLCK, &unlock)
	control(syscall.TIOCGPTN, &number)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// TestErasingAsksAtATerminal: and does nothing without a yes.
func TestErasingAsksAtATerminal(t *testing.T) {
	dir := filled(t)
	show := run(t, dir, nil, "tag", "show", "demo:v1", "--data", "data").stdout
	_, show, _ = strings.Cut(show, "digest ")
	name := "demo@" + strings.Fields(show)[0]
	env := []string{"ARTIFACTSTORE_RETENTION_ERASE=true"}
	for _, c := range []struct{ answer, want string }{{"no", "nothing was done"}, {"", "nothing was done"}, {"yes", "was erased"}} {
		run(t, dir, nil, "manifest", "show", name, "--data", "data").expect(t, 0)
		person, program := terminal(t)
		if _, err := person.WriteString(c.answer + "\n"); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, dir, env, "erase", name, "--reason", "order", "--data", "data")
		cmd.Stdin = program
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), "Erase "+name+" for ever? Type yes to go on: ") || !strings.Contains(string(out), c.want) || (err == nil) != (c.answer == "yes") {
			t.Errorf("%q: %v\n%s", c.answer, err, out)
		}
	}
	run(t, dir, nil, "manifest", "show", name, "--data", "data").expect(t, 1, "no such manifest")
}
