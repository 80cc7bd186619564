package admin

import "time"

// Hold is a hold that was placed and not released. Tag and Digest are absent if
// it is on the whole repository.
type Hold struct {
	Name       string     `json:"name"`
	Repository string     `json:"repository"`
	Tag        string     `json:"tag,omitempty"`
	Digest     string     `json:"digest,omitempty"` // BLAKE3 of the manifest as pushed
	Placed     time.Time  `json:"placed"`
	Until      *time.Time `json:"until,omitempty"` // absent: until it is released
	// Ended: its end has come. It holds nothing, and is listed until it is released.
	Ended    bool   `json:"ended,omitempty"`
	Actor    string `json:"actor"`
	Reason   string `json:"reason,omitempty"` // absent if it was erased
	Sequence uint64 `json:"sequence"`         // of the event that placed it
}

// HoldRequest is the body of POST /holds, which answers with the Hold. At most
// one of Tag and Digest is set; neither means the whole repository.
type HoldRequest struct {
	Name       string     `json:"name"`
	Repository string     `json:"repository"`
	Tag        string     `json:"tag,omitempty"`
	Digest     string     `json:"digest,omitempty"` // any of the manifest's
	Until      *time.Time `json:"until,omitempty"`
	Reason     string     `json:"reason"`
}

// HoldRelease is the body of POST /holds/release.
type HoldRelease struct {
	Name       string `json:"name"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Reason     string `json:"reason"`
}

// HoldReleased is the answer to a HoldRelease.
type HoldReleased struct {
	Name       string `json:"name"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
}
