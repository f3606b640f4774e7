package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

// configCmd is `charmer config`.
type configCmd struct {
	settings `embed:""`
}

// Run prints each setting with its value and its source: flag, environment, file or default.
func (c *configCmd) Run(sys system, parsed *kong.Context, file *fileSettings) error {
	if err := c.finish(file); err != nil {
		return err
	}
	given := map[string]bool{}
	for _, step := range parsed.Path {
		if step.Flag != nil && !step.Resolved { // else from the file
			given[step.Flag.Name] = true
		}
	}
	table := tabwriter.NewWriter(sys.stdout, 0, 0, 2, ' ', 0)
	for _, flag := range parsed.Selected().Flags {
		source := "default"
		switch {
		case given[flag.Name]:
			source = "flag --" + flag.Name
		case len(flag.Envs) > 0 && file.env[flag.Envs[0]]:
			source = "environment " + flag.Envs[0]
		case file.used[flag.Name]:
			source = "file " + file.path
		}
		fmt.Fprintf(table, "%s\t%v\t%s\n", flag.Name, flag.Target.Interface(), source)
	}
	return table.Flush()
}
