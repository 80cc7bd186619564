package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"artifactstore/storagedriver"
)

// Objects walks the folders below objects, each in order of its names, from
// the one on where the page before it ended. A folder that no locator leads
// into is one thing of which there is no locator.
func (d *Driver) Objects(ctx context.Context, after string, limit int) ([]storagedriver.Object, error) {
	err := ctx.Err()
	if err == nil && limit < 1 {
		err = fmt.Errorf("a page of %d: %w", limit, storagedriver.ErrInvalid)
	}
	w := &walk{driver: d, limit: limit}
	if err == nil {
		err = w.folder(ctx, nil, strings.Split(after, "/"))
	}
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	return w.page, nil
}

// walk is a page that is being filled.
type walk struct {
	driver *Driver
	limit  int
	page   []storagedriver.Object
}

// folder adds what comes after a name, in parts and relative to the folder.
func (w *walk) folder(ctx context.Context, at, after []string) error {
	entries, err := w.read(ctx, at)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if len(w.page) == w.limit {
			return nil
		}
		name, rest := entry.Name(), []string(nil)
		if len(after) > 0 {
			if name < after[0] {
				continue
			}
			if name == after[0] {
				rest = after[1:]
			}
		}
		here := append(slices.Clone(at), name)
		switch {
		case entry.IsDir() && leads(here):
			err = w.folder(ctx, here, rest)
		case len(after) > 0 && name == after[0]: // it was on the page before
		default:
			err = w.add(strings.Join(here, "/"), entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read lists a folder in order of its names.
func (w *walk) read(ctx context.Context, at []string) ([]fs.DirEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := strings.Join(append([]string{objectsFolder}, at...), "/")
	f, err := w.driver.tree.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(at) == 0:
		return nil, fmt.Errorf("the folder %q is missing in the store; is its disk there? %w", objectsFolder, storagedriver.ErrUnavailable)
	case errors.Is(err, fs.ErrNotExist): // removed a moment ago
		return nil, nil
	case err != nil:
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// add puts a file, or what there is in the place of one, on the page.
func (w *walk) add(name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) { // removed a moment ago
		return nil
	}
	if err != nil {
		return err
	}
	found := storagedriver.Object{Name: name, Modified: info.ModTime().Round(0).In(time.UTC)}
	if info.Mode().IsRegular() {
		found.Locator, found.Size = locatorOf(name), info.Size()
	}
	w.page = append(w.page, found)
	return nil
}

// leads tells whether objects are, or may be, below a folder.
func leads(at []string) bool {
	if at[0] == foreignFolder {
		at = at[1:]
	}
	return len(at) <= 2 && !slices.ContainsFunc(at, func(part string) bool {
		return len(part) != 2 || strings.Trim(part, hexDigits) != ""
	})
}

// locatorOf is the locator whose object has this name below objects, "" if
// there is none.
func locatorOf(name string) string {
	locator := name
	if strings.HasPrefix(name, foreignFolder+"/") {
		locator = strings.ReplaceAll(name[strings.LastIndexByte(name, '/')+1:], ".", "/")
	}
	if storagedriver.CheckLocator(locator) != nil || Name(locator) != objectsFolder+"/"+name {
		return ""
	}
	return locator
}
