package durable

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
)

// File is a file that is being written, from its beginning or from where
// another process stopped. One goroutine at a time may use it. After the first
// error it accepts nothing more and repeats that error. If bytes could not be
// flushed the file is removed, and unless the disk is full the tree is broken.
//
// A Write of zeros alone, of holeSize or more, becomes a hole: it takes neither
// time nor disk.
type File struct {
	tree *Tree
	file *os.File
	name string
	// next is where the next byte goes, size the size of the file on disk;
	// the bytes between the two are zeros not yet accounted for.
	next, size int64
	pace       pacer
	err        error
}

// holeSize is below the size of transfer buffers that bulk data comes in, and
// above what is worth a write of its own.
const holeSize = 64 << 10

var zeros [holeSize]byte

// Create makes an empty file for writing. What had the name before is emptied.
func (t *Tree) Create(name string) (*File, error) {
	return t.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// Append opens an existing file to go on writing at offset; what is beyond is
// cut off. An error that wraps fs.ErrNotExist if it is shorter.
func (t *Tree) Append(name string, offset int64) (*File, error) {
	f, err := t.open(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := f.cut(offset); err != nil {
		_ = f.file.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

func (t *Tree) open(name string, flag int) (*File, error) {
	if err := t.writable(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := t.root.OpenFile(name, flag, FileMode)
	if err != nil {
		return nil, err
	}
	return &File{tree: t, file: file, name: name}, nil
}

// cut makes the file offset bytes long, if it is that long.
func (f *File) cut(offset int64) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() < offset {
		return &fs.PathError{Op: "resume", Path: f.name, Err: fs.ErrNotExist}
	}
	f.next, f.size = offset, info.Size()
	f.pace.start(offset)
	if f.size == offset {
		return nil
	}
	return f.truncate(offset)
}

func (f *File) truncate(size int64) error {
	if err := f.tree.writable(OpTruncate, f.name); err != nil {
		return err
	}
	if err := f.file.Truncate(size); err != nil {
		return err
	}
	f.size = size
	return nil
}

// Write appends p. What was written of a p that failed stays in the file, for
// Append to cut off.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if len(p) >= holeSize && isZero(p) {
		f.next += int64(len(p))
		return len(p), nil
	}
	n, err := f.write(p)
	f.next += int64(n)
	f.size = max(f.size, f.next)
	if err != nil {
		f.err = fmt.Errorf("write %s: %w", f.name, err)
		return n, f.err
	}
	return n, f.writeBack()
}

// writeBack has the kernel write what is due. A failure is that of a flush.
func (f *File) writeBack() error {
	if !f.pace.due(f.next) {
		return nil
	}
	err := f.tree.begin(OpWriteBack, f.name)
	if err == nil {
		err = f.pace.wrote(f.file, f.next)
	}
	if err != nil {
		return f.lost(err)
	}
	return nil
}

func (f *File) write(p []byte) (int, error) {
	if err := f.tree.Err(); err != nil {
		return 0, err
	}
	if err := f.tree.begin(OpWrite, f.name); err != nil {
		n, _ := f.file.WriteAt(p[:len(p)/2], f.next) // the fault's error stands
		return n, err
	}
	return f.file.WriteAt(p, f.next)
}

// isZero compares in pieces; the first byte that is not zero ends it.
func isZero(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros[:]) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}

// Settle makes the file as long as what was written to it, so that another
// process finds it. It flushes nothing.
func (f *File) Settle() error {
	if f.err == nil && f.size < f.next {
		f.err = f.truncate(f.next)
	}
	return f.err
}

// Sync returns when all bytes have reached the disk.
func (f *File) Sync() error {
	if err := f.Settle(); err != nil {
		return err
	}
	if err := f.tree.Err(); err != nil {
		return err
	}
	err := f.tree.begin(OpSync, f.name)
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		return f.lost(err)
	}
	return nil
}

// lost is told that the file could not be flushed. The file is removed, so
// that nobody flushes it again and takes it for good.
func (f *File) lost(err error) error {
	f.err = fmt.Errorf("flush %s: %w", f.name, err)
	if !Full(err) {
		f.tree.latch(err)
	}
	_ = f.tree.Remove(f.name) // the flush's error matters more
	return f.err
}

// Close releases the file. Its error means that bytes may be lost.
func (f *File) Close() error {
	err := f.file.Close()
	if fault := f.tree.begin(OpClose, f.name); fault != nil {
		return fault
	}
	return err
}
