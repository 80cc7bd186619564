package main

import (
	"strings"
	"testing"

	"artifactstore/internal/admin"
)

// TestStateSaysWhereToLook: a node that does not fit to the others has a store
// with which nothing is wrong.
func TestStateSaysWhereToLook(t *testing.T) {
	unfit := []admin.Node{{Name: "a"}, {Name: "b", Self: true, Problem: "the configuration differs"}}
	for _, c := range []struct {
		name   string
		status admin.Status
		want   string
	}{
		{"no server", admin.Status{Nodes: unfit}, "without a server"},
		{"all is well", admin.Status{Serving: true, Ready: true}, "takes pushes"},
		{"a store that fails", admin.Status{Serving: true}, "artifactstore storage"},
		{"a store that fails, of a node beside others", admin.Status{Serving: true, Nodes: []admin.Node{{Self: true}, {Problem: "clock"}}}, "artifactstore storage"},
		{"a node that does not fit", admin.Status{Serving: true, Nodes: unfit}, "the nodes below"},
	} {
		if got := state(c.status); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q in it", c.name, got, c.want)
		}
	}
}
