package registry

import (
	"context"
	"fmt"
)

// Page is a part of a sorted list of names. More tells that further names follow.
type Page struct {
	Names []string
	More  bool
}

// cut makes a page of n names from up to n+1 that were read.
func cut(names []string, n int) Page {
	if len(names) > n {
		return Page{Names: names[:n], More: true}
	}
	return Page{Names: names}
}

// Catalog returns the n repository names that follow last in byte order; last
// need not exist, "" begins at the start.
func (r *Registry) Catalog(ctx context.Context, last string, n int) (page Page, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		names, err := v.RepositoryPage(last, n+1)
		page = cut(names, n)
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("list repositories: %w", err)
	}
	return page, nil
}
