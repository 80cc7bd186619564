package metastore_test

import (
	"errors"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
)

// TestSharedNodeWithAnotherPlaceIsRefused: it would store what the others do not
// find. That it is not ready keeps only those away who ask.
func TestSharedNodeWithAnotherPlaceIsRefused(t *testing.T) {
	server := harness.StartPostgres(t)
	place := func(name, bucket, limit string) node {
		return node{Node: metastore.Node{Name: name, Place: []string{"driver", "bucket"}, Rules: map[string]string{"driver": "s3", "bucket": bucket, "limit": limit}}}
	}
	a := join(t, server, place("a", "one", "4"))
	files := node{Node: metastore.Node{Name: "c", Place: []string{"driver", "bucket"}, Rules: map[string]string{"driver": "files", "limit": "4"}, Files: "folder"}}
	for _, n := range []node{place("b", "two", "8"), files} {
		_, err := tryJoin(server, n)
		if !errors.Is(err, metastore.ErrInUse) || !strings.Contains(err.Error(), "node a") || !strings.Contains(err.Error(), "bucket") || strings.Contains(err.Error(), "limit") {
			t.Errorf("a node with another place: %v", err)
		}
	}
	look(t, a)
	if got := names(a); got != "a" {
		t.Errorf("the nodes are %s", got)
	}
	same := join(t, server, place("d", "one", "8")) // not fit, but no danger
	must(t, same.Close())
	command := place("migrate", "two", "4") // has nothing to do with objects
	command.Node.Place = nil
	must(t, join(t, server, command).Close())
	must(t, a.Close())
	b := join(t, server, place("b", "two", "8"))
	must(t, b.Fit())
	look(t, b) // later beats find nobody in the way
}
