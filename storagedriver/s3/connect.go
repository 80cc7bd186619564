package s3

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

const (
	attempts     = 10
	fewAttempts  = 6 // to look after the bucket
	joinAttempts = 4 // to complete an upload, which is then looked for
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second

	// patience is how long a request may go without sending or receiving a
	// byte; the second time it fails. Putting a large object together takes some
	// servers longer.
	patience         = time.Minute
	completePatience = 15 * time.Minute
)

// clients are what the driver speaks to S3 with.
type clients struct {
	own    *s3.Client
	public *s3.PresignClient // signs URLs for others
	http   *http.Client
}

// connect makes the clients. It asks S3 nothing.
func connect(ctx context.Context, o Options) (*clients, error) {
	keys, err := o.credentials()
	if err != nil {
		return nil, err
	}
	settings := []func(*config.LoadOptions) error{config.WithRegion(o.Region), config.WithLogger(logging.Nop{})}
	if o.Profile != "" {
		settings = append(settings, config.WithSharedConfigProfile(o.Profile))
	}
	if keys != nil {
		settings = append(settings, config.WithCredentialsProvider(keys)) // so that nothing looks for others
	}
	loaded, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, failure("load the AWS configuration", err)
	}
	c := &clients{http: &http.Client{Transport: newTransport(), CheckRedirect: noRedirect}}
	c.own = s3.NewFromConfig(loaded, o.client(o.Endpoint, keys, c.http))
	public := s3.NewFromConfig(loaded, o.client(either(o.PublicEndpoint, o.Endpoint), keys, c.http))
	c.public = s3.NewPresignClient(public, func(po *s3.PresignOptions) { po.Presigner = new(signer) })
	return c, nil
}

// client is how a client speaks to an endpoint.
func (o Options) client(endpoint string, keys *fileKeys, over *http.Client) func(*s3.Options) {
	return func(so *s3.Options) {
		if endpoint != "" {
			so.BaseEndpoint = aws.String(endpoint)
		}
		so.Region = o.Region
		if keys != nil {
			so.Credentials = keys // what the configuration wraps it in would remember them for ever
		}
		so.HTTPSignerV4 = new(signer)
		so.UsePathStyle = o.PathStyle
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // newer sums are refused by many servers
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		so.DisableLogOutputChecksumValidationSkipped = true
		so.HTTPClient = &transport{over}
		so.APIOptions = append(so.APIOptions, begin)
		so.Retryer = retry.NewStandard(func(ro *retry.StandardOptions) {
			ro.MaxAttempts = attempts
			ro.MaxBackoff = maxBackoff
			ro.Backoff = retry.BackoffDelayerFunc(backoff)
			ro.RateLimiter = ratelimit.None // every request has its attempts, whatever happens to others
			ro.Retryables = append([]retry.IsErrorRetryable{
				retry.NoRetryCanceledError{}, retry.IsErrorRetryableFunc(passing), retry.IsErrorRetryableFunc(keys.renewed),
			}, ro.Retryables...)
		})
	}
}

// backoff doubles with every attempt. A random half of it keeps clients apart.
func backoff(attempt int, _ error) (time.Duration, error) {
	d := min(firstBackoff<<min(attempt, 10), maxBackoff)
	return d/2 + rand.N(d/2), nil
}

// passing tells what the SDK does not count among the errors that pass:
// answers that break off, and codes that ask to come again.
func passing(err error) aws.Ternary {
	if errors.Is(err, errHangs) {
		return aws.FalseTernary
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict", "RequestTimeTooSkewed":
			return aws.TrueTernary
		}
		return aws.UnknownTernary
	}
	var broken *smithy.DeserializationError
	if errors.As(err, &broken) || errors.Is(err, io.ErrUnexpectedEOF) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       50 * time.Second,
		MaxIdleConnsPerHost:   64,
		WriteBufferSize:       32 << 10,
		ReadBufferSize:        32 << 10,
		DisableCompression:    true,
	}
}

// noRedirect hands redirects to the SDK: they mean a wrong region.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// errStalled ends a request without progress. It is tried again.
var errStalled error = stalled{}

type stalled struct{}

func (stalled) Error() string { return "the connection made no progress" }
func (stalled) Timeout() bool { return true }

// errHangs ends a request that has stalled before. There is no other attempt:
// ten of them would be more time than whoever waits for it has.
var errHangs = errors.New("the connection made no progress, again")

type stallsKey struct{}

// begin lets a request count how often its attempts have stalled.
func begin(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("begin", func(ctx context.Context, in middleware.InitializeInput,
		next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(context.WithValue(ctx, stallsKey{}, new(atomic.Int32)), in)
	}), middleware.Before)
}

type patienceKey struct{}

// patiently is for requests that S3 needs long to answer.
func patiently(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// transport ends attempts that make no progress.
type transport struct{ client *http.Client }

// Do sends a request. The time that a caller takes between reads of the
// answer does not count.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	wait, ok := req.Context().Value(patienceKey{}).(time.Duration)
	if !ok {
		wait = patience
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{wait: wait, cancel: cancel, timer: time.AfterFunc(wait, func() { cancel(errStalled) })}
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = sending{req.Body, w}
	}
	resp, err := t.client.Do(req)
	w.timer.Stop()
	if err != nil {
		defer cancel(nil)
		if !errors.Is(context.Cause(ctx), errStalled) {
			return nil, err
		}
		if stalls, ok := ctx.Value(stallsKey{}).(*atomic.Int32); ok && stalls.Add(1) > 1 {
			return nil, errHangs
		}
		return nil, errStalled
	}
	resp.Body = receiving{resp.Body, w, ctx}
	return resp, nil
}

// watch is the time that one attempt has left.
type watch struct {
	wait   time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

type sending struct {
	io.ReadCloser
	*watch
}

func (s sending) Read(p []byte) (int, error) {
	s.timer.Reset(s.wait)
	return s.ReadCloser.Read(p)
}

type receiving struct {
	io.ReadCloser
	*watch
	ctx context.Context
}

func (r receiving) Read(p []byte) (int, error) {
	r.timer.Reset(r.wait)
	n, err := r.ReadCloser.Read(p)
	r.timer.Stop()
	if err != nil && errors.Is(context.Cause(r.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (r receiving) Close() error {
	err := r.ReadCloser.Close()
	r.timer.Stop()
	r.cancel(nil)
	return err
}
