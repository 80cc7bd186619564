package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	mega        = 1e6
	measureTime = time.Second
)

// limits are what this machine can do at best.
type limits struct {
	hash     float64 // bytes per second, SHA-256 on one core
	loopback float64 // bytes per second, one TCP connection to itself
	flushes  float64 // flushed appends of 4 KiB per second, one after the other
}

func measureLimits(dir string) (limits, error) {
	loopback, err := measureLoopback()
	if err != nil {
		return limits{}, fmt.Errorf("measure the loopback: %w", err)
	}
	flushes, err := measureFlushes(filepath.Join(dir, "flushes"))
	if err != nil {
		return limits{}, fmt.Errorf("measure flushes: %w", err)
	}
	return limits{hash: measureHash(), loopback: loopback, flushes: flushes}, nil
}

func (l limits) print() {
	fmt.Println("limits of this machine")
	fmt.Printf("%-42s %6.0f MB/s\n", "SHA-256, one core", l.hash/mega)
	fmt.Printf("%-42s %6.0f MB/s\n", "loopback copy, one connection", l.loopback/mega)
	fmt.Printf("%-42s %6.0f /s\n\n", "flushed appends of 4 KiB, one by one", l.flushes)
}

func measureHash() float64 {
	data := make([]byte, 16<<20)
	hash, bytes, start := sha256.New(), 0, time.Now()
	for time.Since(start) < measureTime {
		hash.Write(data)
		bytes += len(data)
	}
	return float64(bytes) / time.Since(start).Seconds()
}

// measureLoopback copies from one end of a connection to the other.
func measureLoopback() (rate float64, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	sent := make(chan error, 1)
	go func() { sent <- sendFor(listener, measureTime) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return 0, err
	}
	start := time.Now()
	n, err := drain(conn)
	elapsed := time.Since(start).Seconds()
	return float64(n) / elapsed, errors.Join(err, conn.Close(), <-sent)
}

func sendFor(listener net.Listener, duration time.Duration) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	data := make([]byte, 1<<20)
	for start := time.Now(); time.Since(start) < duration && err == nil; {
		_, err = conn.Write(data)
	}
	return errors.Join(err, conn.Close())
}

// drain reads to the end with a large buffer, which io.Discard would not use.
func drain(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

func measureFlushes(path string) (rate float64, err error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(path)) }()
	page, count, start := make([]byte, 4096), 0, time.Now()
	for ; time.Since(start) < measureTime; count++ {
		if _, err := file.Write(page); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(count) / time.Since(start).Seconds(), nil
}
