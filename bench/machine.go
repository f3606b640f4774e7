package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machine is where and when was measured, and with what.
type machine struct {
	Date, CPU, Kernel, Commit string
	CPUs, Rounds              int
	Memory                    string
	Seconds                   float64
	Versions                  []string  // of Go, Python and the contenders
	Others                    []float64 // processors that other processes used, one for each measurement
}

func describe(e *environment) machine {
	m := machine{Date: time.Now().UTC().Format(time.DateOnly), CPUs: runtime.NumCPU(), Rounds: e.rounds, Seconds: e.length.Seconds(),
		CPU: field("/proc/cpuinfo", "model name"), Memory: gigabytes(field("/proc/meminfo", "MemTotal")),
		Kernel: release(first(os.ReadFile("/proc/sys/kernel/osrelease"))), Commit: first(exec.Command("git", "describe", "--always", "--dirty").Output()),
		Versions: []string{runtime.Version(), first(exec.Command("python3", "--version").Output())}}
	for _, c := range contenders {
		for _, name := range c.packages {
			m.Versions = append(m.Versions, pinned(c.name, name))
		}
	}
	return m
}

// pinned returns a package with its version as the contender's requirements have it.
func pinned(contender, name string) string {
	text, _ := os.ReadFile(contenderDir + "/" + contender + "/requirements.txt") // told when it is installed
	for line := range strings.Lines(string(text)) {
		if have, version, ok := strings.Cut(strings.TrimSpace(line), "=="); ok && strings.EqualFold(have, name) {
			return have + " " + version
		}
	}
	return name
}

// field returns the first value of a name in a file of /proc.
func field(path, name string) string {
	text, _ := os.ReadFile(path) // empty elsewhere than on Linux
	for line := range strings.Lines(string(text)) {
		if have, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(have) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// gigabytes turns the kernel's kilobytes into what people say.
func gigabytes(text string) string {
	kilobytes, _ := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64) // 0 elsewhere than on Linux
	return fmt.Sprintf("%.0f GB", kilobytes*1024/1e9)
}

// release is the first two numbers of a version of the kernel.
func release(text string) string {
	parts := strings.SplitN(text, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// first returns the first line of what was read, or nothing if that failed.
func first(text []byte, _ error) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

func (m machine) sentence() string {
	text := fmt.Sprintf("%s, commit %s. %d CPUs (%s), %s, Linux %s. %d rounds of %g s after one that warmed up. %s.",
		m.Date, m.Commit, m.CPUs, m.CPU, m.Memory, m.Kernel, m.Rounds, m.Seconds, strings.Join(m.Versions, ", "))
	if len(m.Others) > 0 {
		sorted := slices.Sorted(slices.Values(m.Others))
		text += fmt.Sprintf(" Other processes used %.2f processors in the median measurement, %.2f at most.", median(sorted), sorted[len(sorted)-1])
	}
	return text
}
