//go:build !linux

package harness

import "os/exec"

// run starts a process and waits for it in a goroutine; exited is closed when
// it has ended.
func run(cmd *exec.Cmd) (exited chan struct{}, err error) {
	exited = make(chan struct{})
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // its status says how it was ended
		close(exited)
	}()
	return exited, nil
}
