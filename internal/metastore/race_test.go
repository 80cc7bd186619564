//go:build race

package metastore_test

// underRace tells that the race detector runs, which makes SQLite ten times
// slower: what has one goroutine then runs in a shorter form.
const underRace = true
