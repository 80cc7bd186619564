package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"

	"artifactstore/conformance/harness"
)

const (
	largeSize    = 64 << 20
	smallClients = 16
	layers       = 3
	layerSize    = 4 << 10
	largeName    = "bench/large"
	smallName    = "bench/small"
)

// largeBlobs are blobs that differ in their first bytes only, so that many of
// them need the memory of one.
type largeBlobs struct {
	mu      sync.Mutex
	data    []byte
	digests []string
}

// pushLarge pushes large blobs, from one client and from several. The client
// knows the digests before: hashing is no part of what is measured.
func (b *bench) pushLarge(ctx context.Context) error {
	for _, clients := range []int{1, 4} {
		blobs := newLargeBlobs(b.blobs, uint64(clients))
		n := 0
		r, err := b.load(ctx, clients, b.blobs, func(ctx context.Context, _ uint64) error {
			blobs.mu.Lock()
			i := n
			n++
			blobs.mu.Unlock()
			return b.pushOne(ctx, blobs, i)
		})
		if err != nil {
			return err
		}
		r.printBytes(fmt.Sprintf("push of 64 MiB blobs, %s", plural(clients)), int64(b.blobs)*largeSize, b.limits.hash, "SHA-256")
	}
	return nil
}

func newLargeBlobs(count int, seed uint64) *largeBlobs {
	blobs := &largeBlobs{data: harness.Random(seed, largeSize)}
	for i := range count {
		binary.LittleEndian.PutUint64(blobs.data, uint64(i))
		blobs.digests = append(blobs.digests, harness.SHA256(blobs.data))
	}
	return blobs
}

// pushOne pushes a blob without copying its bytes.
func (b *bench) pushOne(ctx context.Context, blobs *largeBlobs, i int) error {
	var first [8]byte
	binary.LittleEndian.PutUint64(first[:], uint64(i))
	body := &joined{parts: [][]byte{first[:], blobs.data[len(first):]}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		b.server.URL()+"/v2/"+largeName+"/blobs/uploads/?digest="+blobs.digests[i], body)
	if err != nil {
		return err
	}
	req.ContentLength = largeSize
	resp, err := largeTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("push of a large blob: status %d", resp.StatusCode)
	}
	return errors.Join(err, resp.Body.Close())
}

// joined reads byte slices one after the other.
type joined struct{ parts [][]byte }

func (j *joined) Read(p []byte) (int, error) {
	for len(j.parts) > 1 && len(j.parts[0]) == 0 {
		j.parts = j.parts[1:]
	}
	n, err := bytes.NewReader(j.parts[0]).Read(p)
	j.parts[0] = j.parts[0][n:]
	return n, err
}

// largeTransport has large buffers, so that the client costs little.
var largeTransport = &http.Transport{WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	MaxIdleConnsPerHost: smallClients, DisableCompression: true}

// pullLarge pulls a large blob again and again.
func (b *bench) pullLarge(ctx context.Context) error {
	const clients = 8
	digest := newLargeBlobs(1, 1).digests[0]
	r, err := b.load(ctx, clients, 0, func(ctx context.Context, _ uint64) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL()+"/v2/"+largeName+"/blobs/"+digest, nil)
		if err != nil {
			return err
		}
		resp, err := largeTransport.RoundTrip(req)
		if err != nil {
			return err
		}
		n, err := drain(resp.Body)
		if n != largeSize || resp.StatusCode != http.StatusOK {
			err = errors.Join(err, fmt.Errorf("pull of a large blob: status %d, %d bytes", resp.StatusCode, n))
		}
		return errors.Join(err, resp.Body.Close())
	})
	if err != nil {
		return err
	}
	r.printBytes(fmt.Sprintf("pull of a 64 MiB blob, %s", plural(clients)), int64(r.count)*largeSize, b.limits.loopback, "loopback copy")
	return nil
}

// pushImage pushes one small image: a config of 1 KiB, three layers of 4 KiB
// and a manifest by tag, all unique.
func (b *bench) pushImage(ctx context.Context, i uint64) error {
	image := harness.NewImage(i, layers, layerSize)
	return image.Push(ctx, b.client, smallName, fmt.Sprintf("v%d", i))
}

func (b *bench) pushSmall(ctx context.Context) error {
	for _, clients := range []int{1, smallClients} {
		r, err := b.load(ctx, clients, 0, b.pushImage)
		if err != nil {
			return err
		}
		r.print(fmt.Sprintf("push of small images, %s", plural(clients)))
	}
	return nil
}

// countFlushes counts the flushes of a small image.
func (b *bench) countFlushes(ctx context.Context) error {
	if b.config != "" {
		return nil // it is the database that flushes
	}
	const images = 200
	for _, clients := range []int{1, smallClients} {
		what := fmt.Sprintf("flushes per small image, %s", plural(clients))
		flushes, err := countFlushes(ctx, b.server.PID(), filepath.Join(b.dir, "strace"), func() error {
			_, err := b.load(ctx, clients, images, b.pushImage)
			return err
		})
		if errors.Is(err, errNoTrace) {
			fmt.Printf("%-42s not measured: %v\n", what, err)
			continue
		}
		if err != nil {
			return err
		}
		fmt.Printf("%-42s %6.1f\n", what, float64(flushes)/images)
	}
	return nil
}

// readSmall reads what small images consist of.
func (b *bench) readSmall(ctx context.Context) error {
	const seed = 1 << 40 // of an image that pushSmall does not make
	image := harness.NewImage(seed, layers, layerSize)
	if err := image.Push(ctx, b.client, smallName, "read"); err != nil {
		return err
	}
	layer := harness.SHA256(image.Layers[0])
	reads := []struct{ what, method, path string }{
		{"GET manifest by tag, 16 clients", http.MethodGet, "manifests/read"},
		{"HEAD blob, 16 clients", http.MethodHead, "blobs/" + layer},
		{"GET 4 KiB blob, 16 clients", http.MethodGet, "blobs/" + layer},
	}
	for _, read := range reads {
		request := harness.Request{Method: read.method, Path: "/v2/" + smallName + "/" + read.path}
		r, err := b.load(ctx, smallClients, 0, b.ask(request))
		if err != nil {
			return err
		}
		r.print(read.what)
	}
	return nil
}

// ask returns an operation that sends a request and wants 200.
func (b *bench) ask(request harness.Request) func(context.Context, uint64) error {
	return func(ctx context.Context, _ uint64) error {
		reply, err := b.client.Do(ctx, request)
		if err != nil {
			return err
		}
		return reply.Expect(http.StatusOK)
	}
}
