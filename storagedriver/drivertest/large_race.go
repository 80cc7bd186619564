//go:build race

package drivertest

// largeCases is empty under the race detector: it looks at every byte of 5 GiB
// for longer than all other cases take, and one goroutine cannot race.
func largeCases() []testCase { return nil }
