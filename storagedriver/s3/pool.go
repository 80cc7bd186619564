package s3

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"artifactstore/storagedriver"
)

// chunkSize is in what pieces memory is given to buffers.
const chunkSize = 64 << 10

// pool is the memory that all buffers share. It is safe for concurrent use.
type pool struct {
	spool  string // folder for what finds no room
	chunks sync.Pool
	evict  func() bool // gives something back, or says that there is nothing

	mu   sync.Mutex
	left int64
}

func newPool(memory int64, spool string) *pool {
	return &pool{left: memory, spool: spool, chunks: sync.Pool{New: func() any { return new([chunkSize]byte) }}}
}

// take returns a chunk, nil if there is no room for one.
func (p *pool) take() *[chunkSize]byte {
	for {
		p.mu.Lock()
		ok := p.left >= chunkSize
		if ok {
			p.left -= chunkSize
		}
		p.mu.Unlock()
		if ok {
			return p.chunks.Get().(*[chunkSize]byte)
		}
		if p.evict == nil || !p.evict() {
			return nil
		}
	}
}

func (p *pool) give(chunks []*[chunkSize]byte) {
	for _, chunk := range chunks {
		p.chunks.Put(chunk)
	}
	p.mu.Lock()
	p.left += chunkSize * int64(len(chunks))
	p.mu.Unlock()
}

// buffer keeps bytes in memory while there is room, and else in a temporary
// file. One goroutine writes; when it is done several may read.
type buffer struct {
	pool   *pool
	chunks []*[chunkSize]byte
	file   *os.File
	named  bool // the file could not be unlinked while it is open
	size   int64
}

// buffer returns an empty buffer. If spooled, nothing is kept in memory.
func (p *pool) buffer(spooled bool) (*buffer, error) {
	b := &buffer{pool: p}
	if spooled {
		return b, b.moveOut()
	}
	return b, nil
}

// Write appends p.
func (b *buffer) Write(p []byte) (int, error) {
	done := 0
	for b.file == nil && done < len(p) {
		at := int(b.size % chunkSize)
		if at == 0 {
			chunk := b.pool.take()
			if chunk == nil {
				if err := b.moveOut(); err != nil {
					return done, err
				}
				break
			}
			b.chunks = append(b.chunks, chunk)
		}
		n := copy(b.chunks[len(b.chunks)-1][at:], p[done:])
		b.size += int64(n)
		done += n
	}
	if done == len(p) {
		return done, nil
	}
	n, err := b.file.WriteAt(p[done:], b.size)
	b.size += int64(n)
	return done + n, b.pool.failure(err)
}

// moveOut goes on in a file.
func (b *buffer) moveOut() error {
	f, err := os.CreateTemp(b.pool.spool, "artifactstore-part-")
	if err != nil {
		return b.pool.failure(err)
	}
	b.named = os.Remove(f.Name()) != nil // then it is gone with the process
	if _, err := io.Copy(f, b.reader(b.size)); err != nil {
		b.file = f
		b.free()
		return b.pool.failure(err)
	}
	b.pool.give(b.chunks)
	b.chunks, b.file = nil, f
	return nil
}

// failure says that a full spool is a full store, whose place is known.
func (p *pool) failure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("folder for temporary files (s3.spool): %w: %w", storagedriver.ErrFull, err)
	default:
		return fmt.Errorf("folder for temporary files (s3.spool): %w", err)
	}
}

// ReadAt implements io.ReaderAt.
func (b *buffer) ReadAt(p []byte, offset int64) (int, error) {
	if b.file != nil {
		return b.file.ReadAt(p, offset)
	}
	n := 0
	for n < len(p) && offset < b.size {
		at := offset % chunkSize
		end := min(chunkSize, b.size-offset+at)
		m := copy(p[n:], b.chunks[offset/chunkSize][at:end])
		n, offset = n+m, offset+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// reader reads the first size bytes, and may be sought in.
func (b *buffer) reader(size int64) *io.SectionReader { return io.NewSectionReader(b, 0, size) }

// cut drops what is beyond size.
func (b *buffer) cut(size int64) {
	if b.file == nil {
		keep := int((size + chunkSize - 1) / chunkSize)
		b.pool.give(b.chunks[keep:])
		b.chunks = b.chunks[:keep]
	}
	b.size = size
}

// free gives everything back. Nobody reads any more.
func (b *buffer) free() {
	if b == nil {
		return
	}
	b.pool.give(b.chunks)
	b.chunks, b.size = nil, 0
	if b.file == nil {
		return
	}
	_ = b.file.Close() // its bytes are wanted no more
	if b.named {
		_ = os.Remove(b.file.Name())
	}
	b.file = nil
}
