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

// knownHost tells whether a Host header, with or without a port, is loopback or
// one that the operator configured.
func (d *door) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if name == "localhost" {
		return true
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	return name != "" && slices.ContainsFunc(d.Hosts, func(known string) bool { return strings.EqualFold(known, name) })
}
