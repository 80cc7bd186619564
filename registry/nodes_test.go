package registry_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"artifactstore/internal/dataplane"
	"artifactstore/registry"
	"artifactstore/storagedriver"
)

// late is the ledger of a node that is late: once, something happens between what
// it has read and what it writes.
type late struct {
	registry.Ledger
	before func()
}

func (l *late) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	if happen := l.before; happen != nil {
		l.before = nil
		happen()
	}
	return l.Ledger.Update(ctx, caller, keys, decide)
}

// lateNode is another registry over the ledger and the objects of a world.
func (w *world) lateNode(t *testing.T) (*registry.Repository, *late) {
	t.Helper()
	plane, err := dataplane.New(map[string]storagedriver.Driver{"m": w.driver}, "m", w.ledger,
		dataplane.Options{InlineLimit: inline, BootID: "b", Now: w.clock.Now})
	must(t, err)
	ledger := &late{Ledger: w.ledger}
	r, err := registry.New(context.Background(), ledger, plane, registry.Options{})
	must(t, err)
	repo, err := r.Repository("a", caller)
	must(t, err)
	return repo, ledger
}

func ranged(from int, data string) registry.Chunk {
	c := whole(data)
	c.Ranged, c.Start, c.End = true, int64(from), int64(from+len(data)-1)
	return c
}

// TestAcknowledgedChunkOutlivesAClaimByAnotherNode: the other node has looked the
// session up before the chunk was saved.
func TestAcknowledgedChunkOutlivesAClaimByAnotherNode(t *testing.T) {
	ctx := context.Background()
	for name, begin := range map[string]int{"small": 10, "large": 1000} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			one := w.repo(t, "a")
			two, ledger := w.lateNode(t)
			token, err := one.StartUpload(ctx, "")
			must(t, err)
			_, err = one.AppendUpload(ctx, token, whole(large[:begin]))
			must(t, err)

			chunk := large[begin : begin+20]
			body, feed := io.Pipe()
			first := make(chan error, 1)
			go func() {
				c := ranged(begin, chunk)
				c.Body = body
				_, err := one.AppendUpload(ctx, token, c)
				first <- err
			}()
			_, err = feed.Write([]byte(chunk)) // it has claimed the session
			must(t, err)
			ledger.before = func() {
				must(t, feed.Close())
				must(t, <-first)
			}
			_, err = two.AppendUpload(ctx, token, ranged(begin, strings.Repeat("x", 50)))
			e := refused(t, err, registry.RangeInvalid)
			if got := e.Detail.(registry.UploadStatus).Offset; got != int64(begin+20) {
				t.Errorf("the session stands at %d, the other node is told %d", begin+20, got)
			}
			_, err = two.FinishUpload(ctx, token, ranged(begin+20, large[begin+20:]), digest(large))
			must(t, err)
			if read(t, one, digest(large)) != large {
				t.Fatal("wrong bytes")
			}
		})
	}
}

func TestSessionThatAnotherNodeHasFinishedGivesItsResult(t *testing.T) {
	ctx := context.Background()
	for name, data := range map[string]string{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			one := w.repo(t, "a")
			two, ledger := w.lateNode(t)
			token, err := one.StartUpload(ctx, "")
			must(t, err)
			_, err = one.AppendUpload(ctx, token, whole(data))
			must(t, err)
			ledger.before = func() {
				_, err := one.FinishUpload(ctx, token, whole(""), digest(data))
				must(t, err)
			}
			_, err = two.FinishUpload(ctx, token, whole(""), digest(data))
			must(t, err)
			if read(t, two, digest(data)) != data {
				t.Fatal("wrong bytes")
			}
		})
	}
}
