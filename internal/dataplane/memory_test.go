package dataplane_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"

	"artifactstore/internal/budget"
	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

// sink is a driver that forgets what is written.
type sink struct{ *memory.Driver }

func (sink) Stage(context.Context, string) (storagedriver.Stage, error) { return drain{}, nil }

type drain struct{}

func (drain) Write(p []byte) (int, error)          { return len(p), nil }
func (drain) Save(context.Context) ([]byte, error) { return nil, nil }
func (drain) Close() error                         { return nil }

// body is a request's body of left bytes. In the middle it waits until all
// other bodies are there too.
type body struct {
	left, half int
	arrived    func()
	proceed    <-chan struct{}
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left <= b.half && b.arrived != nil {
		b.arrived()
		b.arrived = nil
		<-b.proceed
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}

// A thousand uploads, all in the middle of their bodies at the same time, fit
// into the budget and little more.
func TestAThousandUploadsTakeBoundedMemory(t *testing.T) {
	const uploads, size = 1000, 400_000
	lend := budget.New(48 << 20)
	p, _ := newPlane(t, sink{memory.New(memory.Options{})}, dataplane.Options{InlineLimit: 64 << 10, Budget: lend})
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	var wg, arrived sync.WaitGroup
	proceed := make(chan struct{})
	arrived.Add(uploads)
	for i := range uploads {
		wg.Go(func() {
			s := fact.Staged{ID: fmt.Sprint("id", i)}
			b := &body{left: size, half: size / 2, arrived: arrived.Done, proceed: proceed}
			if err := p.Ingest(t.Context(), &s, b, spilled); err != nil || s.Offset != size {
				t.Errorf("%d bytes accepted, %v", s.Offset, err)
			}
		})
	}
	arrived.Wait()
	runtime.GC()
	runtime.ReadMemStats(&during)
	close(proceed)
	wg.Wait()

	if used := int64(during.HeapAlloc) - int64(before.HeapAlloc); used > 72<<20 {
		t.Errorf("%d uploads take %d MiB of heap", uploads, used>>20)
	}
	if lend.Peak() > lend.Size() || lend.Used() != 0 {
		t.Errorf("of a budget of %d bytes %d were out, and %d still are", lend.Size(), lend.Peak(), lend.Used())
	}
}

func BenchmarkIngest(b *testing.B) {
	p, _ := newPlane(b, sink{memory.New(memory.Options{})}, dataplane.Options{})
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		s := fact.Staged{ID: "a"}
		must(b, p.Ingest(b.Context(), &s, &body{left: size}, spilled))
	}
}
