package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard refuses what a web page could make a browser send here: pages cannot
// leave out Origin where it matters, nor choose the Host that a name of their
// own was resolved from (DNS rebinding).
func (d *door) guard(next http.Handler) http.Handler {
	return d.handler(func(w http.ResponseWriter, r *http.Request) error {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		if len(r.Header.Values("Origin")) > 0 {
			return errOrigin
		}
		if !d.knownHost(r.Host) {
			return errHost
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// knownHost tells whether a Host header is loopback or one that the operator
// configured. Ports are of no account.
func (d *door) knownHost(host string) bool {
	name := hostName(host)
	if name == "localhost" {
		return true
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	return name != "" && slices.ContainsFunc(d.Hosts, func(known string) bool { return hostName(known) == name })
}

// hostName is the name or address of a Host header: in lower case, without its
// port, without the brackets of an IPv6 address and the dot that ends a full name.
func hostName(host string) string {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else if h, found := strings.CutPrefix(host, "["); found {
		name, _ = strings.CutSuffix(h, "]")
	}
	return strings.TrimSuffix(strings.ToLower(name), ".")
}
