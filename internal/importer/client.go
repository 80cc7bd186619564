package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Endpoint is how a registry is reached.
type Endpoint struct {
	// Host is its name or address, with the port if that is not the
	// scheme's own.
	Host string
	// PlainHTTP: without TLS.
	PlainHTTP bool
	// Name is what people call it, if not by its URL.
	Name string
	// Transport is used instead of the network, if it is not nil; then
	// there are no credentials.
	Transport http.RoundTripper
}

// ParseEndpoint reads the URL of a registry; the scheme may be missing. Without
// TLS only this machine is spoken to, unless plainHTTP allows others.
func ParseEndpoint(text string, plainHTTP bool) (Endpoint, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	}
	if strings.Contains(rest, "@") {
		return Endpoint{}, errors.New("a registry's URL has no credentials in it, which others could see: use 'docker login'")
	}
	host, below, _ := strings.Cut(rest, "/")
	if below != "" {
		return Endpoint{}, fmt.Errorf("%q is no registry's URL: name the host alone (%s); repositories are chosen with --repo", text, host)
	}
	if (registry.Reference{Registry: host}).ValidateRegistry() != nil {
		return Endpoint{}, fmt.Errorf("%q is no registry's URL: it looks like https://registry.example.com or localhost:5000", text)
	}
	e := Endpoint{Host: host}
	switch scheme {
	case "https":
	case "http":
		if !plainHTTP && !loopback(host) {
			return e, fmt.Errorf("%s is not on this machine, and http would show its credentials and content to the network: use https, or allow it with --plain-http", text)
		}
		e.PlainHTTP = true
	case "":
		e.PlainHTTP = plainHTTP || loopback(host)
	default:
		return e, fmt.Errorf("%q is no registry's URL: the scheme is https or http", text)
	}
	return e, nil
}

func (e Endpoint) String() string {
	if e.Name != "" {
		return e.Name
	}
	if e.PlainHTTP {
		return "http://" + e.Host
	}
	return "https://" + e.Host
}

// loopback tells whether a host is this machine without asking anybody.
func loopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// Time limits of requests. A body may take as long as it keeps coming.
const (
	answerTimeout = 5 * time.Minute // a large push is hashed and flushed before it is answered
	stallTimeout  = time.Minute
)

// client returns a client of the registry with the credentials of Docker's
// configuration, which are sent to this host alone.
func (e Endpoint) client() (*remote.Registry, error) {
	r, err := remote.NewRegistry(e.Host)
	if err != nil {
		return nil, err
	}
	r.PlainHTTP = e.PlainHTTP
	r.ManifestMediaTypes = manifestTypes
	r.RepositoryListPageSize, r.TagListPageSize = 1000, 1000
	r.TagListMaxPages, r.ReferrerListMaxPages = 1<<20, 1<<20
	r.MaxMetadataBytes = 32 << 20 // some registries know no pages
	if e.Transport != nil {
		r.Client = &http.Client{Transport: patient(e.Transport)}
		return r, nil
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Docker's configuration for credentials: %w", err)
	}
	find, own := credentials.Credential(store), r.Reference.Host()
	r.Client = &auth.Client{
		Client: &http.Client{Transport: patient(transport())},
		Header: http.Header{"User-Agent": {"artifactstore-import"}},
		Cache:  auth.NewCache(),
		Credential: func(ctx context.Context, host string) (auth.Credential, error) {
			if host != own {
				return auth.EmptyCredential, nil
			}
			return find(ctx, host)
		},
	}
	return r, nil
}

func transport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 32, answerTimeout
	t.WriteBufferSize, t.ReadBufferSize = 256<<10, 256<<10
	t.DisableCompression = true // the bytes are wanted as they are named
	return t
}

func patient(base http.RoundTripper) http.RoundTripper {
	return &retry.Transport{Base: watched{base}, Policy: func() retry.Policy { return patience }}
}

// patience is how often and how long what may pass is waited for.
var patience = &retry.GenericPolicy{
	Retryable: func(resp *http.Response, err error) (bool, error) {
		if err != nil {
			return retry.DefaultPredicate(resp, err)
		}
		return passing(resp.StatusCode), nil
	},
	Backoff: retry.ExponentialBackoff(250*time.Millisecond, 2, 0.1),
	MinWait: 100 * time.Millisecond, MaxWait: time.Minute, MaxRetry: 6,
}

// passing tells whether the same request may do better later.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// unreachable tells whether an error is that of a host that does not answer.
func unreachable(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial"
}

// brokenOff tells whether an error is that of a connection that broke, or on
// which nothing came any more.
func brokenOff(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, errStalled)
}

// errStalled: nothing came for stallTimeout.
var errStalled = errors.New("nothing came for a minute")

// watched makes every body of a response, be it a blob or a list, fail when
// nothing comes any more. It drops the name that a registry gives to a blob:
// distribution answers with the SHA-256 whatever a blob was asked for by, which
// oras-go refuses. The bytes tell, and they are verified.
type watched struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := w.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if strings.Contains(req.URL.Path, "/blobs/") {
		resp.Header.Del("Docker-Content-Digest")
	}
	timer := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	timer.Stop() // until somebody reads
	resp.Body = &livelyBody{resp.Body, cancel, timer}
	return resp, nil
}

type livelyBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// Read implements io.Reader. Time between reads is not the source's.
func (b *livelyBody) Read(p []byte) (int, error) {
	b.timer.Reset(stallTimeout)
	n, err := b.ReadCloser.Read(p)
	if !b.timer.Stop() && err != nil && err != io.EOF {
		err = errStalled
	}
	return n, err
}

func (b *livelyBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
