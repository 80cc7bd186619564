package storagedriver

import (
	"bytes"
	"context"
	"fmt"
)

// Owned is an ability of drivers of places that say whose they are, so that no
// two stores take one of them for theirs.
type Owned interface {
	// Owner returns the id of the store whose objects these are, "" if the
	// place does not say.
	Owner(ctx context.Context) (string, error)
	// Own makes the place say that it is of this store, durably, if it does
	// not say anything yet, or says that it is of the store instead. It
	// returns whose it is then: of several that come at once all are told the
	// same. Ids are of the grammar of CheckID; instead may be "".
	Own(ctx context.Context, id, instead string) (owner string, err error)
}

// What a place says is one line.
const (
	ownerBegin = "artifactstore objects of log "
	ownerEnd   = "\n"
	// OwnerLimit is more than the line of an owner can have, in bytes.
	OwnerLimit = len(ownerBegin) + maxID + len(ownerEnd) + 1
)

// OwnerLine is what a place of this owner says.
func OwnerLine(id string) []byte { return []byte(ownerBegin + id + ownerEnd) }

// ParseOwner reads what a place says.
func ParseOwner(line []byte) (id string, err error) {
	rest, begun := bytes.CutPrefix(line, []byte(ownerBegin))
	name, ended := bytes.CutSuffix(rest, []byte(ownerEnd))
	if !begun || !ended || CheckID(string(name)) != nil {
		return "", fmt.Errorf("the owner of the store is written as %.80q, which this version does not understand", line)
	}
	return string(name), nil
}
