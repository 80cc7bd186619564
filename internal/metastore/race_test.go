//go:build race

package metastore_test

func init() { underRace = true }
