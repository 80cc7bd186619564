package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

const targetArgument = "REPOSITORY[:TAG|@DIGEST]"

func holdCommand() *cobra.Command {
	return group("hold", "Freeze repositories, tags and manifests, whatever else would delete them",
		holdPlaceCommand(), holdReleaseCommand(), holdListCommand())
}

// parseTarget reads what a hold is on: a repository, a tag or a manifest.
func parseTarget(cmd *cobra.Command, text string) (name, error) {
	if strings.ContainsAny(text, ":@") {
		return parseName(cmd, text)
	}
	if text == "" {
		return name{}, &usageError{cmd.CommandPath(), targetArgument + " is missing"}
	}
	return name{repository: text}, nil
}

func holdPlaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "place NAME " + targetArgument,
		Short: "Place a hold on a repository, a tag or a manifest",
		Long: `Place places a hold. It has a name, which clients see when they are refused, and a
reason; several can be on the same thing. Placing one of the same name there again gives it
another end and reason.

A hold on a manifest freezes it, what it references, and what refers to it, also what is
pushed later. One on a repository freezes all manifests in it. Nothing of that is deleted
or expires before the hold is released or has ended, whoever asks for it. Pushes go on, and
tags may move. A hold on a tag freezes the tag: it cannot be moved or deleted, and what it
names is frozen.`,
		Example: `  artifactstore hold place audit-2026 team/app --reason "audit of the year 2026"
  artifactstore hold place case-17 team/app:2.0 --until 2027-06-30 --reason "claim of a customer"
  artifactstore hold place case-18 team/app@sha256:... --until 90d --reason "under investigation"`,
		Args: exactly("NAME", targetArgument),
	}
	l := addChange(cmd)
	until := l.until("the hold ends by itself", false)
	reason := l.reason("it is placed")
	l.complete(noWords, targetWords)
	l.run(func(ctx context.Context, in *inside, args []string) error {
		in.about = args[1]
		n, err := parseTarget(cmd, args[1])
		if err != nil {
			return err
		}
		request := admin.HoldRequest{Name: args[0], Repository: n.repository, Tag: n.tag, Digest: n.digest, Reason: *reason}
		if !until.IsZero() {
			request.Until = until
		}
		return change(ctx, in, http.MethodPost, adminclient.Path("holds"), request, func(h admin.Hold) error {
			end := "until it is released"
			if h.Until != nil {
				end = "until " + moment(*h.Until)
			}
			_, err := fmt.Fprintf(in.out, "Hold %s is on %s %s.\n", h.Name, args[1], end)
			return err
		})
	})
	return cmd
}

func holdReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release NAME " + targetArgument,
		Short: "Release a hold",
		Long: `Release takes a hold away. Other holds on the same thing stay. What it has frozen goes
on living where it was: what had expired before still has its grace.`,
		Example: `  artifactstore hold release audit-2026 team/app --reason "audit closed"`,
		Args:    exactly("NAME", targetArgument),
	}
	l := addChange(cmd)
	reason := l.reason("it is released")
	l.complete(holdWords, targetWords)
	l.run(func(ctx context.Context, in *inside, args []string) error {
		in.about = args[1]
		n, err := parseTarget(cmd, args[1])
		if err != nil {
			return err
		}
		request := admin.HoldRelease{Name: args[0], Repository: n.repository, Tag: n.tag, Digest: n.digest, Reason: *reason}
		return change(ctx, in, http.MethodPost, adminclient.Path("holds", "release"), request, func(h admin.HoldReleased) error {
			_, err := fmt.Fprintf(in.out, "Hold %s on %s was released.\n", h.Name, args[1])
			return err
		})
	})
	return cmd
}

func holdListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [REPOSITORY]",
		Short: "List the holds, or those on a repository and in it",
		Example: `  artifactstore hold list
  artifactstore hold list team/app --json | jq -r .reason`,
		Args: atMost(1),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path := adminclient.Path("holds")
		if len(args) > 0 {
			var err error
			if path, err = parseRepository(cmd, args[0], "holds"); err != nil {
				return err
			}
		}
		return holdTable(*wide).print(ctx, in, path, *limit)
	})
	return cmd
}

func holdTable(wide bool) listing[admin.Hold] {
	digest := shorter(wide)
	return listing[admin.Hold]{
		columns: []string{"NAME", "ON", "PLACED", "UNTIL", "ACTOR", "REASON"},
		row: func(h admin.Hold) []string {
			on := h.Repository
			if h.Tag != "" {
				on += ":" + h.Tag
			} else if h.Digest != "" {
				on += "@" + digest(h.Digest)
			}
			return []string{h.Name, on, moment(h.Placed), holdEnd(h), h.Actor, orDash(h.Reason)}
		},
	}
}

func holdEnd(h admin.Hold) string {
	switch {
	case h.Ended:
		return "ended " + moment(*h.Until)
	case h.Until != nil:
		return moment(*h.Until)
	}
	return "no end"
}

// momentOr is a time for people, or what stands for there being none.
func momentOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return moment(*t)
}
