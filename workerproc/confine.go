package workerproc

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Confinement is what worker processes are started with. All of it is there from the first instruction on, and forks
// inherit it. The zero value changes nothing.
type Confinement struct {
	User       string   // USER or USER:GROUP, names or numbers; needs root
	NoNewPrivs bool     // set-user-id programs and file capabilities gain nothing (Linux)
	Nice       int      // -20 to 19, absolute; 0 leaves it as it is
	CPUs       []int    // which processors they run on (Linux); empty leaves it as it is
	PassEnv    []string // names of environment variables that are passed on, a * at the end for any rest; empty passes all
}

// identity is whom workers run as.
type identity struct {
	credential syscall.Credential
	environ    []string // HOME, USER, LOGNAME
}

// lookUp finds a user given as USER or USER:GROUP. With GROUP it is the only group; without, they are those of the user.
func lookUp(text string) (*identity, error) {
	name, groupName, hasGroup := strings.Cut(text, ":")
	found, err := user.Lookup(name)
	if err != nil {
		if found, err = user.LookupId(name); err != nil && !hasGroup {
			return nil, fmt.Errorf("no user %s; one without a name needs a group, as in 1000:1000", name)
		}
	}
	id := &identity{environ: []string{"HOME=/"}}
	uid := name
	if err == nil {
		uid = found.Uid
		id.environ = []string{"HOME=" + found.HomeDir, "USER=" + found.Username, "LOGNAME=" + found.Username}
	}
	if id.credential.Uid, err = number(uid); err != nil {
		return nil, fmt.Errorf("no user %s", name)
	}
	var groups []string
	switch {
	case !hasGroup:
		if groups, err = found.GroupIds(); err != nil {
			return nil, fmt.Errorf("groups of %s: %w", name, err)
		}
		groups = slices.Insert(groups, 0, found.Gid)
	default:
		groups = []string{groupName}
		if group, err := user.LookupGroup(groupName); err == nil {
			groups[0] = group.Gid
		}
	}
	for _, group := range groups {
		gid, err := number(group)
		if err != nil {
			return nil, fmt.Errorf("no group %s", group)
		}
		id.credential.Groups = append(id.credential.Groups, gid)
	}
	id.credential.Gid = id.credential.Groups[0]
	slices.Sort(id.credential.Groups)
	id.credential.Groups = slices.Compact(id.credential.Groups)
	return id, nil
}

// number reads an id. The largest one stands for none in the kernel's calls.
func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

// own makes the ends of pipes that workers open anew, by /proc/self/fd or /dev/stderr, belong to their user. The kernel
// lets nobody else open them.
func (id *identity) own(ends ...*os.File) error {
	if id == nil {
		return nil
	}
	for _, end := range ends {
		if err := end.Chown(int(id.credential.Uid), int(id.credential.Gid)); err != nil {
			return fmt.Errorf("give a pipe to the worker's user: %w", err)
		}
	}
	return nil
}

// ParseCPUs reads a list of processors such as "0-3,6".
func ParseCPUs(text string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(low, 10, 10)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(high, 10, 10)
		}
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is not a list of processors, each 0 to 1023, such as 0-3,6", text)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, int(cpu))
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), nil
}

// String tells what the Confinement changes, for people; empty if nothing.
func (c Confinement) String() string {
	var parts []string
	if c.User != "" {
		parts = append(parts, "user "+c.User)
	}
	if c.NoNewPrivs {
		parts = append(parts, "no new privileges")
	}
	if c.Nice != 0 {
		parts = append(parts, fmt.Sprintf("nice %d", c.Nice))
	}
	if len(c.CPUs) > 0 {
		parts = append(parts, fmt.Sprintf("processors %v", c.CPUs))
	}
	if len(c.PassEnv) > 0 {
		parts = append(parts, "environment "+strings.Join(c.PassEnv, " "))
	}
	return strings.Join(parts, ", ")
}

// inForce runs start so that the processes which it starts have what threads hand on.
func (c Confinement) inForce(start func() error) error {
	if !c.NoNewPrivs && c.Nice == 0 && len(c.CPUs) == 0 {
		return start()
	}
	return onThrowawayThread(func() error {
		if err := c.prepareThread(); err != nil {
			return err
		}
		return start()
	})
}

// confine checks what can be checked of limits and confinement before a worker is started, and finds the user.
func (cfg Config) confine() (*identity, error) {
	var id *identity
	errs := []error{cfg.Limits.check()}
	if cfg.Confinement.User != "" {
		var err error
		id, err = lookUp(cfg.Confinement.User)
		errs = append(errs, err, mayBecomeOthers())
	}
	if len(cfg.Command) > 0 && len(cfg.Limits.rlimits()) > 0 {
		errs = append(errs, mayLimit(id))
	}
	errs = append(errs, cfg.Confinement.inForce(func() error { return nil }))
	return id, errors.Join(errs...)
}
