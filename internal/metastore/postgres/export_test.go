package postgres

// Peek is peek, for tests.
var Peek = peek
