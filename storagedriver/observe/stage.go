package observe

import (
	"context"
	"time"

	"artifactstore/storagedriver"
)

// stage is an open staged object.
type stage struct {
	storagedriver.Stage
	driver *driver
	ctx    context.Context // of Stage or Resume: Write and Close have none
}

func (s *stage) Write(p []byte) (n int, err error) {
	_, ended := s.driver.observe(s.ctx, Write)
	if ended == nil {
		return s.Stage.Write(p)
	}
	begun := time.Now()
	n, err = s.Stage.Write(p)
	ended(Outcome{Duration: time.Since(begun), Bytes: int64(n), Err: err})
	return n, err
}

func (s *stage) Save(ctx context.Context) (state []byte, err error) {
	err = s.driver.run(ctx, Save, 0, func(ctx context.Context) error { state, err = s.Stage.Save(ctx); return err })
	return state, err
}

func (s *stage) Close() error {
	return s.driver.run(s.ctx, Close, 0, func(context.Context) error { return s.Stage.Close() })
}

// holds is a stage that is a Holder.
type holds struct {
	*stage
	holder storagedriver.Holder
}

func (h *holds) Hold(ctx context.Context) (state []byte, err error) {
	err = h.driver.run(ctx, Hold, 0, func(ctx context.Context) error { state, err = h.holder.Hold(ctx); return err })
	return state, err
}
