package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"charmer/workerproc"
)

// limits are what each worker may use.
func (s *settings) limits() workerproc.Limits {
	return workerproc.Limits{Memory: int64(s.LimitMemory), CPU: s.LimitCPU, Files: s.LimitFiles, Processes: s.LimitProcesses}
}

// confinement is what worker processes are started with. The settings must have passed checkConfinement.
func (s *settings) confinement() workerproc.Confinement {
	c := workerproc.Confinement{User: s.WorkerUser, NoNewPrivs: s.NoNewPrivs, Nice: s.Nice}
	if s.CPUAffinity != "" {
		c.CPUs, _ = workerproc.ParseCPUs(s.CPUAffinity) // checked
	}
	if s.PassEnv != "" {
		for name := range strings.SplitSeq(s.PassEnv, ",") {
			c.PassEnv = append(c.PassEnv, strings.TrimSpace(name))
		}
	}
	return c
}

// passName is the name of a variable, or its beginning and a star.
var passName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\*?|\*)$`)

// checkConfinement returns what is wrong with the form of limits and confinement. Whether the machine has them is checked when
// workers are about to be started.
func (s *settings) checkConfinement(file *fileSettings) []error {
	var problems []error
	if s.LimitCPU%time.Second != 0 {
		problems = append(problems, fmt.Errorf("%s: %s is not a number of whole seconds", file.place("limit-cpu"), s.LimitCPU))
	}
	if s.CPUAffinity != "" {
		if _, err := workerproc.ParseCPUs(s.CPUAffinity); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file.place("cpu-affinity"), err))
		}
	}
	for _, name := range s.confinement().PassEnv {
		switch {
		case !passName.MatchString(name):
			problems = append(problems, fmt.Errorf("%s: %q is not a name, or its beginning and a *", file.place("pass-env"), name))
		case strings.HasPrefix(name, "CHARMER_"):
			problems = append(problems, fmt.Errorf("%s: %s: charmer's own settings are never passed on", file.place("pass-env"), name))
		}
	}
	return problems
}
