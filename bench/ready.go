package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

var probe = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ready returns an error until all workers of the server are there and it answers.
func (s *server) ready() error {
	path := "/"
	switch s.contender {
	case charmer, charmerOrjson, ceiling:
		path = "/health/ready" // with --min-ready: all workers
	default:
		marks, err := os.ReadDir(s.marks)
		if err != nil {
			return err
		}
		if len(marks) < s.size() {
			return fmt.Errorf("%d of %d workers are ready", len(marks), s.size())
		}
	}
	reply, err := probe.Get("http://" + s.address + path)
	if err != nil {
		return err
	}
	_ = reply.Body.Close()
	if path != "/" && reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, reply.Status)
	}
	return nil
}
