package harness

import (
	"os/exec"
	"runtime"
	"syscall"
)

// run starts a process that the kernel ends with this one, and waits for it in
// a goroutine; exited is closed when it has ended. The kernel takes the end of
// the thread that started a process for that of its parent, so the goroutine
// keeps its thread.
func run(cmd *exec.Cmd) (exited chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	exited = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its status says how it was ended
		}
	}()
	return exited, <-started
}
