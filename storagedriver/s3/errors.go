package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"artifactstore/storagedriver"
)

// refusal is an answer of S3 that is no success. It has none of what S3 says
// beside its code: that may name keys of the account.
type refusal struct {
	doing   string
	code    string
	status  int
	request string // S3's id of the request, for its operator
	kind    error  // what the interface of drivers calls it, or nil
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("%s: S3 answered %d %s", r.doing, r.status, r.code)
	if r.request != "" {
		text += " (request " + r.request + ")"
	}
	if hint := hints[r.code]; hint != "" {
		text += ": " + hint
	}
	return text
}

func (r *refusal) Unwrap() error { return r.kind }

// hints say what an operator can do.
var hints = map[string]string{
	"AccessDenied":          "the credentials may not do this",
	"InvalidAccessKeyId":    "the access key is unknown there",
	"SignatureDoesNotMatch": "the secret access key is another one",
	"ExpiredToken":          "the credentials have expired",
	"NoSuchBucket":          "the bucket is gone",
	"RequestTimeTooSkewed":  "the clocks of this machine and of S3 differ",
	"PermanentRedirect":     "the bucket is in another region",
	"QuotaExceeded":         "the quota of the bucket is used up",
	"XMinioStorageFull":     "the disks of the object store are full",
}

// full are the codes of a store without room.
var full = []string{"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded",
	"AccountProblem_Quota", "InsufficientCapacity"}

// busy are the codes of a store that does not keep up, also where it says them
// with status 200.
var busy = []string{"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"}

// headMissing is what the SDK calls every 404 that answers a HEAD.
const headMissing = "NotFound"

// missing are the codes that speak of what was asked for, and not of the bucket.
var missing = []string{"NoSuchKey", "NoSuchUpload", headMissing}

// failure says what an error of the SDK means, without what it may have of
// URLs and signatures.
func failure(doing string, err error) error {
	var api smithy.APIError
	var sent *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api):
		return refused(doing, api, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", doing, storagedriver.ErrUnavailable, context.DeadlineExceeded)
	case errors.As(err, &sent):
		return fmt.Errorf("%s: %w: %w", doing, storagedriver.ErrUnavailable, sent.Err)
	case errors.Is(err, errStalled) || errors.Is(err, errHangs) || passing(err) == aws.TrueTernary:
		return fmt.Errorf("%s: %w: %w", doing, storagedriver.ErrUnavailable, innermost(err))
	default:
		return fmt.Errorf("%s: %w", doing, innermost(err))
	}
}

func refused(doing string, api smithy.APIError, err error) error {
	r := &refusal{doing: doing, code: api.ErrorCode()}
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		r.status = answer.HTTPStatusCode()
	}
	var id interface{ ServiceRequestID() string }
	if errors.As(err, &id) {
		r.request = id.ServiceRequestID()
	}
	switch {
	case r.status == http.StatusInsufficientStorage || slices.Contains(full, r.code):
		r.kind = storagedriver.ErrFull
	case r.status == http.StatusNotFound && slices.Contains(missing, r.code):
		if r.code != headMissing || r.request != "" {
			r.kind = storagedriver.ErrNotExist // else it may be the 404 of whatever stands between
		}
	case r.status >= http.StatusInternalServerError, r.status == http.StatusTooManyRequests, slices.Contains(busy, r.code):
		r.kind = storagedriver.ErrUnavailable
	}
	return r
}

// innermost is the cause of an error: what stands around it are the SDK's
// names of its own steps.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// gone tells whether an error says that something is not there.
func gone(err error) bool { return errors.Is(err, storagedriver.ErrNotExist) }

// answered tells whether an error is an answer of S3 with one of the codes.
func answered(err error, codes ...string) bool {
	var r *refusal
	return errors.As(err, &r) && slices.Contains(codes, r.code)
}

// advise says what the operator has to change so that the bucket opens.
func (d *Driver) advise(err error) error {
	bucket, at := d.options.Bucket, either(d.options.Endpoint, "AWS in "+d.options.Region)
	var r *refusal
	switch {
	case !errors.As(err, &r):
		return fmt.Errorf("no answer from %s; is the endpoint right, and are there credentials? %w", at, err)
	case r.status == http.StatusNotFound:
		return fmt.Errorf("there is no bucket %s at %s; make it, or correct its name: %w", bucket, at, err)
	case r.status == http.StatusForbidden || r.status == http.StatusUnauthorized:
		return fmt.Errorf("%s refuses the credentials for the bucket %s; are they right, and may they do s3:ListBucket? %w", at, bucket, err)
	case r.status == http.StatusMovedPermanently:
		return fmt.Errorf("the bucket %s is not in the region %s; correct the region: %w", bucket, d.options.Region, err)
	case r.status == http.StatusBadRequest:
		return fmt.Errorf("%s does not understand what it is asked of the bucket %s; is the region %s right? %w", at, bucket, d.options.Region, err)
	default:
		return fmt.Errorf("the bucket %s at %s does not answer well: %w", bucket, at, err)
	}
}
