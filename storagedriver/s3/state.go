package s3

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"artifactstore/storagedriver"
)

// state is what Save returns: all that another process needs to go on.
type state struct {
	upload string // id of the multipart upload, empty if there is none
	guard  string // etag of the object that guards it
	parts  []part // in order of their numbers
	// Where parts are too many to be listed, their numbers are, in pairs of
	// the first and the last of a run, and a digest of the parts.
	listed  bool
	runs    []int
	digest  [sha256.Size]byte
	stored  int64  // bytes in parts
	tail    string // name of the object that holds the end, empty if there is none
	held    string // names what this process holds of the end instead
	rest    int64  // bytes of the end
	garbage []string
}

// maxListed is how many parts a state lists: 21 bytes each.
const maxListed = 500

func (s *state) total() int64 { return s.stored + s.rest }

const (
	stateVersion = 1
	rawETag      = md5Size // etags that are 32 hex digits take half of that
	md5Size      = 16
	maxText      = 4 << 10
	maxGarbage   = 1 << 10
)

// encode writes a state:
//
//	version, upload, guard, tail, held, rest, garbage..., 0 parts... or 1 runs... digest stored
//
// Numbers are varints, texts and lists begin with their length.
func (s *state) encode() []byte {
	b := []byte{stateVersion}
	for _, text := range []string{s.upload, s.guard, s.tail, s.held} {
		b = appendText(b, text)
	}
	b = binary.AppendUvarint(b, uint64(s.rest))
	b = binary.AppendUvarint(b, uint64(len(s.garbage)))
	for _, name := range s.garbage {
		b = appendText(b, name)
	}
	if len(s.parts) > maxListed {
		b = append(b, 1)
		runs, digest := summary(s.parts)
		b = binary.AppendUvarint(b, uint64(len(runs)))
		for _, n := range runs {
			b = binary.AppendUvarint(b, uint64(n))
		}
		return binary.AppendUvarint(append(b, digest[:]...), uint64(s.stored))
	}
	b = append(b, 0)
	return appendParts(b, s.parts)
}

func appendParts(b []byte, parts []part) []byte {
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(p.number))
		b = binary.AppendUvarint(b, uint64(p.size))
		if raw, err := hex.DecodeString(p.etag); err == nil && len(raw) == md5Size && hex.EncodeToString(raw) == p.etag {
			b = append(append(b, 0), raw...)
		} else {
			b = appendText(append(b, 1), p.etag)
		}
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// summary is what a state has of parts that it does not list.
func summary(parts []part) (runs []int, digest [sha256.Size]byte) {
	for _, p := range parts {
		if n := len(runs); n > 0 && runs[n-1] == p.number-1 {
			runs[n-1] = p.number
		} else {
			runs = append(runs, p.number, p.number)
		}
	}
	return runs, sha256.Sum256(appendParts(nil, parts))
}

// choose returns those of the parts that S3 lists which the state means.
func (s *state) choose(all []part) ([]part, error) {
	var chosen []part
	for _, p := range all {
		for i := 0; i < len(s.runs); i += 2 {
			if s.runs[i] <= p.number && p.number <= s.runs[i+1] {
				chosen = append(chosen, p)
				break
			}
		}
	}
	if _, digest := summary(chosen); digest != s.digest {
		return nil, fmt.Errorf("parts that were saved are gone: %w", storagedriver.ErrNotExist)
	}
	return chosen, nil
}

// decodeState reads what encode wrote. Anything else is ErrInvalid.
func decodeState(b []byte) (*state, error) {
	d := decoder{rest: b}
	s := new(state)
	if d.byte() != stateVersion {
		d.fail()
	}
	s.upload, s.guard, s.tail, s.held = d.text(), d.text(), d.text(), d.text()
	s.rest = d.number()
	for range d.count(maxGarbage) {
		s.garbage = append(s.garbage, d.text())
	}
	switch d.byte() {
	case 0:
		s.parts = d.parts()
		s.stored = sizeOf(s.parts)
	case 1:
		s.listed = true
		for range d.count(2 * maxParts) {
			s.runs = append(s.runs, int(d.number()))
		}
		copy(s.digest[:], d.take(sha256.Size))
		s.stored = d.number()
	default:
		d.fail()
	}
	if d.bad || len(d.rest) > 0 || !s.sound() {
		return nil, fmt.Errorf("state of %d bytes: %w", len(b), errors.Join(storagedriver.ErrInvalid, errState))
	}
	return s, nil
}

var errState = errors.New("no state that this driver has saved")

// sound tells whether the parts of a state fit together. Names go into keys.
func (s *state) sound() bool {
	for _, name := range append(slices.Clone(s.garbage), s.tail) {
		if name != "" && (name == guardName || storagedriver.CheckID(name) != nil) {
			return false
		}
	}
	sorted := slices.IsSortedFunc(s.parts, func(a, b part) int { return a.number - b.number })
	return sorted && len(s.runs)%2 == 0 && (s.upload != "" || len(s.parts)+len(s.runs) == 0 && s.stored == 0)
}

// decoder reads a state. Once something is wrong it returns zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail()
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// number reads what is no larger than 1 PiB.
func (d *decoder) number() int64 {
	n, width := binary.Uvarint(d.rest)
	if width <= 0 || n > 1<<50 {
		d.fail()
		return 0
	}
	d.rest = d.rest[width:]
	return int64(n)
}

// count reads the length of a list, whose entries take a byte at least.
func (d *decoder) count(limit int) int {
	n := d.number()
	if n > int64(min(limit, len(d.rest))) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return string(d.take(d.count(maxText))) }

func (d *decoder) parts() []part {
	var parts []part
	for range d.count(maxParts) {
		p := part{number: int(d.number()), size: d.number()}
		switch d.byte() {
		case 0:
			p.etag = hex.EncodeToString(d.take(rawETag))
		case 1:
			p.etag = d.text()
		default:
			d.fail()
		}
		parts = append(parts, p)
	}
	return parts
}
