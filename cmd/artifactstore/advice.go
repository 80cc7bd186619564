package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/registry"
)

// explain adds to what went wrong while looking inside what to do about it.
func explain(cmd *cobra.Command, in *inside, err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	if e, ok := errors.AsType[*adminclient.Unreachable](err); ok {
		return fmt.Errorf("no admin API at %s (%w): is 'artifactstore serve' running there? Name another with --server, or a stopped store with --data", e.Server, e.Err)
	}
	if e, ok := errors.AsType[*adminclient.Foreign](err); ok {
		return fmt.Errorf("%w, so no admin API of artifactstore is there: "+
			"it has a port of its own, 5001 unless admin.listen says otherwise; name it with --server", e)
	}
	if e, ok := errors.AsType[*adminclient.Cut](err); ok {
		return fmt.Errorf("%w; go on with --after %s", e, e.After)
	}
	if e, ok := errors.AsType[*adminclient.Refused](err); ok {
		return explainRefusal(cmd, in, e)
	}
	return err
}

func explainRefusal(cmd *cobra.Command, in *inside, e *adminclient.Refused) error {
	what := ""
	if in.about != "" {
		what = in.about + ": "
	}
	switch {
	case e.Status == http.StatusBadRequest:
		return &usageError{cmd.CommandPath(), what + e.Detail}
	case e.Code == "HOST_REFUSED":
		return fmt.Errorf("%w; name the server by a loopback address, or add its name to admin.hosts of its configuration", e)
	case e.Code == "ORIGIN_REFUSED":
		return fmt.Errorf("%w; something between here and the server adds it", e)
	case e.Code == "ENDPOINT_UNKNOWN":
		return fmt.Errorf("%w; the server is of another version than this program: see 'artifactstore status%s' and 'artifactstore version'", e, in.again)
	case e.Code == "CURSOR_UNKNOWN":
		return fmt.Errorf("%w; start over without --after", e)
	}
	if hint := in.whatNext(e); hint != "" {
		return fmt.Errorf("%s%w; %s", what, e, hint)
	}
	return fmt.Errorf("%s%w", what, e)
}

// whatNext names the command that tells more of a refusal.
func (in *inside) whatNext(e *adminclient.Refused) string {
	if in.hint != "" {
		return in.hint
	}
	if len(e.Holds) > 0 {
		return in.advice("hold list", "who placed it and why")
	}
	if e.Policy != "" {
		return in.advice("retention policies", "what it says")
	}
	return in.whatThereIs(e.Code)
}

// doubted looks whether something was refused because the clock is not believed, and
// returns err.
func (in *inside) doubted(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*adminclient.Refused](err)
	if !ok || refused.Code != registry.Conflict {
		return err
	}
	text, failed := in.Object(ctx, adminclient.Path("clock"))
	if failed != nil {
		return err // which says more
	}
	if c, failed := decode[admin.Clock](text); failed == nil && c.Jumped {
		in.hint = in.advice("clock", "since when, and how to confirm it")
	}
	return err
}

func (in *inside) advice(command, shows string) string {
	return fmt.Sprintf("'artifactstore %s%s' shows %s", command, in.again, shows)
}

// whatThereIs names the command that lists what could have been meant when
// something was not found.
func (in *inside) whatThereIs(code registry.Code) string {
	repository, _, byDigest := strings.Cut(in.about, "@")
	switch code {
	case registry.NameUnknown:
		return in.advice("repo list", "those there are")
	case registry.ManifestUnknown:
		if byDigest {
			return in.advice("manifest list "+repository, "those there are")
		}
		repository, _, _ = strings.Cut(repository, ":")
		return in.advice("tag list "+repository, "the tags there are")
	case registry.BlobUnknown:
		return in.advice("manifest list REPOSITORY", "the digests of manifests, and 'manifest references' those of their content")
	case registry.HoldUnknown:
		repository, _, _ = strings.Cut(repository, ":")
		return in.advice("hold list "+repository, "those there are")
	case registry.PlanUnknown:
		return in.advice("retention plans", "those there are")
	case registry.EventUnknown:
		return in.advice("events", "those there are")
	}
	return ""
}
