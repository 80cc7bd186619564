package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
)

// addJSON adds the flag --json to a command that ends with one answer.
func addJSON(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print the result as one JSON object")
}

// answer prints what came of a command: v as one JSON object, or text as a line.
func answer(w io.Writer, asJSON bool, v any, text string) error {
	if asJSON {
		return json.NewEncoder(w).Encode(v)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// logEnd is the end of a log in JSON, as backup and rebuild print it.
type logEnd struct {
	Log      string `json:"log"`
	Sequence uint64 `json:"sequence"`
	Chain    string `json:"chain"`
}

func endOf(h eventlog.Head) logEnd {
	return logEnd{Log: h.Log, Sequence: uint64(h.Sequence), Chain: h.Chain.String()}
}
