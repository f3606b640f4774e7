package workerproc

import "strings"

// alwaysPassed are variables that an interpreter needs to run at all or that say how people want their text. None is a place
// for secrets.
var alwaysPassed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "PYTHON*", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
}

// passed returns the entries of environ that allowed names, and those that are always passed. An empty allowed passes all.
func passed(environ, allowed []string) []string {
	if len(allowed) == 0 {
		return environ
	}
	var env []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if matches(alwaysPassed, name) || matches(allowed, name) {
			env = append(env, entry)
		}
	}
	return env
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		prefix, open := strings.CutSuffix(pattern, "*")
		if name == pattern || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
