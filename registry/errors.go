package registry

import (
	"errors"
	"fmt"
)

// Code says what kind of refusal an Error is. The first group is the error
// codes of the OCI distribution specification ("Error Codes").
type Code string

const (
	BlobUnknown         Code = "BLOB_UNKNOWN"
	BlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"
	BlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"
	DigestInvalid       Code = "DIGEST_INVALID"
	ManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	ManifestInvalid     Code = "MANIFEST_INVALID"
	ManifestUnknown     Code = "MANIFEST_UNKNOWN"
	NameInvalid         Code = "NAME_INVALID"
	NameUnknown         Code = "NAME_UNKNOWN"
	SizeInvalid         Code = "SIZE_INVALID"
	TagInvalid          Code = "TAG_INVALID"
	Unauthorized        Code = "UNAUTHORIZED"
	Denied              Code = "DENIED"
	Unsupported         Code = "UNSUPPORTED"
	TooManyRequests     Code = "TOOMANYREQUESTS"

	// BlobInUse: a blob cannot be deleted while a manifest references it.
	// Clients see DENIED.
	BlobInUse Code = "BLOB_IN_USE"
	// RangeInvalid: a chunk is out of order, or a range outside the content.
	RangeInvalid Code = "RANGE_INVALID"
	// ManifestTooLarge: the manifest is above the size limit.
	ManifestTooLarge Code = "MANIFEST_TOO_LARGE"
	// PreconditionFailed: If-Match or If-None-Match did not hold.
	PreconditionFailed Code = "PRECONDITION_FAILED"
	// PaginationInvalid: n or last is malformed.
	PaginationInvalid Code = "PAGINATION_NUMBER_INVALID"
	// StorageFull: pushes are refused until there is room again.
	StorageFull Code = "STORAGE_FULL"
	// ReasonInvalid: a reason is missing, or is no line of text.
	ReasonInvalid Code = "REASON_INVALID"
	// HoldInvalid: a hold cannot be as it was asked for.
	HoldInvalid Code = "HOLD_INVALID"
	// HoldUnknown: there is no such hold.
	HoldUnknown Code = "HOLD_UNKNOWN"
	// RetentionInvalid: a retention policy, a class or an end cannot be as it
	// was asked for.
	RetentionInvalid Code = "RETENTION_INVALID"
	// PlanUnknown: there is no such plan.
	PlanUnknown Code = "PLAN_UNKNOWN"
	// EventUnknown: the log has no such event.
	EventUnknown Code = "EVENT_UNKNOWN"
	// Conflict: the state does not allow it; the message says why.
	Conflict Code = "CONFLICT"
	// Unavailable: the server cannot take this request now.
	Unavailable Code = "UNAVAILABLE"
)

// Error is a refusal that the client caused or can do something about. Every
// other error is a failure of the server and its text is never sent.
type Error struct {
	Code Code
	// Message is sent to the client: one sentence that says what is wrong
	// and, where it helps, what to do.
	Message string
	// Detail is sent as JSON if it is not nil.
	Detail any
	// Err is the cause, for the log; never sent.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns a refusal with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrUnknown: a commit was begun and its outcome could not be learnt. The
// caller must not drop bytes that the change names.
var ErrUnknown = errors.New("outcome of the commit is unknown")
