//go:build !race

package metastore_test

const underRace = false
