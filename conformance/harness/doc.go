// Package harness runs the real server for black box tests: it builds the
// binary, starts, stops and kills it, speaks HTTP to it, and proves at the end
// of each test that replaying the log gives the live state.
//
// Everything goes to 127.0.0.1. Nothing here imports the server's packages.
package harness
