package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/s3"
)

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	for want, o := range map[string]s3.Options{
		"no bucket":            {},
		"prefix":               {Bucket: "b", Prefix: "/a"},
		"names with a slash":   {Bucket: "b", Prefix: "a/../b"},
		"an endpoint is no":    {Bucket: "b", Endpoint: "s3.example.org"},
		"without a user":       {Bucket: "b", PublicEndpoint: "https://user:password@s3.example.org"},
		"needed both":          {Bucket: "b", AccessKeyIDFile: "a"},
		"server-side":          {Bucket: "b", SSE: "aes"},
		"a KMS key needs":      {Bucket: "b", SSEKMSKeyID: "k"},
		"parts of 1 bytes":     {Bucket: "b", PartSize: 1},
		"-1 parts at once":     {Bucket: "b", Concurrency: -1},
		"memory of -1 bytes":   {Bucket: "b", Memory: -1},
		"no such file":         {Bucket: "b", AccessKeyIDFile: "missing", SecretAccessKeyFile: "missing"},
		"one word in one line": {Bucket: "b", AccessKeyIDFile: os.DevNull, SecretAccessKeyFile: os.DevNull},
	} {
		_, err := s3.Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "password") {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}

const wrongSecret = "another-secret-that-no-log-may-show"

func TestAStoreThatCannotBeOpenedSaysWhy(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	tests := []struct {
		name   string
		change func(o *s3.Options)
		rule   harness.Rule
		want   string
	}{
		{"no spool", func(o *s3.Options) { o.Spool += "/missing" }, nil, "folder for temporary files (s3.spool)"},
		{"no bucket", func(o *s3.Options) { o.Bucket = "missing" }, nil, "there is no bucket missing"},
		{"a wrong secret", func(o *s3.Options) { replace(t, o.SecretAccessKeyFile, wrongSecret) }, nil, "refuses the credentials"},
		{"a wrong key", func(o *s3.Options) { replace(t, o.AccessKeyIDFile, "nobody") }, nil, "refuses the credentials"},
		{"nobody there", func(o *s3.Options) { o.Endpoint = "http://127.0.0.1:1" }, nil, "connection refused"},
		{"resets", nil, harness.Share(1, 1, harness.Fault{Reset: true}), "no answer from http://127"},
		{"another region", nil, harness.Share(1, 1, harness.Fault{Status: 301, Code: "PermanentRedirect"}), "correct the region"},
		{"a region that signs otherwise", func(o *s3.Options) { o.Region = "eu-west-9" }, nil, "is the region eu-west-9 right"},
		{"a full queue", nil, harness.Share(1, 1, harness.SlowDown), "does not answer well"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t, server)
			o.Endpoint = proxy.URL()
			if tt.change != nil {
				tt.change(&o)
			}
			proxy.Set(tt.rule)
			_, err := s3.Open(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
			secretFree(t, err)
		})
	}
}

// replace changes a file of credentials.
func replace(t testing.TB, path, text string) {
	t.Helper()
	harness.Must(t, os.WriteFile(path, []byte(text), 0o600))
}

// secretFree expects an error without anything that nobody may see.
func secretFree(t testing.TB, err error) {
	t.Helper()
	for _, secret := range []string{wrongSecret, "a-secret-of-tests", "Signature=", "X-Amz", "AWS4"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error has %q: %v", secret, err)
		}
	}
}

func TestCredentialsChangeWhileTheStoreIsOpen(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := options(t, server)
	o.Endpoint = proxy.URL()
	d := open(t, o)
	replace(t, o.SecretAccessKeyFile, wrongSecret)
	_, err := publish(t.Context(), d, "a", hold(t, d, "a", []byte("abc")), 3)
	if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with a wrong secret: %v", err)
	}
	secretFree(t, err)
	proxy.Set(func(*http.Request) harness.Fault { // signed with the wrong one
		replace(t, o.SecretAccessKeyFile, server.SecretKey)
		return harness.Fault{}
	})
	proxy.Reset()
	locator, err := publish(t.Context(), d, "a", hold(t, d, "a", []byte("abc")), 3)
	harness.Must(t, err)
	if n := proxy.Counts()["PutObject"]; n != 2 {
		t.Errorf("the object was put in %d requests, want one with the old secret and one with the new", n)
	}
	holds(t, d, locator, []byte("abc"))
	harness.Must(t, os.Remove(o.SecretAccessKeyFile))
	if _, err := d.Size(t.Context(), locator); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without the file: %v", err)
	}
}

