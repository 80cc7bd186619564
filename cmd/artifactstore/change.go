package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/internal/config"
	"artifactstore/internal/metastore"
	"artifactstore/retention"
)

// addChange is addLook for verbs that change the store.
func addChange(cmd *cobra.Command) *look {
	l := addLook(cmd)
	l.changes = func() bool { return true }
	cmd.Flags().Lookup("data").Usage = "open the store in this data `FOLDER`, which no server uses, instead of asking a server"
	cmd.Flags().Lookup("json").Usage = "print the result as one JSON object"
	return l
}

// reason adds the flag of verbs that have to be answered for; what says what of.
func (l *look) reason(what string) *string {
	text := l.cmd.Flags().String("reason", "", "why, for those who read the log later; it is kept where it can be erased (`TEXT`, required)")
	l.checks = append(l.checks, func([]string) error {
		if strings.TrimSpace(*text) == "" {
			return &usageError{l.cmd.CommandPath(), "--reason is missing: say why " + what}
		}
		return nil
	})
	return text
}

// until adds the flag of verbs that set an end. The time is zero if none is given;
// required says that one must be.
func (l *look) until(usage string, required bool) *time.Time {
	at := new(time.Time)
	text := l.cmd.Flags().String("until", "", "`WHEN` "+usage+": a date, a time as in RFC 3339, or from now on a term such as 90d")
	l.checks = append(l.checks, func([]string) (err error) {
		if !l.cmd.Flags().Changed("until") && !required {
			return nil
		}
		if *at, err = parseUntil(*text, time.Now()); err != nil {
			return &usageError{l.cmd.CommandPath(), "--until" + err.Error()}
		}
		return nil
	})
	return at
}

// parseUntil reads an end: 2027-01-31, where that day begins in UTC,
// 2027-01-31T12:00:00Z, or a term, as retention policies have them, from now on.
// The error goes on behind the name of what is read.
func parseUntil(text string, now time.Time) (time.Time, error) {
	switch text {
	case "":
		return time.Time{}, errors.New(" is missing: a date as in 2027-01-31, a time as in 2027-01-31T12:00:00Z, or a term such as 90d")
	case retention.Forever.String():
		return time.Time{}, errors.New(": never is no time")
	}
	var date retention.Date
	if date.UnmarshalText([]byte(text)) == nil {
		return date.Time().UTC(), nil
	}
	term, err := retention.ParseTerm(text)
	if err != nil {
		return time.Time{}, fmt.Errorf(" %s: want a date as in 2027-01-31, a time as in 2027-01-31T12:00:00Z, or a whole number with one of the units s, m, h, d, w and y", text)
	}
	return now.Add(time.Duration(term)).UTC().Truncate(time.Second), nil
}

// openToChange opens a store that is there, to change it without a server. Where it
// has a data folder no server may use that meanwhile; nodes on PostgreSQL may run.
func (l *look) openToChange(ctx context.Context, c *config.Config, log *slog.Logger) (_ *store, err error) {
	if c.Storage.Driver == config.InMemory {
		return nil, &usageError{l.cmd.CommandPath(), "this store keeps objects in the memory of its server: ask that with --server"}
	}
	s := new(store)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	h := homeOf(c)
	unlock, err := h.claim(false)
	if errors.Is(err, errInUse) {
		return nil, fmt.Errorf("%w; a running server is asked with --server", err)
	}
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, unlock)
	s.ledger, err = h.openLedger(ctx, metastore.Options{Log: log, Refill: reportRefill(l.cmd.ErrOrStderr())}, false, nil)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.ledger.Close)
	if err := s.ledger.Fit(); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w; or ask one of them with --server", h, err)
	}
	return s, s.openRegistry(ctx, h, false, log)
}

// change asks for a change, and prints the JSON document of the answer as it is, or
// hands it to page.
func change[T any](ctx context.Context, in *inside, method, path string, body any, page func(T) error) error {
	text, err := in.Change(ctx, method, path, body)
	if err != nil {
		return err
	}
	return printed(in, text, page)
}

// work is change for what takes its time. Now and then it says how far it is, as
// tell puts it.
func work[P, R any](ctx context.Context, in *inside, path string, body any, tell func(P) string, page func(R) error) error {
	text, err := in.task(ctx, path, body, telling(tell))
	if err != nil {
		return err
	}
	return printed(in, text, page)
}

// task asks for what takes its time, and returns the JSON document of its result.
func (in *inside) task(ctx context.Context, path string, body any, tell func(json.RawMessage) (string, error)) (json.RawMessage, error) {
	const interval = time.Second
	last := time.Now()
	return in.Work(ctx, path, body, func(line json.RawMessage) error {
		now := time.Now()
		if now.Sub(last) < interval {
			return nil
		}
		last = now
		text, err := tell(line)
		if err == nil {
			fmt.Fprintln(in.notes, plain(text))
		}
		return err
	})
}

// telling puts progress into words.
func telling[P any](words func(P) string) func(json.RawMessage) (string, error) {
	return func(line json.RawMessage) (string, error) {
		progress, err := decode[P](line)
		if err != nil {
			return "", err
		}
		return words(progress), nil
	}
}

// confirm wants a yes for what cannot be undone: the flag --yes, or a person at a
// terminal who types it. Nothing is read from what is no terminal.
func (l *look) confirm(question func(args []string) string) {
	yes := l.cmd.Flags().Bool("yes", false, "do not ask; needed where no terminal is there to ask at, and with --json")
	l.checks = append(l.checks, func(args []string) error {
		if *yes {
			return nil
		}
		stdin := l.cmd.InOrStdin()
		if l.json || !terminal(stdin) {
			return &usageError{l.cmd.CommandPath(), "this cannot be undone: give --yes to say that it is meant"}
		}
		fmt.Fprintf(l.cmd.ErrOrStderr(), "%s Type yes to go on: ", plain(question(args)))
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("read the answer: %w", err)
		}
		if strings.TrimSpace(line) != "yes" {
			return errors.New("nothing was done")
		}
		return nil
	})
}
