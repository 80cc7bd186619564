package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/internal/config"
	"artifactstore/internal/inproc"
	"artifactstore/internal/web"
)

// defaultServer is where serve has its operators' API unless it is told otherwise.
const defaultServer = "http://127.0.0.1:5001"

// look is what the verbs that look inside have in common: a choice of what to
// look into. It is always asked by the operators' API: that of a server, or one
// that is served to this process alone, over a store in a folder.
type look struct {
	cmd  *cobra.Command
	json bool
	// logOnly: the verb needs the log and nothing else, so that it also
	// works where the views must be rebuilt.
	logOnly bool
	// changes tells whether the verb changes the store, which without a server
	// is opened by this process alone then; nil if it never does.
	changes func() bool
	// checks judge the command line before anything is opened.
	checks []func(args []string) error

	server, data, file string
}

// inside is what a verb looks into, and where it prints what it sees.
type inside struct {
	*adminclient.Client
	out   *bufio.Writer
	notes io.Writer // for the operator, while it goes on
	json  bool
	// about is what the verb was asked about, for errors and advice; hint is what
	// to do about an error, if the verb knows.
	about, hint string
	// again are the flags that lead here, for advice; empty or with a space
	// before them.
	again string
}

func addLook(cmd *cobra.Command) *look {
	l := &look{cmd: cmd}
	cmd.ValidArgsFunction = cobra.NoFileCompletions // verbs that take names complete them
	flags := cmd.Flags()
	flags.StringVar(&l.server, "server", "", "`ADDRESS` of the operators' API of a running server (default "+defaultServer+", or $"+config.ServerVariable+")")
	flags.StringVar(&l.data, "data", "", "open the store in this data `FOLDER` instead of asking a server")
	flags.StringVar(&l.file, "config", "", "open the store that this configuration `FILE` names instead of asking a server")
	flags.BoolVar(&l.json, "json", false, "print JSON: an object, or for lists one object a line")
	flags.SortFlags = false
	return l
}

// limit adds the flag of verbs that print lists.
func (l *look) limit() *uint64 {
	return l.cmd.Flags().Uint64P("limit", "n", 0, "stop after `N` entries (default: all)")
}

// wide adds the flag of verbs that print tables with digests.
func (l *look) wide() *bool {
	return l.cmd.Flags().Bool("wide", false, "print whole digests in tables")
}

// run gives the verb its work.
func (l *look) run(do func(ctx context.Context, in *inside, args []string) error) {
	l.cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, check := range l.checks {
			if err := check(args); err != nil {
				return err
			}
		}
		client, done, err := l.open(cmd.Context(), cmd.ErrOrStderr(), l.changes != nil && l.changes())
		if err != nil {
			return err
		}
		in := &inside{Client: client, out: bufio.NewWriter(cmd.OutOrStdout()), notes: cmd.ErrOrStderr(), json: l.json, again: l.again()}
		if len(args) > 0 {
			in.about = args[0]
		}
		err = do(cmd.Context(), in, args)
		err = explain(cmd, in, err)
		if flush := in.out.Flush(); !errors.Is(err, flush) { // it may be what ended the verb
			err = errors.Join(flush, err)
		}
		return errors.Join(err, done())
	}
}

// inFolder tells whether a store is looked into without a server.
func (l *look) inFolder() bool {
	return l.cmd.Flags().Changed("data") || l.cmd.Flags().Changed("config")
}

// again repeats the choice.
func (l *look) again() string {
	text := ""
	for _, name := range []string{"server", "data", "config"} {
		if f := l.cmd.Flags().Lookup(name); f.Changed {
			text += " --" + name + " " + f.Value.String()
		}
	}
	return text
}

// open returns a client of what was chosen, and what ends it.
func (l *look) open(ctx context.Context, stderr io.Writer, change bool) (*adminclient.Client, func() error, error) {
	if l.inFolder() {
		return l.openFolder(ctx, stderr, change)
	}
	server, where := l.server, "--server"
	if server == "" {
		server, where = os.Getenv(config.ServerVariable), config.ServerVariable
	}
	if server == "" {
		server = defaultServer
	}
	address, err := adminclient.ParseServer(server)
	if err != nil {
		return nil, nil, &usageError{l.cmd.CommandPath(), fmt.Sprintf("%s: %s: %v", where, server, err)}
	}
	return adminclient.New(address, nil, agent()), func() error { return nil }, nil
}

func (l *look) openFolder(ctx context.Context, stderr io.Writer, change bool) (*adminclient.Client, func() error, error) {
	if l.server != "" {
		return nil, nil, &usageError{l.cmd.CommandPath(), "--server asks a running server, --data and --config open a folder without one: give only one of them"}
	}
	var flags []config.Setting
	if l.data != "" {
		flags = append(flags, config.Setting{Key: "data", Value: l.data, Where: "--data"})
	}
	file := l.file
	if file == "" {
		file = os.Getenv(config.FileVariable)
	}
	c, err := config.Load(file, os.Environ(), flags)
	if err != nil {
		return nil, nil, err
	}
	// There is no server's log that could say why something failed.
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	var store *store
	if change {
		store, err = l.openToChange(ctx, &c.Config, log)
	} else {
		store, err = openInside(ctx, &c.Config, l.logOnly, log)
	}
	if err != nil {
		return nil, nil, err
	}
	door := web.Wrap(adminDoor(&c.Config, store, ctx.Done(), nil, log), web.Options{Log: log, Failure: admin.Failure})
	return adminclient.New("http://localhost", inproc.Transport(door), agent()), store.close, nil
}

// agent is how this program names itself to servers.
func agent() string {
	v, _ := buildVersion()
	return "artifactstore/" + v
}
