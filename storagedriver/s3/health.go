package s3

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"artifactstore/storagedriver"
)

const (
	healthAge     = 5 * time.Second  // of an answer that is asked for anew
	healthTimeout = 10 * time.Second // of asking
)

// health is the last answer to the question whether the bucket is there.
type health struct {
	running context.Context // until the driver is closed
	ask     func(context.Context) error
	log     *slog.Logger
	asking  sync.WaitGroup

	mu   sync.Mutex
	err  error
	at   time.Time
	busy bool
}

func (h *health) init(running context.Context, ask func(context.Context) error, log *slog.Logger) {
	h.running, h.ask, h.log = running, ask, log
}

// wait ends with the last question.
func (h *health) wait() { h.asking.Wait() }

// answer notes an answer, and logs one that is not as the last one was.
func (h *health) answer(err error) {
	h.mu.Lock()
	before := h.err
	h.err, h.at, h.busy = err, time.Now(), false
	h.mu.Unlock()
	switch {
	case h.running.Err() != nil: // closed
	case err != nil && before == nil:
		h.log.Warn("S3 bucket does not answer", "error", err)
	case err == nil && before != nil:
		h.log.Info("S3 bucket answers again")
	}
}

// last returns the last answer, and asks again behind the caller's back if
// that is old.
func (h *health) last() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.busy && time.Since(h.at) > healthAge && h.running.Err() == nil {
		h.busy = true
		h.asking.Go(func() {
			ctx, cancel := context.WithTimeout(h.running, healthTimeout)
			defer cancel()
			h.answer(h.ask(ctx))
		})
	}
	return h.err
}

// Health returns at once: S3 was asked at most some seconds ago. It has no
// limits that it would tell.
func (d *Driver) Health(ctx context.Context) (storagedriver.Health, error) {
	err := ctx.Err()
	if err == nil {
		err = d.health.last()
	}
	if err != nil {
		return storagedriver.Unlimited(), fmt.Errorf("health: %w", err)
	}
	return storagedriver.Unlimited(), nil
}
