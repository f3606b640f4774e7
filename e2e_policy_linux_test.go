package main

import (
	"testing"

	"golang.org/x/sys/unix"

	"charmer/api/client"
)

// TestOnlyWorkersGiveWay: who wakes a worker with a call keeps the processor. The service and the zygote are like any other program.
func TestOnlyWorkersGiveWay(t *testing.T) {
	s := serve(t, isolated, "--workers=2")
	pids := map[int]int{s.cmd.Process.Pid: unix.SCHED_NORMAL}
	s.full(2)
	for _, pid := range s.pidsOfWorkers() {
		pids[int(pid)] = unix.SCHED_BATCH
	}
	if startMethod == "fork" {
		pids[int(*s.zygote(client.ZygoteStateReady).PID)] = unix.SCHED_NORMAL
	}
	for pid, want := range pids {
		got, err := unix.SchedGetAttr(pid, 0)
		if err != nil || int(got.Policy) != want {
			t.Errorf("process %d has policy %d, want %d (%v)", pid, got.Policy, want, err)
		}
	}
}
