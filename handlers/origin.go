package handlers

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"charmer/api"
)

// refuseForeign refuses what the page of another origin has a browser send, and what it sends under a name that this machine's own
// address was given for the purpose (DNS rebinding): to a loopback address by another name than such a one. Programs that are no
// browsers send no Origin.
func refuseForeign(r *http.Request) error {
	if http.NewCrossOriginProtection().Check(r) != nil {
		return foreignOrigin("the request comes from a page of another origin")
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if ok && r.Header.Get("Origin") != "" && isLoopback(local.String()) && !isLoopback(r.Host) {
		return foreignOrigin("the request comes from a page, and its Host " + clip(r.Host) + " is no name of this machine")
	}
	return nil
}

func foreignOrigin(detail string) error {
	return &requestError{Status: http.StatusForbidden, Code: api.ProblemCodeForbidden, Detail: detail}
}

// isLoopback reports whether an address, with a port or without, is one of the machine itself.
func isLoopback(address string) bool {
	host := address
	if name, _, err := net.SplitHostPort(address); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
