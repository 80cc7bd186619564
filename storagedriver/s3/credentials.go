package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// maxKeyFile is more than any key is long.
const maxKeyFile = 4 << 10

// fileKeys are credentials in two files, which may change at any time.
type fileKeys struct {
	access, secret string // paths

	mu     sync.Mutex
	seen   [2]os.FileInfo
	values aws.Credentials
}

// credentials are those in files, nil if there are none.
func (o Options) credentials() (*fileKeys, error) {
	if o.AccessKeyIDFile == "" {
		return nil, nil
	}
	k := &fileKeys{access: o.AccessKeyIDFile, secret: o.SecretAccessKeyFile}
	_, err := k.read()
	return k, err
}

// Retrieve implements aws.CredentialsProvider. It looks whether the files have
// changed, which is cheap beside a request.
func (k *fileKeys) Retrieve(context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	seen, values := k.seen, k.values
	k.mu.Unlock()
	access, err := os.Stat(k.access)
	if err == nil && same(access, seen[0]) {
		var secret os.FileInfo
		if secret, err = os.Stat(k.secret); err == nil && same(secret, seen[1]) {
			return values, nil
		}
	}
	if _, err := k.read(); err != nil {
		return aws.Credentials{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.values, nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read reads the files, and tells whether they hold other keys than before.
func (k *fileKeys) read() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var seen [2]os.FileInfo
	access, err := readKey(k.access, &seen[0])
	if err != nil {
		return false, fmt.Errorf("access key id: %w", err)
	}
	secret, err := readKey(k.secret, &seen[1])
	if err != nil {
		return false, fmt.Errorf("secret access key: %w", err)
	}
	changed = access != k.values.AccessKeyID || secret != k.values.SecretAccessKey
	k.seen = seen
	k.values = aws.Credentials{AccessKeyID: access, SecretAccessKey: secret, Source: "files"}
	return changed, nil
}

// readKey reads a file of one word.
func readKey(path string, seen *os.FileInfo) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	if *seen, err = f.Stat(); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(data))
	if key == "" || strings.ContainsAny(key, " \t\r\n") {
		return "", fmt.Errorf("file %s: want one word in one line", path)
	}
	return key, nil
}

// renewed tells whether a refused request is worth another attempt, because
// the files hold other keys by now.
func (k *fileKeys) renewed(err error) aws.Ternary {
	var api smithy.APIError
	if k == nil || !errors.As(err, &api) {
		return aws.UnknownTernary
	}
	switch api.ErrorCode() {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden", "AccessDenied", "ExpiredToken":
		changed, err := k.read()
		return aws.BoolTernary(err == nil && changed)
	}
	return aws.UnknownTernary
}
