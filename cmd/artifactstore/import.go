package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/distribution"
	"artifactstore/internal/config"
	"artifactstore/internal/importer"
	"artifactstore/internal/inproc"
	"artifactstore/internal/web"
)

// importFlags are the flags of import beside its settings.
type importFlags struct {
	from, fromRegistry, to, as         string
	repos                              []string
	jobs                               int
	plainHTTP, dryRun, overwrite, json bool
}

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Bring repositories along from another registry, its folder, or an archive",
		Long: `Import copies repositories with all tags, manifests, blobs and referrers from
elsewhere and keeps every digest. It pushes to the server at --to; with --data or
--config it opens a stopped store instead.

What is there already is passed over: an import that was interrupted goes on when it
is run again. A tag that names something else here is left alone unless --overwrite is
given. --dry-run copies nothing and lists what would be copied.

What cannot be brought is reported at the end, with the reason, and the rest is brought
nevertheless. The exit code is 0 if everything came and 1 if not. Credentials for
--from-registry and --to are those of 'docker login'.`,
		Example: `  artifactstore import --from /var/lib/registry                 a store of distribution, or of zot
  artifactstore import --from image.tar                         an archive of docker save or podman save
  artifactstore import --from layout --as team/app              an OCI layout
  artifactstore import --from-registry https://registry.example.com --repo 'team/**'
                                                                a registry that is running
  artifactstore import --from /var/lib/registry --data ./data   into a store that no server uses`,
		Args: noArguments,
	}
	s := addSettings(cmd, "data")
	var f importFlags
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "`FOLDER` or archive to import")
	flags.StringVar(&f.fromRegistry, "from-registry", "", "`URL` of a registry to import")
	flags.StringArrayVar(&f.repos, "repo", nil, "import only repositories that match `PATTERN`: * is any part of a path element, ** of a path (may be repeated)")
	flags.StringVar(&f.as, "as", "", "`NAME` of the repository for what has no name in the source")
	flags.StringVar(&f.to, "to", "http://127.0.0.1:5000", "`URL` of the server to push to")
	flags.IntVar(&f.jobs, "jobs", 4, "transfers at the same time")
	flags.BoolVar(&f.plainHTTP, "plain-http", false, "speak HTTP without TLS to registries beyond this machine too")
	flags.BoolVar(&f.overwrite, "overwrite", false, "move tags that name something else here")
	flags.BoolVar(&f.dryRun, "dry-run", false, "copy nothing, list what would be copied")
	flags.BoolVar(&f.json, "json", false, "print the report as one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		var stopped *config.Config
		if flags.Changed("data") || flags.Changed("config") {
			stopped = &c.Config
		}
		return f.run(cmd.Context(), stopped, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// check refuses flags that contradict each other.
func (f *importFlags) check(cmd *cobra.Command) error {
	var text string
	flags := cmd.Flags()
	switch {
	case (f.from == "") == (f.fromRegistry == ""):
		text = "name what to import: --from FOLDER, or --from-registry URL"
	case f.fromRegistry != "" && f.as != "":
		text = "--as names what has no name, and a registry has names for all"
	case flags.Changed("to") && (flags.Changed("data") || flags.Changed("config")):
		text = "--to names a running server, --data and --config a stopped store: choose one"
	case f.jobs < 1 || f.jobs > 64:
		text = "--jobs is from 1 to 64"
	default:
		return nil
	}
	return &usageError{cmd.CommandPath(), text}
}

// run imports into the stopped store, or into a running server if that is nil.
func (f *importFlags) run(ctx context.Context, stopped *config.Config, out, messages io.Writer) (err error) {
	source, patterns, err := f.source()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	fmt.Fprintf(messages, "importing from %s\n", source)
	endpoint, done, err := f.target(ctx, stopped, messages)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	target, err := importer.NewTarget(endpoint)
	if err != nil {
		return err
	}
	if err := target.Ping(ctx); err != nil {
		return err
	}
	const interval = 2 * time.Second
	o := importer.Options{Patterns: patterns, Jobs: f.jobs, DryRun: f.dryRun, Overwrite: f.overwrite, Progress: messages, Interval: interval}
	if !f.json {
		o.Listed = out
	}
	report, failed := importer.Run(ctx, source, target, o)
	return errors.Join(f.print(report, out), outcome(ctx, report, failed))
}

// source opens what to import.
func (f *importFlags) source() (importer.Source, importer.Patterns, error) {
	patterns, err := importer.ParsePatterns(f.repos)
	if err != nil {
		return nil, patterns, err
	}
	if f.from != "" {
		source, err := importer.Open(f.from, f.as)
		return source, patterns, err
	}
	endpoint, err := importer.ParseEndpoint(f.fromRegistry, f.plainHTTP)
	if err != nil {
		return nil, patterns, err
	}
	source, err := importer.OpenRegistry(endpoint, patterns)
	return source, patterns, err
}

// target is the server to push to. A stopped store is opened for that, and done
// closes it.
func (f *importFlags) target(ctx context.Context, stopped *config.Config, messages io.Writer) (_ importer.Endpoint, done func() error, err error) {
	if stopped == nil {
		endpoint, err := importer.ParseEndpoint(f.to, f.plainHTTP)
		return endpoint, func() error { return nil }, err
	}
	endpoint := importer.Endpoint{Host: "store", Name: "the store in " + homeOf(stopped).String(), PlainHTTP: true}
	if _, err := existing(stopped.Data); err != nil && f.dryRun && !homeOf(stopped).shared() {
		endpoint.Transport = inproc.Transport(http.HandlerFunc(nothing))
		return endpoint, func() error { return nil }, nil
	}
	quiet := stopped.Log
	if quiet.Level != config.Error {
		quiet.Level = config.Warn // a line for each request would hide all others
	}
	log := newLogger(quiet, messages)
	limitMemory(stopped)
	store, err := openStore(ctx, stopped, log, nil)
	if err != nil {
		return endpoint, nil, err
	}
	inside := routes(store, distribution.Options{Held: store.held, NoRedirect: true})
	endpoint.Transport = inproc.Transport(web.Wrap(inside, web.Options{Log: log, Failure: distribution.Failure}))
	return endpoint, store.close, nil
}

// nothing is a registry in which there is nothing, for a dry run into a store
// that is not there yet.
func nothing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v2/" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Artifactstore-Api", "distribution")
}

func (f *importFlags) print(r *importer.Report, out io.Writer) error {
	if !f.json {
		return r.Write(out)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

// outcome is the error for an import that did not bring everything.
func outcome(ctx context.Context, r *importer.Report, err error) error {
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted: what was copied stays; run it again and it goes on")
	case err != nil && r.Repositories > 0:
		return fmt.Errorf("the import ended early: %w; what was copied stays; run it again and it goes on", err)
	case err != nil:
		return err
	case r.Failures() == 1:
		return errors.New("1 item was refused; the report says why")
	case r.Failures() > 0:
		return fmt.Errorf("%d items were refused; the report says why", r.Failures())
	}
	return nil
}
