// Package proc measures processes with all their descendants, from /proc of Linux. Source: proc(5).
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one process at one moment.
type Process struct {
	PID, Parent int
	Started     int64         // in ticks since the machine was started: with PID, it tells processes apart
	CPU         time.Duration // of it and of its children that have ended
	ended       time.Duration // the second part of that
}

const tick = time.Second / 100 // USER_HZ of Linux

// all returns every process there is.
func all() []Process {
	var processes []Process
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range paths {
		if p, err := read(path); err == nil { // else it has ended
			processes = append(processes, p)
		}
	}
	return processes
}

func read(path string) (Process, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Process{}, err
	}
	end := bytes.LastIndexByte(text, ')') // of the name, which may have any bytes
	if end < 0 {
		return Process{}, errors.New("no name")
	}
	fields := strings.Fields(string(text[end+1:])) // from field 3 on
	if len(fields) < 20 {
		return Process{}, errors.New("too few fields")
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(fields[i]) // the kernel writes numbers
		return n
	}
	pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
	ended := time.Duration(number(13)+number(14)) * tick
	return Process{PID: pid, Parent: number(1), Started: int64(number(19)), CPU: time.Duration(number(11)+number(12))*tick + ended, ended: ended}, err
}

// Tree returns a process and its descendants.
func Tree(root int) []Process {
	children := map[int][]Process{}
	var tree []Process
	for _, p := range all() {
		children[p.Parent] = append(children[p.Parent], p)
		if p.PID == root {
			tree = append(tree, p)
		}
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].PID]...)
	}
	return tree
}

// Kill kills a process if it still is the one that was seen.
func (p Process) Kill() {
	if now, err := read(fmt.Sprintf("/proc/%d/stat", p.PID)); err == nil && now.Started == p.Started {
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // fails if it has just ended
	}
}

// CPU returns the processor time of a process and its descendants so far, with those that have ended and were waited for.
func CPU(root int) time.Duration {
	var sum time.Duration
	for _, p := range Tree(root) {
		sum += p.CPU
	}
	return sum
}

// Memory is that of a process and its descendants, in bytes.
type Memory struct {
	PSS     int64 // each page divided by the number of processes that share it
	Private int64 // pages that no other process has
}

// MemoryOf measures a process and its descendants.
func MemoryOf(root int) Memory {
	var sum Memory
	for _, p := range Tree(root) {
		m := p.Memory()
		sum.PSS += m.PSS
		sum.Private += m.Private
	}
	return sum
}

// Memory measures one process; one that has ended has none.
func (p Process) Memory() Memory {
	var m Memory
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID)) // fails if it has ended
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "Pss":
			m.PSS += kilobytes << 10
		case "Private_Clean", "Private_Dirty":
			m.Private += kilobytes << 10
		}
	}
	return m
}

// Busy returns the processor time that the whole machine has used so far.
func Busy() time.Duration {
	text, _ := os.ReadFile("/proc/stat") // without it nothing is busy
	line, _, _ := strings.Cut(string(text), "\n")
	var sum int64
	for i, field := range strings.Fields(line) {
		n, _ := strconv.ParseInt(field, 10, 64)
		if i == 4 || i == 5 || i > 7 { // idle, waiting for disks, and guests, which are counted as user time
			continue
		}
		sum += n
	}
	return time.Duration(sum) * tick
}

// Own returns the processor time that this process alone has used so far.
func Own() time.Duration {
	p, err := read("/proc/" + strconv.Itoa(os.Getpid()) + "/stat")
	if err != nil {
		return 0
	}
	return p.CPU - p.ended
}
