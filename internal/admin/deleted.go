package admin

import "time"

// DeletedManifest is a deleted manifest that can be put back.
type DeletedManifest struct {
	Repository   string    `json:"repository"`
	Digest       string    `json:"digest"` // by which it was pushed
	MediaType    string    `json:"mediaType"`
	ArtifactType string    `json:"artifactType,omitempty"`
	Size         int64     `json:"size"`
	Class        string    `json:"class"`
	Pushed       time.Time `json:"pushed"`
	Deleted      time.Time `json:"deleted"`
	Until        time.Time `json:"until"`    // it can be put back before
	Sequence     uint64    `json:"sequence"` // of the event to undo
}

// DeletedRepository is a deleted repository that can be put back.
type DeletedRepository struct {
	Name string `json:"name"`
	// DeletedName is what it goes by now.
	DeletedName string    `json:"deletedName"`
	Deleted     time.Time `json:"deleted"`
	Until       time.Time `json:"until"`    // it can be put back before
	Sequence    uint64    `json:"sequence"` // of the event to undo
}

// UndoRequest is the body of POST /undo, which answers with Undone.
type UndoRequest struct {
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
}

// Undone is what an undo has done.
type Undone struct {
	// The event that was undone.
	Sequence   uint64 `json:"sequence"`
	Kind       string `json:"kind"`
	Subject    string `json:"subject"`
	Repository string `json:"repository"` // by the name that it has now
	// Restored are the manifests that are back, Moved the tags that name another
	// manifest or exist again, Removed those that are gone again.
	Restored []string `json:"restored"`
	Moved    []string `json:"moved"`
	Removed  []string `json:"removed"`
	// Left are tags that were moved or deleted later, and left alone.
	Left []LeftTag `json:"left"`
	// Notes are sentences about what may have to be done next.
	Notes []string `json:"notes"`
}

// LeftTag is a tag that an undo has left alone.
type LeftTag struct {
	Tag      string `json:"tag"`
	Sequence uint64 `json:"sequence"` // of the last event that moved or deleted it
}