func TestAPrefixIsAStoreOfItsOwn(t *testing.T) {
	server := harness.StartS3(t)
	o := small(t, server)
	plain := open(t, o)
	o.Prefix = "some/where"
	inside := open(t, o)
	for _, d := range []*s3.Driver{plain, inside} {
		state, err := stage(t.Context(), d, "a", random(6*mebi, 1))
		harness.Must(t, err)
		if _, err = publish(t.Context(), d, "a", state, 6*mebi); err != nil {
			t.Fatal(err)
		}
	}
	state, err := stage(t.Context(), inside, "b", random(6*mebi, 1))
	harness.Must(t, err)
	sweep(t, plain)
	_, err = publish(t.Context(), inside, "b", state, 6*mebi)
	harness.Must(t, err)
	if keys := strings.Join(server.Keys(t, server.Bucket), " "); keys !=
		"objects/id/a/a some/where/objects/id/a/a some/where/objects/id/b/b" {
		t.Errorf("the keys are %s", keys)
	}
}

func TestClientsAreSentToThePublicEndpoint(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := options(t, server)
	o.PublicEndpoint = proxy.URL()
	data := random(100_000, 1)
	for _, tt := range []struct {
		name     string
		redirect s3.Redirect
		size     int64
		want     bool
	}{
		{"never", s3.Never, 100_000, false},
		{"always", s3.Always, 1, true},
		{"always, but nothing to fetch", s3.Always, 0, false},
		{"above its size", s3.Above(100_000), 100_000, false},
		{"above a byte less", s3.Above(99_999), 100_000, true},
	} {
		o.Redirect = tt.redirect
		d := open(t, o)
		locator, err := publish(t.Context(), d, "a", hold(t, d, "a", data), len(data))
		harness.Must(t, err)
		link, err := d.Link(t.Context(), storagedriver.Link{Locator: locator, Size: tt.size, Lifetime: time.Minute})
		harness.Must(t, err)
		if (link != "") != tt.want {
			t.Errorf("%s: the link is %q", tt.name, link)
		}
		if link != "" && !bytes.Equal(fetch(t, proxy.URL(), link), data) {
			t.Errorf("%s: the link leads to other bytes", tt.name)
		}
	}
	d := open(t, o)
	for _, lifetime := range []time.Duration{0, time.Millisecond, 8 * 24 * time.Hour} {
		_, err := d.Link(t.Context(), storagedriver.Link{Locator: "a", Size: 1 << 20, Lifetime: lifetime})
		if !errors.Is(err, storagedriver.ErrInvalid) {
			t.Errorf("a link for %v: %v", lifetime, err)
		}
	}
	if _, err := d.Link(t.Context(), storagedriver.Link{Locator: "../a", Size: 1 << 20, Lifetime: time.Minute}); !errors.Is(err, storagedriver.ErrInvalid) {
		t.Errorf("a link to no locator: %v", err)
	}
}

// fetch gets what a link leads to, as somebody without credentials.
func fetch(t *testing.T, endpoint, link string) []byte {
	t.Helper()
	if u, err := url.Parse(link); err != nil || "http://"+u.Host != endpoint {
		t.Fatalf("the link leads to %s, %v", u.Host, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, http.NoBody)
	harness.Must(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	harness.Must(t, err)
	data, err := io.ReadAll(resp.Body)
	harness.Must(t, errors.Join(err, resp.Body.Close()))
	return data
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func TestHealthIsTheLastAnswer(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	var log lines
	o := options(t, server)
	o.Endpoint, o.Log = proxy.URL(), slog.New(slog.NewTextHandler(&log, nil))
	d := open(t, o)
	proxy.Reset()
	for range 1000 {
		h, err := d.Health(t.Context())
		if err != nil || h != storagedriver.Unlimited() {
			t.Fatalf("health is %+v, %v", h, err)
		}
	}
	if n := proxy.Counts()["HeadBucket"]; n > 2 {
		t.Errorf("S3 was asked %d times", n)
	}
	proxy.Set(harness.Share(1, 1, harness.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}))
	for range 2 {
		if err := d.Ask(t.Context()); err == nil {
			t.Error("a bucket that refuses is healthy")
		}
	}
	proxy.Set(nil)
	harness.Must(t, d.Ask(t.Context()))
	if text := log.text.String(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 {
		t.Errorf("the log is:\n%s", text)
	}
}

func TestWhatIsGivenUpEndsAtOnceAndIsFound(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := small(t, server)
	o.Endpoint = proxy.URL()
	d := open(t, o)
	for _, operation := range []string{"PutObject", "UploadPart", "CompleteMultipartUpload", "HeadObject", "ListObjects", "DeleteObject"} {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := d.Stage(ctx, "a")
		harness.Must(t, err)
		proxy.Set(func(r *http.Request) harness.Fault {
			if harness.Operation(r) != operation || strings.HasSuffix(r.URL.Path, "/multipart") {
				return harness.Fault{}
			}
			cancel()
			return harness.Fault{Delay: time.Hour}
		})
		err = write(s, random(12*mebi, 1))
		state, saved := s.Save(ctx)
		if err = errors.Join(err, saved, s.Close()); err == nil {
			_, err = publish(ctx, d, "a", state, 12*mebi)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s while the context is cancelled: %v", operation, err)
		}
		proxy.Set(nil)
		sweep(t, open(t, o))
		sweep(t, d)
		harness.Must(t, d.Delete(t.Context(), d.Locate("a", blake3)))
		only(t, server, server.Bucket)
		cancel()
	}
}

// transportFunc is a network.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// slow is a body that takes a while for each byte.
type slow struct {
	ctx   context.Context
	pause time.Duration
	left  int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(s.pause):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	s.left--
	return copy(p, "x"), nil
}

func (s *slow) Close() error { return nil }

func TestRequestsWithoutProgressEnd(t *testing.T) {
	for _, tt := range []struct {
		name               string
		send, think, reply time.Duration // per byte, and before the answer
		want               string
	}{
		{"slow, but moving", 50 * time.Second, 50 * time.Second, 50 * time.Second, ""},
		{"stuck before the answer", time.Second, 2 * time.Minute, time.Second, "no progress"},
		{"stuck in the answer", time.Second, time.Second, 2 * time.Minute, "no progress"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := transportFunc(func(r *http.Request) (*http.Response, error) {
					if _, err := io.ReadAll(r.Body); err != nil {
						return nil, err
					}
					select {
					case <-time.After(tt.think):
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
					return &http.Response{StatusCode: 200, Body: &slow{r.Context(), tt.reply, 5}}, nil
				})
				body := iotest.OneByteReader(&slow{t.Context(), tt.send, 5})
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://s3/b/k", body)
				harness.Must(t, err)
				resp, err := s3.Do(network, time.Minute, req)
				if err == nil {
					time.Sleep(time.Hour) // of the caller's do not count
					_, err = io.ReadAll(resp.Body)
					harness.Must(t, resp.Body.Close())
				}
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error is %v, want %q", err, tt.want)
				}
			})
		})
	}
}

