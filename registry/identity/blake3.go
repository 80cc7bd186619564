package identity

import (
	"encoding/binary"
	"math/bits"

	"lukechampine.com/blake3/guts"
)

// groupSize is how many bytes of a stream are compressed at once: as many
// chunks as the widest vector unit takes.
const groupSize = guts.MaxSIMD * guts.ChunkSize

const (
	chainingSize = 32               // bytes of a chaining value
	nodeSize     = 2 * chainingSize // bytes of a parent node's block
)

// blake3 hashes a stream. The zero value is the hash of nothing.
//
// The input is cut into groups of 16 KiB. Each complete group is the root of a
// complete subtree, and equal subtrees are merged as soon as they meet, so that
// stack holds one chaining value per one bit of groups, the largest subtree
// first. The newest group stays outside the stack until another byte follows,
// because only then it is known not to be at the root of the tree, which is
// compressed differently (BLAKE3 paper, section 2.1 and 5.1.2).
//
// The package lukechampine.com/blake3 has a hasher of its own, which starts a
// goroutine for each 16 KiB and is three times slower on a stream.
type blake3 struct {
	size   int64
	groups uint64      // complete groups in stack
	stack  [][8]uint32 // chaining values of the subtrees
	last   guts.Node   // the newest group, if size is a multiple of groupSize and not 0
	// buf holds the newest group, if it is not complete, up to size%groupSize.
	// Groups are copied here also when the input has them whole: vector units
	// read 16 chunks in step, which is slow from memory and fast from cache.
	buf *[groupSize]byte
}

// Write appends p to the stream.
func (b *blake3) Write(p []byte) (int, error) {
	if b.buf == nil && len(p) > 0 {
		b.buf = new([groupSize]byte)
	}
	written := len(p)
	for len(p) > 0 {
		filled := int(b.size % groupSize)
		if filled == 0 && b.size > 0 {
			b.push(guts.ChainingValue(b.last))
		}
		n := copy(b.buf[filled:], p)
		p = p[n:]
		b.size += int64(n)
		if filled+n == groupSize {
			b.last = b.compress(groupSize)
		}
	}
	return written, nil
}

// push adds a complete group to the stack and merges equal subtrees.
func (b *blake3) push(cv [8]uint32) {
	for range bits.TrailingZeros64(^b.groups) {
		top := len(b.stack) - 1
		cv = guts.ChainingValue(guts.ParentNode(b.stack[top], cv, &guts.IV, 0))
		b.stack = b.stack[:top]
	}
	b.stack = append(b.stack, cv)
	b.groups++
}

// compress returns the node above the first n bytes of the buffer.
func (b *blake3) compress(n int) guts.Node {
	return guts.CompressBuffer(b.buf, n, &guts.IV, b.groups*guts.MaxSIMD, 0)
}

// Sum appends the hash of the stream so far to sum. It changes nothing.
func (b *blake3) Sum(sum []byte) []byte {
	node := b.last
	if b.size == 0 {
		node = guts.CompressChunk(nil, &guts.IV, 0, 0)
	} else if filled := int(b.size % groupSize); filled > 0 {
		node = b.compress(filled)
	}
	for i := len(b.stack) - 1; i >= 0; i-- {
		node = guts.ParentNode(b.stack[i], guts.ChainingValue(node), &guts.IV, 0)
	}
	return appendRoot(sum, node)
}

// sumBLAKE3 returns the hash of data without a stream's buffer where it can.
func sumBLAKE3(data []byte) []byte {
	if len(data) <= guts.ChunkSize {
		return appendRoot(nil, guts.CompressChunk(data, &guts.IV, 0, 0))
	}
	var b blake3
	_, _ = b.Write(data) // never fails
	return b.Sum(nil)
}

// appendRoot appends the hash of a stream whose tree has this root.
func appendRoot(sum []byte, root guts.Node) []byte {
	root.Flags |= guts.FlagRoot
	return appendWords(sum, guts.ChainingValue(root))
}

// AppendBinary appends the state: the chaining values of the stack, and the
// newest group, as the block of its node if it is complete and as its bytes if
// it is not. The size, which the state cannot be read without, is not in it.
func (b *blake3) AppendBinary(state []byte) ([]byte, error) {
	for _, cv := range b.stack {
		state = appendWords(state, cv)
	}
	if b.size == 0 {
		return state, nil
	}
	if filled := b.size % groupSize; filled > 0 {
		return append(state, b.buf[:filled]...), nil
	}
	block := guts.WordsToBytes(b.last.Block)
	return append(state, block[:]...), nil
}

// restoreBLAKE3 returns the stream of that size whose AppendBinary gave state,
// and false if there is none.
func restoreBLAKE3(size int64, state []byte) (blake3, bool) {
	b := blake3{size: size}
	if size == 0 {
		return b, len(state) == 0
	}
	b.groups = uint64(size-1) / groupSize
	stacked, filled := bits.OnesCount64(b.groups)*chainingSize, int(size%groupSize)
	newest := filled
	if filled == 0 {
		newest = nodeSize
	}
	if len(state) != stacked+newest {
		return blake3{}, false
	}
	for ; len(state) > newest; state = state[chainingSize:] {
		b.stack = append(b.stack, readWords(state))
	}
	if filled == 0 {
		b.last = guts.ParentNode(readWords(state), readWords(state[chainingSize:]), &guts.IV, 0)
		return b, true
	}
	b.buf = new([groupSize]byte)
	copy(b.buf[:], state)
	return b, true
}

// appendWords appends a chaining value as BLAKE3 writes words: little endian.
func appendWords(b []byte, words [8]uint32) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// readWords is the reverse of appendWords; b has at least 32 bytes.
func readWords(b []byte) (words [8]uint32) {
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return words
}
