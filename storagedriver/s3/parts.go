package s3

const (
	maxPartSize = 5 << 30 // of S3
	maxParts    = 10_000  // of S3
	mebi        = 1 << 20

	// growth is by what share of the offset parts grow: one of 1 TiB has
	// 3,400 of them, so that numbers can be left out.
	growth = 512
)

// partSize is the size of the part that begins at offset.
func partSize(first, offset int64) int64 {
	grown := (offset/growth + mebi - 1) / mebi * mebi
	return min(max(first, grown), maxPartSize)
}

// gap is how many numbers behind next are left to what a dead process may
// still be sending. Where they run short a number may be taken twice, which
// CompleteMultipartUpload finds out.
func gap(next, flights int) int {
	return max(0, min(flights, (maxParts-500-next)/1024))
}

// part is what S3 has of a multipart upload.
type part struct {
	number int
	size   int64
	etag   string
}

// sizeOf is what parts hold together.
func sizeOf(parts []part) int64 {
	n := int64(0)
	for _, p := range parts {
		n += p.size
	}
	return n
}
