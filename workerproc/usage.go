package workerproc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Usage is what a process takes of the machine. What processes that it started take is not in it.
type Usage struct {
	RSS     int64         // bytes in memory
	PSS     int64         // the same, with each page divided by the number of processes that share it
	Private int64         // bytes that no other process has, in memory or swapped out
	CPU     time.Duration // used so far, in user mode and in the kernel, to a hundredth of a second
}

// Usage measures the process. That takes the kernel up to some milliseconds if the process is large. The error is
// os.ErrProcessDone after its death, and errors.ErrUnsupported where the system does not tell. Source: proc(5),
// /proc/pid/smaps_rollup and /proc/pid/stat.
func (w *Worker) Usage() (Usage, error) {
	memory, err := w.child.readProc("smaps_rollup")
	if err != nil {
		return Usage{}, err
	}
	stat, err := w.child.readProc("stat")
	if err != nil {
		return Usage{}, err
	}
	usage := parseRollup(memory)
	usage.CPU, err = parseCPU(stat)
	return usage, err
}

// readProc reads a file about the process. What is read of a process that has not been reaped is certainly its own: until
// then nobody else gets its number.
func (c *child) readProc(name string) ([]byte, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.pid, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, here := os.Stat("/proc/self/" + name); here == nil { // the process has been reaped this moment
			return nil, os.ErrProcessDone
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.reaped || errors.Is(err, syscall.ESRCH): // which is what a dead process that is not reaped has to say
		return nil, os.ErrProcessDone
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	default:
		return text, err
	}
}

// parseRollup reads the memory out of the text of smaps_rollup, whose lines are like "Rss:  1728 kB".
func parseRollup(text []byte) (u Usage) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		n *= 1024
		switch string(fields[0]) {
		case "Rss:":
			u.RSS = n
		case "Pss:":
			u.PSS = n
		case "Private_Clean:", "Private_Dirty:", "Private_Hugetlb:", "SwapPss:": // not "Swap:", which has what forks share too
			u.Private += n
		}
	}
	return u
}

// parseCPU adds up fields 14 and 15 of the text of stat, user and kernel time in hundredths of a second. Field 2 is the
// name of the program in parentheses, and may hold anything.
func parseCPU(text []byte) (time.Duration, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%d fields in stat", len(fields))
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("user time in stat: %w", err)
	}
	kernel, err := strconv.ParseInt(string(fields[12]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("kernel time in stat: %w", err)
	}
	return time.Duration(user+kernel) * (time.Second / 100), nil
}