func TestCredentialsAreFoundWhereTheSDKLooks(t *testing.T) {
	server := harness.StartS3(t)
	path := t.TempDir() + "/credentials"
	replace(t, path, "[tests]\naws_access_key_id = "+server.AccessKey+"\naws_secret_access_key = "+server.SecretKey+"\n")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", path)
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	o := options(t, server)
	o.AccessKeyIDFile, o.SecretAccessKeyFile = "", ""
	if _, err := s3.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "are there credentials?") {
		t.Errorf("without credentials: %v", err)
	}
	o.Profile = "tests"
	open(t, o)
	o.Profile = ""
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	open(t, o)
}

func TestObjectsAreStoredAsConfigured(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := harness.Operation(r)
		if strings.Contains(r.URL.Path, "/staging/") {
			what += " staged"
		}
		mu.Lock()
		defer mu.Unlock()
		seen[what] = strings.TrimSpace(r.Header.Get("X-Amz-Storage-Class") + " " + r.Header.Get("X-Amz-Server-Side-Encryption") +
			" " + r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"))
		if !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/s3/") {
			t.Errorf("%s is signed for another region: %s", what, r.URL)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"etag"`)
		if what == "CreateMultipartUpload" {
			_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
		}
	}))
	t.Cleanup(server.Close)
	o := small(t, &harness.S3{Endpoint: server.URL, AccessKey: "key", SecretKey: "secret", Bucket: "bucket"})
	o.Region, o.StorageClass, o.SSE, o.SSEKMSKeyID = "eu-west-1", "STANDARD_IA", "aws:kms", "a-key"
	d := open(t, o)
	_, err := publish(t.Context(), d, "a", hold(t, d, "a", []byte("abc")), 3)
	harness.Must(t, err)
	_, err = stage(t.Context(), d, "b", random(6*mebi, 1))
	harness.Must(t, err)
	for what, want := range map[string]string{
		"PutObject":             "STANDARD_IA aws:kms a-key",
		"CreateMultipartUpload": "STANDARD_IA aws:kms a-key",
		"PutObject staged":      "aws:kms a-key",
		"UploadPart":            "", // as the upload is
	} {
		if got, ok := seen[what]; got != want || !ok {
			t.Errorf("%s has %q, want %q", what, got, want)
		}
	}
}

// TestABucketThatIsGoneIsNoMissingObject: S3 answers HEAD alike to both.
func TestABucketThatIsGoneIsNoMissingObject(t *testing.T) {
	server := harness.StartS3(t)
	d := open(t, options(t, server))
	state, err := stage(t.Context(), d, "a", random(1000, 12))
	harness.Must(t, err)
	locator, err := publish(t.Context(), d, "a", state, 1000)
	harness.Must(t, err)
	folder := strings.TrimSuffix(server.File("objects/"+locator), "/objects/"+locator)
	harness.Must(t, os.Rename(folder, folder+"-gone"))
	defer func() { harness.Must(t, os.Rename(folder+"-gone", folder)) }()
	if _, err := d.Size(t.Context(), locator); err == nil || errors.Is(err, storagedriver.ErrNotExist) {
		t.Errorf("the size of an object whose bucket is gone: %v", err)
	}
}
