package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret bounds a file that holds a secret, in bytes.
const maxSecret = 64 << 10

// Source returns how to reach PostgreSQL, secrets and all: DSN, or what is in
// DSNFile now. Errors name the file and never show what is in it.
func (d Database) Source() (string, error) {
	if d.DSNFile == "" {
		return string(d.DSN), nil
	}
	text, err := readSecret("database.dsn_file", d.DSNFile)
	if err != nil {
		return "", err
	}
	if problem := DSN(text).problem(); problem != "" {
		return "", fmt.Errorf("database.dsn_file: %s: %s", d.DSNFile, problem)
	}
	return text, nil
}

// AccessKey returns the id and the secret of the access key as they are in
// their files now, or two empty texts where no files are named. Errors name the
// file and never show what is in it.
func (s S3) AccessKey() (id, secret string, err error) {
	if s.AccessKeyIDFile == "" {
		return "", "", nil
	}
	if id, err = readSecret("s3.access_key_id_file", s.AccessKeyIDFile); err != nil {
		return "", "", err
	}
	if secret, err = readSecret("s3.secret_access_key_file", s.SecretAccessKeyFile); err != nil {
		return "", "", err
	}
	return id, secret, nil
}

// readSecret returns the text of a file without the end of its last line. The
// key is that which names the file.
func readSecret(key, name string) (text string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case len(data) > maxSecret:
		return "", fmt.Errorf("%s: %s is larger than 64 KiB: it holds something else", key, name)
	case strings.TrimSpace(text) == "":
		return "", fmt.Errorf("%s: %s is empty", key, name)
	}
	return text, nil
}
