package filesystem

import (
	"fmt"
	"strings"

	"artifactstore/storagedriver"
)

const blake3Digits = 64

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
	if !isObject(locator) || locator[shardDigits+blake3Digits:] != "-"+id {
		return "", fmt.Errorf("locator %q is not of %s: %w", locator, id, storagedriver.ErrInvalid)
	}
	return objectsFolder + "/" + locator, nil
}

// shardDigits is the length of "ab/cd/".
const shardDigits = 6

// isObject tells whether Locate could have returned a locator. Other ones of
// the grammar name nothing, even where a folder has their name.
func isObject(locator string) bool {
	if len(locator) < shardDigits+blake3Digits+2 || strings.Count(locator, "/") != 2 {
		return false
	}
	shard, name := locator[:shardDigits], locator[shardDigits:]
	id, dashed := strings.CutPrefix(name[blake3Digits:], "-")
	return dashed && storagedriver.CheckID(id) == nil &&
		shard == name[:2]+"/"+name[2:4]+"/" &&
		strings.Trim(name[:blake3Digits], "0123456789abcdef") == ""
}
