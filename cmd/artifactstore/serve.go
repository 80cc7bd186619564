package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/distribution"
	"artifactstore/internal/admin"
	"artifactstore/internal/config"
	"artifactstore/internal/web"
	"artifactstore/internal/worker"
)

// The intervals of background work.
const (
	purgeInterval = time.Hour   // of removing upload sessions that have expired
	noteInterval  = time.Minute // of noting what was pulled, and that the clock is watched
)

// lastNotes is how long noting the last pulls may take when the server stops.
const lastNotes = 10 * time.Second

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the registry",
		Long: `Serve runs the registry until SIGTERM or SIGINT. Then it takes no more
requests, finishes those in flight and exits; a second signal ends it at once.

With no arguments it listens on 127.0.0.1:5000 and keeps its data in ./data.

There are no accounts yet: whoever reaches the port can pull, push and delete. Beyond this
machine it serves only with --insecure-no-auth, for when something else guards the port, such
as nginx with a password (configs/compose).

Every setting is a key of a YAML file (--config) or an environment variable, such as
ARTIFACTSTORE_TLS_CERT for tls.cert. Those that are wanted first:

  tls.cert, tls.key     serve HTTPS with this certificate
  storage.min_free      refuse pushes when less of the disk is free
  delete.enabled        whether clients may delete
  log.level             debug, info, warn or error

'artifactstore config show' prints all of them. More is in docs/quickstart.md, and about
running it for long in docs/operations.md.`,
		Example: `  artifactstore serve                                        start
  oras push --plain-http localhost:5000/demo:v1 file.txt     push
  oras pull --plain-http localhost:5000/demo:v1              pull
  docker push localhost:5000/team/image:1.0                  push an image
  artifactstore tag history demo:v1                          see who moved a tag, and when
  artifactstore healthcheck                                  see whether it takes pushes`,
		Args: noArguments,
	}
	s := addSettings(cmd, serveKeys...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		return serve(cmd.Context(), &c.Config, cmd.ErrOrStderr())
	}
	return cmd
}

// serve runs the registry until ctx is done; it speaks to the operator on w.
func serve(ctx context.Context, c *config.Config, w io.Writer) (err error) {
	if err := checkExposure(c); err != nil {
		return err
	}
	certificate, err := loadCertificate(c.TLS)
	if err != nil {
		return err
	}
	log := newLogger(c.Log, w)
	limitMemory(c)
	watch, err := newWatch(ctx, log)
	if err != nil {
		return err
	}
	defer watch.stop(ctx)
	store, err := openStore(ctx, c, log, watch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	watch.state(ctx, store)
	inForce, err := putPolicies(ctx, c, store)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	doors, err := openDoors(ctx, c, store, certificate, log)
	if err != nil {
		return err
	}
	greet(c, doors, w)
	for _, d := range doors {
		log.Info("serving", "door", d.name, "address", d.Addr().String(), "keeps", homeOf(c).keeps(), "tls", d.options.TLS != nil)
	}
	var later sync.WaitGroup
	if !inForce {
		later.Go(func() { putPoliciesLater(ctx, c, store, log) })
	}
	err = run(ctx, stop, c, store, doors, log)
	later.Wait() // run returns when ctx is done
	log.Info("stopped")
	return err
}

// besides is what the process needs beside the memory budget: the heap of an
// idle server, stacks, and the caches of the database's connections.
const besides = 32 << 20

// limitMemory makes the collector work harder when memory gets near what was
// budgeted, unless the operator has given it a limit of another size.
func limitMemory(c *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(c.Limits.MemoryBudget) + besides)
	}
}

// door is a listener and what it serves.
type door struct {
	net.Listener
	name    string
	handler http.Handler
	options web.Options
}

// openDoors opens the listeners: that of clients, then that of operators.
func openDoors(ctx context.Context, c *config.Config, store *store, certificate *tls.Config, log *slog.Logger) ([]door, error) {
	o := web.Options{
		Log: log, Observe: store.watch.requests(), Failure: distribution.Failure, TLS: certificate,
		MinRate: int64(c.Limits.BodyMinRate), HeaderTimeout: time.Duration(c.Limits.HeaderTimeout),
		HeaderBytes: int(c.Limits.HeaderSize), DrainTimeout: time.Duration(c.Shutdown.Timeout),
	}
	listener, err := listen(c, c.Listen, "--listen")
	if err != nil {
		return nil, err
	}
	doors := []door{{listener, "registry", routes(store, distribution.Options{Held: store.held}), o}}
	if c.Admin.Listen == config.Off {
		return doors, nil
	}
	if listener, err = listen(c, c.Admin.Listen, "--admin-listen"); err != nil {
		return nil, errors.Join(err, doors[0].Close())
	}
	o.Failure, o.TLS = admin.Failure, nil
	return append(doors, door{listener, "admin", adminDoor(c, store, ctx.Done(), store.ready, log), o}), nil
}

