package filesystem

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"artifactstore/storagedriver"
)

const (
	blake3Digits = 64
	hexDigits    = "0123456789abcdef"
)

// staged is the name of a staged object's file. The id was checked.
func staged(id string) string { return stagingFolder + "/" + id }

// published is the name of the file that the staged object id becomes.
func published(id, locator string) (string, error) {
	if err := storagedriver.CheckID(id); err != nil {
		return "", err
	}
	if err := storagedriver.CheckLocator(locator); err != nil {
		return "", err
	}
	if !isOwn(locator) || locator[shardDigits+blake3Digits:] != "-"+id {
		return "", fmt.Errorf("locator %q is not of %s: %w", locator, id, storagedriver.ErrInvalid)
	}
	return Name(locator), nil
}

// shardDigits is the length of "ab/cd/".
const shardDigits = 6

// isOwn tells whether Locate could have returned a locator.
func isOwn(locator string) bool {
	if len(locator) < shardDigits+blake3Digits+2 || strings.Count(locator, "/") != 2 {
		return false
	}
	shard, name := locator[:shardDigits], locator[shardDigits:]
	id, dashed := strings.CutPrefix(name[blake3Digits:], "-")
	return dashed && storagedriver.CheckID(id) == nil &&
		shard == name[:2]+"/"+name[2:4]+"/" &&
		strings.Trim(name[:blake3Digits], hexDigits) == ""
}

// Name is the name of an object's file below the folder of the store, with
// slashes, for a locator of the grammar.
//
// One that Locate returned is the name itself. One that another driver chose
// may be a folder of others, so it becomes a single name: no locator has a dot,
// and none of ours begins with the folder "foreign", which is no two digits.
func Name(locator string) string {
	if isOwn(locator) {
		return objectsFolder + "/" + locator
	}
	sum := sha256.Sum256([]byte(locator))
	return fmt.Sprintf("%s/%s/%02x/%02x/%s", objectsFolder, foreignFolder, sum[0], sum[1], strings.ReplaceAll(locator, "/", "."))
}
