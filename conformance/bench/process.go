package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, which is 100 on every Linux port of Go.
const ticksPerSecond = 100

// cpuSeconds is the processor time that a process has used, 0 if the system
// does not tell.
func cpuSeconds(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the name in parentheses, which may have spaces;
	// utime and stime are fields 14 and 15 (proc(5)).
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0
	}
	user, err1 := strconv.ParseFloat(fields[utime], 64)
	system, err2 := strconv.ParseFloat(fields[stime], 64)
	if errors.Join(err1, err2) != nil {
		return 0
	}
	return (user + system) / ticksPerSecond
}

// memory is the resident memory of a process, for people.
func memory(pid int) string {
	value := procField(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
	kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(value, " kB"), 64)
	if err != nil {
		return "not measured"
	}
	return fmt.Sprintf("%6.0f MB", kilobytes/1024)
}

// processor is the name of the processor, for people.
func processor() string {
	if name := procField("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return "unknown processor"
}

// procField returns the first value of a name in a file of "name: value" lines,
// "" if there is none.
func procField(path, name string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// errNoTrace tells that system calls cannot be counted here.
var errNoTrace = errors.New("strace is not there or may not trace")

// countFlushes counts the flushes that a process makes while work runs. It
// uses strace, which slows the process down and writes its table to a file.
func countFlushes(ctx context.Context, pid int, table string, work func() error) (int, error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return 0, errNoTrace
	}
	cmd := exec.CommandContext(ctx, strace, "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs,sync",
		"-o", table, "-p", strconv.Itoa(pid))
	messages, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	attached, err := bufio.NewReader(messages).ReadString('\n')
	if err != nil || !strings.Contains(attached, "attached") {
		return 0, errors.Join(errNoTrace, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	err = work()
	// A late flush of the last request still counts.
	time.Sleep(50 * time.Millisecond)
	if err := errors.Join(err, cmd.Process.Signal(os.Interrupt), ignoreExit(cmd.Wait())); err != nil {
		return 0, err
	}
	data, err := os.ReadFile(table)
	return sumCalls(string(data)), err
}

// ignoreExit drops the exit status of a process that was told to end.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// sumCalls adds up the calls in a table of strace -c.
func sumCalls(table string) int {
	total := 0
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		const calls, least = 3, 5
		if len(fields) < least || fields[len(fields)-1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(fields[calls]); err == nil {
			total += n
		}
	}
	return total
}
