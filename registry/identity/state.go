package identity

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrState: a saved hasher state is damaged, or of a version that this program
// does not know. The stream must be read again from its start.
var ErrState = errors.New("invalid hasher state")

// The layout of a saved state; docs/format/digests.md has it byte by byte.
const (
	stateMagic   = "AHS\x01" // artifactstore hasher state, version 1
	stateHeader  = len(stateMagic) + 8
	stateCheck   = 8       // bytes of the check at the end
	maxStateSize = 1 << 60 // bytes of a stream, far below SHA-256's own limit
)

// MarshalBinary returns the whole state, for another Hasher to go on with, also
// in another process and after an update of the program. It has less than 18
// KiB, and less than 2 KiB if Size is a multiple of 16 KiB. Up to 16 KiB of the
// stream are in it as they are: it is as secret as the stream.
//
// The part of each SHA-2 hash is what its package in the standard library
// marshals, which later Go releases promise to read (package hash); nothing
// else in the state depends on the Go release.
func (h *Hasher) MarshalBinary() ([]byte, error) {
	h.init()
	state := append(make([]byte, 0, 512), stateMagic...)
	state = binary.BigEndian.AppendUint64(state, uint64(h.Size()))
	for _, a := range h.Algorithms() {
		state = append(append(state, byte(len(a))), a...)
		start := len(state)
		state = append(state, 0, 0) // the length, once it is known
		var err error
		if state, err = h.part(a).AppendBinary(state); err != nil {
			return nil, fmt.Errorf("save %s state: %w", a, err)
		}
		binary.BigEndian.PutUint16(state[start:], uint16(len(state)-start-2))
	}
	return append(state, sumBLAKE3(state)[:stateCheck]...), nil
}

// part returns the hash of an algorithm that h computes.
func (h *Hasher) part(a Algorithm) encoding.BinaryAppender {
	switch a {
	case SHA256:
		return h.sha256
	case SHA512:
		return h.sha512
	}
	return &h.blake3
}

// UnmarshalBinary makes h the Hasher whose MarshalBinary gave state, algorithms
// included, whatever h was before. The error wraps ErrState, and h is as it was
// then. It keeps nothing of state.
func (h *Hasher) UnmarshalBinary(state []byte) error {
	size, parts, err := openState(state)
	if err != nil {
		return err
	}
	var restored Hasher
	for _, a := range Algorithms() {
		part, rest, found := cutPart(parts, a)
		if !found && a == SHA512 {
			continue
		}
		if !found || !restored.restore(a, size, part) {
			return fmt.Errorf("%w: %s", ErrState, a)
		}
		parts = rest
	}
	if len(parts) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrState, len(parts))
	}
	*h = restored
	return nil
}

// openState checks a state as a whole and returns the size of its stream and
// the parts.
func openState(state []byte) (size int64, parts []byte, err error) {
	if len(state) < stateHeader+stateCheck || string(state[:len(stateMagic)]) != stateMagic {
		return 0, nil, fmt.Errorf("%w: unknown form", ErrState)
	}
	checked, check := state[:len(state)-stateCheck], state[len(state)-stateCheck:]
	if !bytes.Equal(sumBLAKE3(checked)[:stateCheck], check) {
		return 0, nil, fmt.Errorf("%w: its check does not match", ErrState)
	}
	n := binary.BigEndian.Uint64(state[len(stateMagic):])
	if n > maxStateSize {
		return 0, nil, fmt.Errorf("%w: stream of %d bytes", ErrState, n)
	}
	return int64(n), checked[stateHeader:], nil
}

// cutPart returns the part of an algorithm, if parts begins with it, and the
// parts after it.
func cutPart(parts []byte, a Algorithm) (part, rest []byte, found bool) {
	head := append([]byte{byte(len(a))}, a...)
	rest, found = bytes.CutPrefix(parts, head)
	if !found || len(rest) < 2 {
		return nil, nil, false
	}
	length := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) < length {
		return nil, nil, false
	}
	return rest[:length], rest[length:], true
}

// restore sets the hash of one algorithm, and returns false if part is not its
// state after size bytes.
func (h *Hasher) restore(a Algorithm, size int64, part []byte) (ok bool) {
	switch a {
	case SHA256:
		h.sha256 = newSHA256()
		return h.sha256.UnmarshalBinary(part) == nil
	case SHA512:
		h.sha512 = newSHA512()
		return h.sha512.UnmarshalBinary(part) == nil
	}
	h.blake3, ok = restoreBLAKE3(size, part)
	return ok
}
