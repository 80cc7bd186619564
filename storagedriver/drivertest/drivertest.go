// Package drivertest is the suite that every storage driver passes. A bug found
// in one driver becomes a case here.
package drivertest

import (
	"testing"

	"artifactstore/storagedriver"
)

// Run runs every case as a subtest, each in a store of its own that open
// returns, empty. reopen returns another driver of the same store, as a process
// would that comes after a crash of the first; the first is not used any more.
// Both register what is to be cleaned up with t.
func Run(t *testing.T, open func(t *testing.T) storagedriver.Driver,
	reopen func(t *testing.T, old storagedriver.Driver) storagedriver.Driver,
) {
	t.Helper()
	for _, group := range [][]testCase{
		stagingCases(), resumeCases(), publishCases(), readCases(),
		deleteCases(), cancelCases(), grammarCases(), concurrentCases(), largeCases(), abilityCases(), placeCases(), walkCases(), ownerCases(),
	} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				c.run(&trial{T: t, d: open(t), again: reopen})
			})
		}
	}
}

// testCase is one sentence about drivers, and its proof.
type testCase struct {
	name string
	run  func(t *trial)
}
