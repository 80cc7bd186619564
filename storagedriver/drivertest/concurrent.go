package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"artifactstore/storagedriver"
)

func concurrentCases() []testCase {
	return []testCase{
		{"concurrent ingests of one content make an object each", func(t *trial) {
			data := random(100_000, 40)
			locators := t.concurrently(20, func(i int) (string, error) { return t.ingest(i, data) })
			seen := map[string]bool{}
			for _, locator := range locators {
				t.holds(locator, data)
				seen[locator] = true
			}
			if len(seen) != 20 {
				t.Errorf("20 ingests made %d objects", len(seen))
			}
		}},
		{"many concurrent writers of different contents stay apart", func(t *trial) {
			contents := make([][]byte, 64)
			for i := range contents {
				contents[i] = random(20_000+i, uint64(i))
			}
			locators := t.concurrently(64, func(i int) (string, error) { return t.ingest(i, contents[i]) })
			for i, locator := range locators {
				t.holds(locator, contents[i])
			}
		}},
		{"one of two copies is deleted while the other is read", func(t *trial) {
			data := random(50_000, 41)
			kept := t.put("kept", data)
			t.concurrently(16, func(i int) (string, error) {
				if i%2 == 0 {
					return "", t.reads(kept, data)
				}
				locator, err := t.ingest(i, data)
				if err != nil {
					return "", err
				}
				return "", t.d.Delete(t.Context(), locator)
			})
			t.holds(kept, data)
		}},
		{"a reader sees the whole object or none while it is published", func(t *trial) {
			data := random(100_000, 42)
			locator := t.d.Locate("a", digest(len(data)))
			done := make(chan struct{})
			t.concurrently(5, func(i int) (string, error) {
				if i == 0 {
					defer close(done)
					return t.ingestAs("a", data)
				}
				for {
					err := t.reads(locator, data)
					if err == nil || !errors.Is(err, storagedriver.ErrNotExist) {
						return "", err
					}
					select {
					case <-done:
						return "", t.reads(locator, data)
					default:
					}
				}
			})
		}},
		{"publishing one id many times at once makes one object", func(t *trial) {
			data := random(10_000, 43)
			state := t.stage("a", data)
			locator := t.d.Locate("a", digest(len(data)))
			t.publish("a", state, len(data))
			t.concurrently(10, func(int) (string, error) {
				return "", t.d.Publish(t.Context(), "a", state, int64(len(data)), locator)
			})
			t.holds(locator, data)
			t.staged()
		}},
		{"deleting one object many times at once succeeds", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			t.concurrently(10, func(int) (string, error) { return "", t.d.Delete(t.Context(), locator) })
			t.lacks(locator)
		}},
	}
}

// concurrently runs f n times at once, expects no error, and returns what
// the runs returned.
func (t *trial) concurrently(n int, f func(i int) (string, error)) []string {
	t.Helper()
	var wg sync.WaitGroup
	results, failures := make([]string, n), make([]error, n)
	for i := range n {
		wg.Go(func() { results[i], failures[i] = f(i) })
	}
	wg.Wait()
	t.must(errors.Join(failures...))
	return results
}

// ingest is put for goroutines: it returns its error.
func (t *trial) ingest(i int, data []byte) (string, error) {
	return t.ingestAs(fmt.Sprintf("id%d", i), data)
}

func (t *trial) ingestAs(id string, data []byte) (string, error) {
	ctx := context.WithoutCancel(t.Context())
	s, err := t.d.Stage(ctx, id)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(s, bytes.NewReader(data))
	state, saved := s.Save(ctx)
	if err := errors.Join(err, saved, s.Close()); err != nil {
		return "", err
	}
	locator := t.d.Locate(id, digest(len(data)))
	return locator, t.d.Publish(ctx, id, state, int64(len(data)), locator)
}

// reads returns an error unless the object has these bytes.
func (t *trial) reads(locator string, want []byte) error {
	r, err := t.d.Open(t.Context(), locator, 0, -1)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d other bytes, want %d", len(got), len(want))
	}
	return nil
}
