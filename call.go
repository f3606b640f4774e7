package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/url"
	"strings"
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
	address, err := serviceURL(c.URL)
	if err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("--url: %w", err)}
	}
	service, err := client.NewClientWithResponses(address)
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
		ms := milliseconds(c.Timeout)
		body.TimeoutMs = &ms
	}
	response, err := service.ExecuteWithResponse(context.Background(), nil, body)
	if err != nil {
		return fmt.Errorf("%w\nIs the service running? Start one with: charmer serve app.py", err)
	}
	if response.JSON200 == nil {
		return &exitError{code: exitFailed, err: fmt.Errorf("%s\n%s", response.Status(), pretty(response.Body))}
	}
	_, err = fmt.Fprintln(sys.stdout, pretty(response.JSON200.Result))
	return err
}

// serviceURL returns where a service is, for a URL or just host:port.
func serviceURL(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	if u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("%q is not like http://127.0.0.1:8080", text)
	}
	return text, nil
}

// milliseconds rounds d up to microseconds: no time at all would mean something else.
func milliseconds(d time.Duration) float64 {
	return math.Ceil(float64(d)/float64(time.Microsecond)) / 1000
}

// pretty indents JSON; what is not JSON comes back as it is.
func pretty(text []byte) string {
	value := jsontext.Value(bytes.Clone(text))
	if value.Indent() != nil {
		return string(text)
	}
	return string(value)
}
