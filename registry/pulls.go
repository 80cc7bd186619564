package registry

import (
	"context"
	"errors"
)

// FlushPulls records which manifests were pulled since the last call: at most one
// event for a manifest and day. It is to be called every minute and once more when
// the last request was answered. What could not be recorded is kept for the next call.
func (r *Registry) FlushPulls(ctx context.Context) error { return errors.ErrUnsupported }
