package s3_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
)

// names are those of a page.
func names(page []storagedriver.Object) []string {
	var all []string
	for _, o := range page {
		all = append(all, o.Name)
	}
	return all
}

func TestMoreObjectsAreListedThanS3ListsAtOnce(t *testing.T) {
	server, o := harness.StartS3(t), harness.FaultProxy{}
	_ = o
	opts := options(t, server)
	d := open(t, opts)
	const many = 1100
	var want []string
	for n := range many {
		want = append(want, fmt.Sprintf("n/%04d", n))
	}
	var placing sync.WaitGroup
	for part := range slices.Chunk(want, many/8) {
		placing.Go(func() {
			for _, locator := range part {
				if err := d.Place(t.Context(), locator, 1, strings.NewReader("a")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	placing.Wait()
	for _, limit := range []int{many - 1, many, many + 1} {
		page, err := d.Objects(t.Context(), "", limit)
		harness.Must(t, err)
		if got := names(page); !slices.Equal(got, want[:min(limit, many)]) {
			t.Errorf("a page of %d has %d other objects", limit, len(got))
		}
	}
	page, err := d.Objects(t.Context(), want[99], 1000)
	harness.Must(t, err)
	if got := names(page); !slices.Equal(got, want[100:]) {
		t.Errorf("the next page has %d other objects", len(got))
	}
}
