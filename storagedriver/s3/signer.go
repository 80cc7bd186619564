package s3

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signer signs with whatever the secret is. The SDK's own one remembers the key
// that it derived for an access key id, and would go on with the old secret
// where only that was changed.
type signer struct {
	mu     sync.Mutex
	secret string
	v4     *v4.Signer
}

// of returns a signer that has seen no other secret.
func (s *signer) of(c aws.Credentials) *v4.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.v4 == nil || s.secret != c.SecretAccessKey {
		s.secret = c.SecretAccessKey
		s.v4 = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }) // as S3 wants it
	}
	return s.v4
}

// SignHTTP implements the interface that the client wants.
func (s *signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payload, service, region string,
	at time.Time, options ...func(*v4.SignerOptions),
) error {
	return s.of(c).SignHTTP(ctx, c, r, payload, service, region, at, options...)
}

// PresignHTTP implements the interface that the client of URLs wants.
func (s *signer) PresignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payload, service, region string,
	at time.Time, options ...func(*v4.SignerOptions),
) (string, http.Header, error) {
	return s.of(c).PresignHTTP(ctx, c, r, payload, service, region, at, options...)
}
