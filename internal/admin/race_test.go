//go:build race

package admin_test

// underRace tells whether the race detector watches.
const underRace = true
