package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// forms are the forms of a manifest, with the media type that asks for each.
var forms = map[string]string{"jcs": "application/json", "cbor": "application/cbor", "pushed": ""}

func manifestGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get " + manifestArgument,
		Short: "Print the bytes of a manifest: its native form, or as it was pushed",
		Long: `Get prints the bytes of a manifest, exactly:

  --form jcs     its native form as canonical JSON (RFC 8785); the default, and --json
  --form cbor    its native form, canonical CBOR, whose BLAKE3 is its native digest
  --form pushed  the bytes that the client pushed, whose digest is the manifest's`,
		Example: `  artifactstore manifest get demo:v1 | jq .
  artifactstore manifest get demo:v1 --form cbor --output manifest.cbor
  artifactstore manifest get demo:v1 --form pushed | sha256sum`,
		Args: exactly(manifestArgument),
	}
	l := addLook(cmd)
	form := cmd.Flags().String("form", "jcs", "`FORM` of the bytes: jcs, cbor or pushed")
	output := cmd.Flags().StringP("output", "o", "", "write to this `FILE`, which is replaced")
	l.completeTag()
	completeFlag(cmd, "form", "jcs", "cbor", "pushed")
	l.run(func(ctx context.Context, in *inside, args []string) error {
		accept, known := forms[*form]
		switch {
		case !known:
			return &usageError{cmd.CommandPath(), fmt.Sprintf("--form: %q is none of jcs, cbor and pushed", *form)}
		case in.json && *form != "jcs":
			return &usageError{cmd.CommandPath(), fmt.Sprintf("--json is --form jcs, and not --form %s", *form)}
		case *form == "cbor" && *output == "" && terminal(cmd.OutOrStdout()):
			return &usageError{cmd.CommandPath(), "CBOR is not for terminals: give --output FILE, or pipe it to another program"}
		}
		n, err := parseName(cmd, args[0])
		if err != nil {
			return err
		}
		var more []string
		if *form == "pushed" {
			more = append(more, "pushed")
		}
		from, err := in.Content(ctx, n.path(more...), accept)
		if err != nil {
			return err
		}
		defer from.Close() // read only
		if *output != "" {
			return save(*output, from)
		}
		_, err = io.Copy(in.out, from)
		return err
	})
	return cmd
}

// save writes a file, and leaves no part of one.
func save(file string, from io.Reader) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.Copy(f, from)
	}
	err = errors.Join(err, f.Close())
	if err != nil && info != nil && info.Mode().IsRegular() { // a device stays
		err = errors.Join(err, os.Remove(file))
	}
	if err != nil {
		return fmt.Errorf("save the manifest: %w", err)
	}
	return nil
}

// terminal tells whether a stream is one, as far as its mode says: the null device
// has the same.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
