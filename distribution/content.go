package distribution

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"artifactstore/registry"
)

// smallContent is up to how many bytes a content is read into memory and sent
// with one write. Larger ones are left to the kernel, or copied in pieces.
const smallContent = 64 << 10

var smallBuffers = sync.Pool{New: func() any { return new([smallContent]byte) }}

// describe sets the headers that GET and HEAD of a content have in common.
func describe(w http.ResponseWriter, c *registry.Content, mediaType string) {
	digest := c.Digest.String()
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", digest)
	header.Set("Etag", entityTag(digest))
	header.Set("Content-Length", strconv.FormatInt(c.Size, 10))
}

// unmodified answers that the client has the content already (RFC 9110, section
// 15.4.5).
func unmodified(w http.ResponseWriter) error {
	header := w.Header()
	header.Del("Content-Type")
	header.Del("Content-Length")
	w.WriteHeader(http.StatusNotModified)
	return nil
}

// transmit sends a part of a content. The content is opened before the header
// is written, so that what cannot be read has a proper answer.
func transmit(w http.ResponseWriter, r *http.Request, c *registry.Content, part byteRange, status int) error {
	from, err := c.Open(r.Context(), part.offset, part.length)
	if err != nil {
		return fmt.Errorf("open content: %w", err)
	}
	defer from.Close() // read only
	if part.length <= smallContent {
		buffer := smallBuffers.Get().(*[smallContent]byte)
		defer smallBuffers.Put(buffer)
		data := buffer[:part.length]
		if _, err := io.ReadFull(from, data); err != nil {
			return fmt.Errorf("read content: %w", err)
		}
		w.WriteHeader(status)
		if _, err := w.Write(data); err != nil {
			return errCutOff{fmt.Errorf("send content: %w", err)}
		}
		return nil
	}
	w.WriteHeader(status)
	n, err := io.Copy(w, &io.LimitedReader{R: from, N: part.length})
	if err == nil && n < part.length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return errCutOff{fmt.Errorf("send content: %w", err)}
	}
	return nil
}