// run serves the store and does its background work until ctx is done or a
// door fails, which stops the rest, and returns when all of it has ended.
func run(ctx context.Context, stop context.CancelFunc, c *config.Config, store *store, doors []door, log *slog.Logger) error {
	var background sync.WaitGroup
	background.Go(func() {
		worker.Every(ctx, noteInterval, func(ctx context.Context) { takeNotes(ctx, store, log) })
	})
	for _, d := range duties(c, store, log) {
		background.Go(func() {
			if worker.Pause(ctx, d.delay) {
				worker.Exclusive(ctx, loggedLease{store.ledger, log}, d.name, d.interval, d.work)
			}
		})
	}
	failed := make([]error, len(doors))
	for i, d := range doors {
		background.Go(func() {
			defer stop() // one door alone is no server
			failed[i] = web.Serve(ctx, d.Listener, d.handler, d.options)
		})
	}
	background.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastNotes)
	defer cancel()
	flushPulls(last, store, log) // the doors are closed: there will be no more
	return errors.Join(failed...)
}

// duty is work in the background that one node does at a time.
type duty struct {
	name            string // of its lease
	delay, interval time.Duration
	work            func(context.Context)
}

// settling is for how long a server that has just started leaves aside what can
// wait.
const settling = time.Minute

// duties are what is done in the background by these settings.
func duties(c *config.Config, store *store, log *slog.Logger) []duty {
	wait := func(interval config.Duration) time.Duration { return min(settling, time.Duration(interval)) }
	all := []duty{
		{"uploads", 0, purgeInterval, func(ctx context.Context) { purgeUploads(ctx, store, log) }},
		{"retention", wait(c.Retention.Interval), time.Duration(c.Retention.Interval), func(ctx context.Context) { applyRetention(ctx, c, store, log) }},
	}
	if c.Sweep.Interval > 0 {
		all = append(all, duty{"sweep", wait(c.Sweep.Interval), time.Duration(c.Sweep.Interval), func(ctx context.Context) { sweep(ctx, c, store, log) }})
	}
	if c.Scrub.Rate > 0 {
		all = append(all, duty{"scrub", settling, scrubInterval, func(ctx context.Context) { scrub(ctx, store, log) }})
	}
	return all
}

// routes is all that clients reach. It is no http.ServeMux because that
// answers paths which are not clean by a redirect, before the API can refuse
// them in its own form.
func routes(store *store, o distribution.Options) http.Handler {
	live, ready := web.Live(), web.Ready(store.ready)
	api := distribution.New(store.registry, o)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			path = "" // the API refuses it in its own form
		}
		switch path {
		case "/livez":
			live.ServeHTTP(w, r)
		case "/readyz":
			ready.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// takeNotes notes what only this process knows.
func takeNotes(ctx context.Context, store *store, log *slog.Logger) {
	if err := store.registry.Heartbeat(ctx); err != nil && ctx.Err() == nil {
		log.Error("it could not be noted that the clock is watched", "error", err)
	}
	flushPulls(ctx, store, log)
}

func flushPulls(ctx context.Context, store *store, log *slog.Logger) {
	if err := store.registry.FlushPulls(ctx); err != nil && ctx.Err() == nil {
		log.Error("pulls could not be recorded", "error", err)
	}
}

func purgeUploads(ctx context.Context, store *store, log *slog.Logger) {
	removed, err := store.registry.PurgeUploads(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		log.Error("upload sessions could not be purged", "removed", removed, "error", err)
	case removed > 0:
		log.Info("upload sessions purged", "removed", removed)
	}
}

// listen opens the address, and makes sure that a name did not lead beyond
// loopback.
func listen(c *config.Config, address, flag string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with %s", err, flag)
	}
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !c.InsecureNoAuth && (!ok || !addr.IP.IsLoopback()) {
		return nil, errors.Join(fmt.Errorf("refusing to listen: %s is %s, which other machines can reach", address, listener.Addr()), listener.Close())
	}
	return listener, nil
}

func loadCertificate(c config.TLS) (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("load tls.cert and tls.key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}

func newLogger(c config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level.Slog()}
	if c.Format == config.JSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// greet tells a person where everything is. Logs in JSON are for programs,
// which would stumble over it.
func greet(c *config.Config, doors []door, w io.Writer) {
	if c.Log.Format == config.JSON {
		return
	}
	address := doors[0].Addr()
	scheme, plain := "https", "--plain-http=false" // oras speaks HTTP to localhost unless it is told not to
	if c.TLS.Cert == "" {
		scheme, plain = "http", "--plain-http"
	}
	fmt.Fprintf(w, "artifactstore listens on %s://%s and keeps %s\n", scheme, address, homeOf(c).keeps())
	fmt.Fprintf(w, "Push to it:  oras push %s %s/demo:v1 FILE    Stop it:  Ctrl-C\n", plain, near(address))
	if len(doors) > 1 {
		host, flag := near(doors[1].Addr()), ""
		if "http://"+doors[1].Addr().String() != defaultServer {
			flag = " --server " + host
		}
		fmt.Fprintf(w, "Look inside:  artifactstore status%s, or http://%s%s/status\n", flag, host, admin.Prefix)
	}
}

// near is an address as it is reached from this machine.
func near(address net.Addr) string {
	if tcp, ok := address.(*net.TCPAddr); ok && (tcp.IP.IsLoopback() || tcp.IP.IsUnspecified()) {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return address.String()
}
