package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/api/client"
)

// callCmd is `charmer call`.
type callCmd struct {
	Command string        `arg:"" help:"Name of the command."`
	Args    string        `arg:"" optional:"" default:"{}" help:"Its arguments, a JSON object."`
	URL     string        `name:"url" default:"http://127.0.0.1:8080" help:"Where the service is."`
	Session string        `help:"Run it in this session."`
	Lease   string        `help:"Run it on this lease."`
	Timeout time.Duration `default:"0s" help:"Bounds wait and run; 0 leaves it to the service."`
}

// Run makes the call. It prints the result to stdout; a problem goes to stderr, and the exit code is 1 then.
func (c *callCmd) Run(sys system) error {
	args := jsontext.Value(c.Args)
	if !args.IsValid() || args.Kind() != '{' {
		return &exitError{code: exitUsage, err: fmt.Errorf(`arguments must be a JSON object such as '{"name":"Ada"}', not %q`, c.Args)}
	}
	service, err := client.NewClientWithResponses(c.URL)
	if err != nil {
		return err
	}
	body := client.ExecuteRequest{Command: c.Command, Args: []byte(args)}
	if c.Session != "" {
		body.SessionID = &c.Session
	}
	if c.Lease != "" {
		body.LeaseID = &c.Lease
	}
	if c.Timeout > 0 {
		ms := float64(c.Timeout.Microseconds()) / 1000
		body.TimeoutMs = &ms
	}
	response, err := service.ExecuteWithResponse(context.Background(), body)
	if err != nil {
		return fmt.Errorf("%w\nIs the service running? Start one with: charmer serve app.py", err)
	}
	if response.JSON200 == nil {
		return &exitError{code: exitFailed, err: fmt.Errorf("%s\n%s", response.Status(), pretty(response.Body))}
	}
	_, err = fmt.Fprintln(sys.stdout, pretty(response.JSON200.Result))
	return err
}

// pretty indents JSON; what is not JSON comes back as it is.
func pretty(text []byte) string {
	value := jsontext.Value(bytes.Clone(text))
	if value.Indent() != nil {
		return string(text)
	}
	return string(value)
}
