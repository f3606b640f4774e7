package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"charmer/bench/proc"
)

// vitals is what a charmer has at one moment, in the order of the cases of S12.
type vitals struct {
	at     time.Duration // since the first sample
	values [6]float64
}

// vitals measures a charmer.
func (s *server) vitals() (vitals, error) {
	reply, err := probe.Get("http://" + s.address + "/metrics")
	if err != nil {
		return vitals{}, err
	}
	defer reply.Body.Close()
	var heap, goroutines float64
	lines := bufio.NewScanner(reply.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "go_memstats_heap_inuse_bytes":
			heap, err = strconv.ParseFloat(value, 64)
		case "go_goroutines":
			goroutines, err = strconv.ParseFloat(value, 64)
		}
		if err != nil {
			return vitals{}, err
		}
	}
	if err := lines.Err(); err != nil || goroutines == 0 {
		return vitals{}, fmt.Errorf("/metrics has no goroutines: %w", err)
	}
	pid := s.cmd.Process.Pid
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return vitals{}, err
	}
	processes := proc.Tree(pid)
	var service, others float64
	for _, p := range processes {
		if memory := float64(p.Memory().PSS) / 1e6; p.PID == pid {
			service = memory
		} else {
			others += memory
		}
	}
	return vitals{values: [6]float64{service, others, heap / 1e6, goroutines, float64(len(descriptors)), float64(len(processes))}}, nil
}

// watch measures every second until ctx ends.
func (s *server) watch(ctx context.Context) ([]vitals, error) {
	var samples []vitals
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return samples, nil
		case <-s.exited:
			return samples, fmt.Errorf("it has ended")
		case <-tick.C:
		}
		v, err := s.vitals()
		if err != nil {
			return samples, err
		}
		v.at = time.Since(began)
		samples = append(samples, v)
	}
}
