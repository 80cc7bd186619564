package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker: -ldflags "-X main.version=1.2.3 -X main.commit=abc".
var (
	version string
	commit  string
)

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit it was built from, the Go version and the platform",
		Example: `  artifactstore version
  artifactstore version --json`,
		Args: noArguments,
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, c := buildVersion()
		platform := runtime.GOOS + "/" + runtime.GOARCH
		if !*asJSON {
			return printFields(cmd.OutOrStdout(), []field{{"version", v}, {"commit", c}, {"go", runtime.Version()}, {"platform", platform}})
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
			"version": v, "commit": c, "go": runtime.Version(), "platform": platform,
		})
	}
	return cmd
}

// buildVersion returns what the linker was told, else what the Go tool wrote
// into the binary.
func buildVersion() (v, c string) {
	v, c = version, commit
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if v == "" {
		v = info.Main.Version
	}
	if c == "" {
		c = revision(info.Settings)
	}
	if v == "" {
		v = "unknown"
	}
	if c == "" {
		c = "unknown"
	}
	return v, c
}

// revision is the commit of a build in a work tree, with "-dirty" if files
// had been changed since.
func revision(settings []debug.BuildSetting) (commit string) {
	dirty := ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty
}
