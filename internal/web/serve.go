package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// killTimeout is how long handlers get to notice that their connection was
// closed under them.
const killTimeout = 5 * time.Second

// Serve serves handler, behind Wrap, on listener, which it closes, until ctx is
// done. Then it takes no more connections, waits for the requests in flight for
// at most Options.DrainTimeout, and closes what is left. It returns nil if every
// request was answered, and not before the handlers have returned, as far as
// they do so soon after their connections were closed.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o = o.withDefaults()
	var flight inFlight
	server := &http.Server{
		Handler:           flight.count(Wrap(handler, o)),
		ReadHeaderTimeout: o.HeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		// "OPTIONS *" is a request like others: it is logged.
		DisableGeneralOptionsHandler: true,
		// Requests in flight outlive ctx: they are drained.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		TLSConfig:   tlsConfig(o.TLS),
	}
	failed := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			failed <- server.ServeTLS(listener, "", "")
		} else {
			failed <- server.Serve(listener)
		}
	}()
	select {
	case err := <-failed:
		server.Close()
		flight.wait(killTimeout)
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	err := drain(ctx, server, &flight, o.DrainTimeout)
	<-failed
	return err
}

func drain(ctx context.Context, server *http.Server, flight *inFlight, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	server.Close()
	left := flight.wait(killTimeout)
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving: %w", err)
	}
	return fmt.Errorf("stop serving: requests were cut off after %v; %d handlers still run", timeout, left)
}

func tlsConfig(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// inFlight counts the handlers that run. Unlike a WaitGroup it can be waited
// for with a limit, and while new ones begin.
type inFlight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n reaches 0; nil while nobody waits
}

func (f *inFlight) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.add(1)
		defer f.add(-1)
		next.ServeHTTP(w, r)
	})
}

func (f *inFlight) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
	if f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// wait returns how many handlers still run after at most timeout. It has one
// caller at a time.
func (f *inFlight) wait(timeout time.Duration) int {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return 0
	}
	idle := make(chan struct{})
	f.idle = idle
	f.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(timeout):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}
