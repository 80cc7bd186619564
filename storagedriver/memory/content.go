package memory

import (
	"bytes"
	"io"
	"slices"
	"time"
)

// pageSize is the size of the pieces that content is kept in.
const pageSize = 64 << 10

var zeroPage [pageSize]byte

// content is a byte sequence in pages. A page of zeros is nil, so that very
// large sequences of them fit. A page that is full is never changed.
type content struct {
	pages [][]byte
	size  int64
	// stored is when it became an object.
	stored time.Time
}

// room is what the content takes of the store's limit.
func (c *content) room() int64 {
	n := int64(0)
	for _, page := range c.pages {
		n += int64(len(page))
	}
	return n
}

// append adds p, and returns the room that it takes.
func (c *content) append(p []byte) int64 {
	room := int64(0)
	for len(p) > 0 {
		at := int(c.size % pageSize)
		piece := p[:min(len(p), pageSize-at)]
		switch {
		case at == 0 && isZeroPage(piece):
			c.pages = append(c.pages, nil)
		case at == 0:
			c.pages = append(c.pages, bytes.Clone(piece))
			room += int64(len(piece))
		default:
			last := len(c.pages) - 1
			c.pages[last] = append(c.pages[last], piece...)
			room += int64(len(piece))
		}
		c.size += int64(len(piece))
		p = p[len(piece):]
	}
	return room
}

func isZeroPage(piece []byte) bool { return bytes.Equal(piece, zeroPage[:]) }

// cut drops what is beyond size, and returns the room that it took.
func (c *content) cut(size int64) int64 {
	before := c.room()
	full, rest := int(size/pageSize), int(size%pageSize)
	if rest > 0 {
		last := c.pages[full]
		if last == nil {
			last = zeroPage[:]
		}
		c.pages[full] = bytes.Clone(last[:rest])
		full++
	}
	c.pages, c.size = c.pages[:full], size
	return before - c.room()
}

// snapshot is a copy that later changes of c do not reach.
func (c *content) snapshot() *content { return &content{pages: slices.Clone(c.pages), size: c.size} }

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) && offset < c.size {
		at := offset % pageSize
		page := c.pages[offset/pageSize]
		if page == nil {
			page = zeroPage[:]
		}
		m := copy(p[n:], page[at:])
		n, offset = n+m, offset+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
