package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd is `charmer version`.
type versionCmd struct{}

// Run prints the version of charmer, of Go, and the commit it was built from where that is known.
func (versionCmd) Run(sys system) error {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = " " + setting.Value
			}
		}
	}
	_, err := fmt.Fprintf(sys.stdout, "charmer %s%s (%s %s/%s)\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
