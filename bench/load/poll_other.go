//go:build !linux

package load

import "time"

// Poll is Only where there is no epoll.
func Poll(address string, n int, length time.Duration, request *Request) (Result, error) {
	return Only(address, n, length, request), nil
}
