package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// defaultTimeout bounds the sending of one batch, repetitions included.
	defaultTimeout = 10 * time.Second
	// firstDelay is the pause before the first repetition; it doubles.
	firstDelay = 500 * time.Millisecond
	// maxAnswer is how much is read of the collector's answer, in bytes.
	maxAnswer = 64 << 10
)

// collector is where traces are sent, by OTLP over HTTP in protobuf. It
// implements otlptrace.Client in place of the library's own, which brings all
// of gRPC along.
type collector struct {
	url      string
	header   http.Header
	compress bool
	timeout  time.Duration
	http     *http.Client
}

// newCollector reads the variables, which checkVariables has found right.
func newCollector() (*collector, error) {
	security, err := security()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = security
	c := &collector{
		url: address(), header: headers(), timeout: defaultTimeout,
		http: &http.Client{
			Transport: transport,
			// The header may hold a secret that is for this address alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if _, value := first("COMPRESSION"); value == "gzip" {
		c.compress = true
		c.header.Set("Content-Encoding", "gzip")
	}
	if _, value := first("TIMEOUT"); value != "" {
		n, _ := strconv.Atoi(value) // it was checked
		c.timeout = time.Duration(n) * time.Millisecond
	}
	return c, nil
}

// address is the URL to post to: that of traces as it is, the general one with
// the path of traces behind it.
func address() string {
	name, value := first("ENDPOINT")
	switch {
	case value == "":
		return defaultEndpoint
	case name == both("ENDPOINT")[0]:
		return value
	}
	return strings.TrimSuffix(value, "/") + "/v1/traces"
}

// headers are those of the variables.
func headers() http.Header {
	_, list := first("HEADERS")
	header := headersOf(list)
	header.Set("Content-Type", "application/x-protobuf")
	return header
}

// headersOf are the headers of a list, whose values are percent-encoded.
func headersOf(list string) http.Header {
	header := http.Header{}
	for pair := range strings.SplitSeq(list, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			if plain, err := url.PathUnescape(strings.TrimSpace(value)); err == nil {
				header.Set(strings.TrimSpace(name), plain)
			}
		}
	}
	return header
}

// security is the configuration of TLS: whom to trust, and who we are.
func security() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if name, file := first("CERTIFICATE"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("environment variable %s: %w", name, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("environment variable %s: the file has no certificate", name)
		}
	}
	name, certificate := first("CLIENT_CERTIFICATE")
	if certificate == "" {
		return c, nil
	}
	_, key := first("CLIENT_KEY")
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", name, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// Start implements otlptrace.Client. There is nothing to start.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. What may succeed later is tried
// again, as long as the timeout allows.
func (c *collector) UploadTraces(ctx context.Context, spans []*otlp.ResourceSpans) error {
	body, err := c.encode(spans)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for delay := firstDelay; ; delay *= 2 {
		wait, err := c.post(ctx, body)
		if err == nil || wait < 0 {
			return err
		}
		pause := time.NewTimer(max(delay, wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// encode encodes the request of OTLP. Its message is TracesData on the wire,
// field for field; the type of its own comes with gRPC.
func (c *collector) encode(spans []*otlp.ResourceSpans) ([]byte, error) {
	data, err := proto.Marshal(&otlp.TracesData{ResourceSpans: spans})
	if err != nil || !c.compress {
		return data, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// post sends a request. With an error it returns how long to wait at least
// before it is sent again, or -1 if that would be of no use.
func (c *collector) post(ctx context.Context, body []byte) (wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	r.Header = c.header.Clone()
	res, err := c.http.Do(r)
	if err != nil {
		if about, ok := errors.AsType[*url.Error](err); ok {
			err = about.Err // without the URL, which may hold a secret
		}
		return 0, fmt.Errorf("ask the collector: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	_ = res.Body.Close() // it was only read
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 if it is a date, or none
		return max(0, time.Duration(seconds)*time.Second), fmt.Errorf("the collector answers %s: %s", res.Status, answer)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return -1, fmt.Errorf("the collector answers %s: %s", res.Status, answer)
	}
	return -1, err
}
