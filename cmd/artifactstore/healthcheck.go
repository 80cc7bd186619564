package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/internal/config"
)

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running server whether it takes pushes",
		Long: `Healthcheck asks the server that the configuration describes whether it takes
pushes (/readyz), or with --live only whether it answers (/livez). It is for container
images, which have neither a shell nor curl.

The exit code is 0 if it does, and 1 if it does not or gives no answer in time. It connects to
the address of the key listen, on this machine if that is every address. Over TLS the server
must show the certificate that tls.cert holds, whatever names are in it.`,
		Example: `  artifactstore healthcheck
  artifactstore healthcheck --live --timeout 1s`,
		Args: noArguments,
	}
	s := addSettings(cmd, "listen")
	live := cmd.Flags().Bool("live", false, "ask only whether the server answers")
	asJSON := addJSON(cmd)
	timeout := cmd.Flags().Duration("timeout", 5*time.Second, "`TIME` in which the answer must come")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		path := "/readyz"
		if *live {
			path = "/livez"
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		url, err := checkHealth(ctx, &c.Config, path)
		if err != nil {
			return err
		}
		return answer(cmd.OutOrStdout(), *asJSON, map[string]any{"url": url, "ok": true}, url+": ok")
	}
	return cmd
}

// checkHealth returns the URL that it asked, and an error unless the answer
// was 200.
func checkHealth(ctx context.Context, c *config.Config, path string) (url string, err error) {
	address, err := reach(c.Listen)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true} // without a proxy
	url = "http://" + address + path
	if c.TLS.Cert != "" {
		if transport.TLSClientConfig, err = expect(c.TLS.Cert); err != nil {
			return "", err
		}
		url = "https://" + address + path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return url, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return url, fmt.Errorf("no answer from %s: %w; does a server run with this configuration?", url, err)
	}
	if err := response.Body.Close(); err != nil {
		return url, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return url, fmt.Errorf("%s: %s; the server's log says why", url, response.Status)
	}
	return url, nil
}

// reach returns the address at which this machine reaches a server that listens
// on an address. Those that stand for all of the machine's are on loopback too.
func reach(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err // Validate has seen the address: it cannot be
	}
	if port == "0" {
		return "", errors.New("the server took a free port (listen has port 0); name it with --listen")
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && addr.IsUnspecified() && addr.Unmap().Is4():
		host = "127.0.0.1"
	case err == nil && addr.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// expect returns the settings of a client that accepts the certificate in a
// file and no other.
func expect(file string) (*tls.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read tls.cert: %w", err)
	}
	certificate, err := firstCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("read tls.cert: %s: %w", file, err)
	}
	return &tls.Config{
		// Names and issuers say nothing about a server of one's own.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.PeerCertificates[0].Equal(certificate) {
				return nil
			}
			return errors.New("it shows another certificate than tls.cert: " +
				"another program has the port, or the server must be restarted to use a renewed certificate")
		},
	}, nil
}

// firstCertificate returns the first certificate of a PEM file, the server's own.
func firstCertificate(data []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("there is no certificate in it")
}
