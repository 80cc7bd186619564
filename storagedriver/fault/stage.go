package fault

import (
	"context"
	"io"

	"artifactstore/storagedriver"
)

type stage struct {
	storagedriver.Stage
	plan *Plan
	err  error // of a Write that failed
}

// Write is cut short when it fails: half of p is written, or all of it if its
// answer gets lost.
func (s *stage) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if !s.plan.fails(OpWrite) {
		return s.Stage.Write(p)
	}
	if s.plan.Mode == Before {
		p = p[:len(p)/2]
	}
	n, _ := s.Stage.Write(p) // the plan's error stands
	s.err = s.plan.failure(OpWrite)
	return n, s.err
}

func (s *stage) Save(ctx context.Context) (state []byte, err error) {
	if s.err != nil {
		return nil, s.err
	}
	err = s.plan.run(OpSave, func() error { state, err = s.Stage.Save(ctx); return err })
	if err != nil {
		return nil, err
	}
	return state, nil
}

// Close closes the stage also when it fails, so that no test leaks it.
func (s *stage) Close() error {
	err := s.Stage.Close()
	if s.plan.fails(OpClose) {
		return s.plan.failure(OpClose)
	}
	return err
}

type reader struct {
	io.ReadCloser
	plan *Plan
	op   Op
}

// Read is cut short when it fails.
func (r *reader) Read(p []byte) (int, error) {
	if !r.plan.fails(r.op) {
		return r.ReadCloser.Read(p)
	}
	n, _ := r.ReadCloser.Read(p[:len(p)/2]) // the plan's error stands
	return n, r.plan.failure(r.op)
}
