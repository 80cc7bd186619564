package importer_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/importer"
	"artifactstore/internal/inproc"
	"artifactstore/registry"
)

// running is a registry on the network with what a store has. Requests pass
// through the middle, if there is one.
func running(t *testing.T, s distributionStore, middle func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	h := newHome(t, registry.Options{})
	bring(t, open(t, s.folder(t), ""), h)
	handler := h.handler
	if middle != nil {
		handler = middle(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// fromRegistry opens a registry with patterns.
func fromRegistry(t *testing.T, url string, repos ...string) importer.Source {
	t.Helper()
	p, err := importer.ParsePatterns(repos)
	must(t, err)
	e, err := importer.ParseEndpoint(url, false)
	must(t, err)
	src, err := importer.OpenRegistry(e, p)
	must(t, err)
	return src
}

// without makes a configuration of Docker that knows no credentials.
func without(t *testing.T) { t.Setenv("DOCKER_CONFIG", t.TempDir()) }

// TestAllOfARegistryComes, and manifests without a tag with it, if something
// that has one leads there.
func TestAllOfARegistryComes(t *testing.T) {
	without(t)
	s := distributionStore{files{}}
	a, b := image(1, nil), image(2, nil)
	both := index(a.Descriptor, b.Descriptor)
	signed := signature(3, a.Descriptor)     // refers to a child
	again := signature(4, signed.Descriptor) // and this to the signature
	hidden := image(5, nil)                  // no tag leads down to it
	pointing := signature(6, hidden.Descriptor)
	for _, one := range []artifact{a, b, signed, again, hidden} {
		s.put("team/app", one)
	}
	s.put("team/app", both, "v1")
	s.put("team/app", pointing, "pointing")
	s.put("other", a, "v1")
	withoutAPI := func(status int) func(next http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/referrers/") {
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	check := func(t *testing.T, h *home) {
		h.has("team/app", "v1", both.Digest)
		h.has("team/app", "pointing", pointing.Digest)
		h.has("team/app", hidden.Digest.String(), hidden.Digest)
		if got := h.referrers("team/app", a.Digest); !slices.Equal(got, []digest.Digest{signed.Digest}) {
			t.Errorf("referrers %v", got)
		}
		if got := h.referrers("team/app", signed.Digest); !slices.Equal(got, []digest.Digest{again.Digest}) {
			t.Errorf("referrers of the signature %v", got)
		}
	}
	t.Run("by the referrers API", func(t *testing.T) {
		h := newHome(t, registry.Options{})
		allCame(t, bring(t, fromRegistry(t, running(t, s, nil).URL), h))
		check(t, h)
		h.has("other", "v1", a.Digest)
	})
	t.Run("by the tags that stand for it", func(t *testing.T) {
		tagged := func(subject, referrer artifact) {
			s.put("team/app", index(referrer.Descriptor), strings.Replace(subject.Digest.String(), ":", "-", 1))
		}
		tagged(a, signed)
		tagged(signed, again)
		for _, status := range []int{http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed} {
			h := newHome(t, registry.Options{})
			allCame(t, bring(t, fromRegistry(t, running(t, s, withoutAPI(status)).URL), h))
			check(t, h)
		}
	})
	t.Run("only what is chosen", func(t *testing.T) {
		h := newHome(t, registry.Options{})
		p, err := importer.ParsePatterns([]string{"oth*"})
		must(t, err)
		r := bring(t, fromRegistry(t, running(t, s, nil).URL, "oth*"), h, func(o *importer.Options) { o.Patterns = p })
		if r.Repositories != 1 {
			t.Errorf("%d repositories", r.Repositories)
		}
		h.has("other", "v1", a.Digest)
		h.lacks("team/app", "v1")
	})
}

// TestWithoutACatalogRepositoriesAreNamed, and the error says so.
func TestWithoutACatalogRepositoriesAreNamed(t *testing.T) {
	without(t)
	s := distributionStore{files{}}
	a := image(1, nil)
	s.put("team/app", a, "v1")
	server := running(t, s, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/_catalog" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	h := newHome(t, registry.Options{})
	_, err := importer.Run(t.Context(), fromRegistry(t, server.URL, "team/*"), h.target(), importer.Options{})
	if err == nil || !strings.Contains(err.Error(), "name each with --repo") {
		t.Errorf("the error is %v", err)
	}
	allCame(t, bring(t, fromRegistry(t, server.URL, "team/app"), h))
	h.has("team/app", "v1", a.Digest)
}

// TestCredentialsStayWithTheirRegistry: they are those of Docker's
// configuration, and a redirect elsewhere does not see them.
func TestCredentialsStayWithTheirRegistry(t *testing.T) {
	s := distributionStore{files{}}
	a := image(1, nil)
	s.put("app", a, "v1")
	var leaked atomic.Bool
	elsewhere := running(t, s, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				leaked.Store(true)
			}
			next.ServeHTTP(w, r)
		})
	})
	var redirected atomic.Int64
	server := running(t, s, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "somebody" || password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				redirected.Add(1)
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	config := t.TempDir()
	t.Setenv("DOCKER_CONFIG", config)
	login := base64.StdEncoding.EncodeToString([]byte("somebody:secret"))
	must(t, os.WriteFile(filepath.Join(config, "config.json"),
		fmt.Appendf(nil, `{"auths":{%q:{"auth":%q},%q:{"auth":%q}}}`, strings.TrimPrefix(server.URL, "http://"), login,
			strings.TrimPrefix(elsewhere.URL, "http://"), login), 0o600))
	h := newHome(t, registry.Options{})
	allCame(t, bring(t, fromRegistry(t, server.URL), h))
	h.has("app", "v1", a.Digest)
	if redirected.Load() == 0 || leaked.Load() {
		t.Errorf("%d redirects; credentials were sent along: %v", redirected.Load(), leaked.Load())
	}
	without(t)
	_, err := importer.Run(t.Context(), fromRegistry(t, server.URL), h.target(), importer.Options{})
	if err == nil || !strings.Contains(err.Error(), "docker login") {
		t.Errorf("without credentials the error is %v", err)
	}
}

// TestARegistryThatIsBusyIsAskedAgain: by status, and when it breaks off.
func TestARegistryThatIsBusyIsAskedAgain(t *testing.T) {
	without(t)
	s := distributionStore{files{}}
	a := image(1, nil)
	s.put("app", a, "v1")
	var requests atomic.Int64
	server := running(t, s, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := requests.Add(1)
			switch {
			case n == 1:
				w.WriteHeader(http.StatusServiceUnavailable)
			case n == 2:
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			case strings.Contains(r.URL.Path, "/manifests/sha256:") && r.Method == http.MethodGet && n < 7:
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				w.Header().Set("Docker-Content-Digest", a.Digest.String())
				w.Header().Set("Content-Length", fmt.Sprint(len(a.raw)))
				_, _ = w.Write(a.raw[:20])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			case strings.Contains(r.URL.Path, "/blobs/") && n < 14:
				w.Header().Set("Content-Length", "3000")
				_, _ = w.Write([]byte("not all")) // the connection breaks
				panic(http.ErrAbortHandler)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	h := newHome(t, registry.Options{})
	r := bring(t, fromRegistry(t, server.URL), h)
	h.has("app", "v1", a.Digest)
	h.hasBlob("app", a.blobs[1])
	allCame(t, r)
}

// TestWhatARegistryServesWronglyIsRefused, and all else comes.
func TestWhatARegistryServesWronglyIsRefused(t *testing.T) {
	without(t)
	s := distributionStore{files{}}
	good, bad, short, forged := image(1, nil), image(2, nil), image(3, nil), image(4, nil)
	for tag, a := range map[string]artifact{"good": good, "bad": bad, "short": short, "forged": forged} {
		s.put("app", a, tag)
	}
	server := running(t, s, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := []byte(nil)
			switch {
			case r.Method != http.MethodGet:
			case strings.HasSuffix(r.URL.Path, bad.hex(1)):
				body = random(7, 3000)
			case strings.HasSuffix(r.URL.Path, short.hex(1)):
				body = short.blobs[1][:100]
			case strings.HasSuffix(r.URL.Path, "/manifests/"+forged.Digest.String()):
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				w.Header().Set("Docker-Content-Digest", forged.Digest.String())
				body = good.raw
			}
			if body != nil {
				_, _ = w.Write(body)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	h := newHome(t, registry.Options{})
	r := bring(t, fromRegistry(t, server.URL), h)
	h.has("app", "good", good.Digest)
	want := map[string]string{"bad": "the source has other bytes under this digest", "short": "it has 100 bytes in the source, and not 3000",
		"forged": "other bytes under this digest: they are " + good.Digest.String()}
	for _, refusal := range r.Refused {
		tag := strings.Join(refusal.Tags, ",")
		if !strings.Contains(refusal.Reason, want[tag]) || want[tag] == "" {
			t.Errorf("refused %+v", refusal)
		}
		h.lacks("app", tag)
		delete(want, tag)
	}
	if len(want) > 0 {
		t.Errorf("not refused: %v", want)
	}
}

// TestASourceThatIsGoneEndsTheImport: to go on would only report all of it.
func TestASourceThatIsGoneEndsTheImport(t *testing.T) {
	without(t)
	s := distributionStore{files{}}
	for i := range 20 {
		s.put("app", image(uint64(i), nil), fmt.Sprintf("v%d", i))
	}
	server := running(t, s, nil)
	src := fromRegistry(t, server.URL, "app")
	server.Close()
	h := newHome(t, registry.Options{})
	r, err := importer.Run(t.Context(), src, h.target(), importer.Options{Jobs: 2})
	if err == nil || r.Complete {
		t.Errorf("complete %v, error %v, refused %+v", r.Complete, err, r.Refused)
	}
}

// TestARegistryThatHasHadEnoughEndsTheImport, after it was asked some times with
// growing pauses: who counts pulls would count all that follow.
func TestARegistryThatHasHadEnoughEndsTheImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		enough := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		p, err := importer.ParsePatterns([]string{"a", "b", "c"})
		must(t, err)
		src, err := importer.OpenRegistry(importer.Endpoint{Host: "old", PlainHTTP: true, Transport: inproc.Transport(enough)}, p)
		must(t, err)
		target, err := importer.NewTarget(importer.Endpoint{Host: "home", PlainHTTP: true, Transport: inproc.Transport(http.NotFoundHandler())})
		must(t, err)
		started := time.Now()
		r, err := importer.Run(t.Context(), src, target, importer.Options{Patterns: p, Jobs: 1})
		if err == nil || !strings.Contains(err.Error(), "429") || r.Complete {
			t.Errorf("complete %v, error %v", r.Complete, err)
		}
		if waited := time.Since(started); waited < 10*time.Second || waited > time.Minute || requests.Load() > 10 {
			t.Errorf("%d requests in %v", requests.Load(), waited)
		}
	})
}

// answering is a registry of one repository, "app", that answers as a function
// does, and as one with nothing else in it.
func answering(t *testing.T, answer http.HandlerFunc, repos ...string) importer.Source {
	t.Helper()
	p, err := importer.ParsePatterns(repos)
	must(t, err)
	src, err := importer.OpenRegistry(importer.Endpoint{Host: "old", PlainHTTP: true, Transport: inproc.Transport(answer)}, p)
	must(t, err)
	return src
}

// TestAListThatStallsIsGivenUp: not only the bytes of contents may stop coming.
func TestAListThatStallsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := answering(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"tags": [`))
			<-r.Context().Done()
		}, "app")
		h := newHome(t, registry.Options{})
		r := bring(t, src, h)
		if len(r.Refused) != 1 || r.Refused[0].Repository != "app" || !strings.Contains(r.Refused[0].Reason, "nothing came for a minute") {
			t.Errorf("refused %+v", r.Refused)
		}
	})
}

// TestAListWithoutAnEndEnds: a page that links to itself, with and without names.
func TestAListWithoutAnEndEnds(t *testing.T) {
	s := distributionStore{files{}}
	a := image(1, nil)
	s.put("app", a, "v1")
	old := newHome(t, registry.Options{})
	bring(t, open(t, s.folder(t), ""), old)
	lists := map[string]string{
		"/v2/_catalog":                                    `{"repositories": ["app"]}`,
		"/v2/app/tags/list":                               `{"tags": ["v1"]}`,
		"/v2/app/referrers/" + a.Digest.String():          `{"schemaVersion": 2, "manifests": [{"digest": "` + a.Digest.String() + `"}]}`,
		"/v2/_catalog " /* with nothing in it */ + "none": `{"repositories": []}`,
	}
	for path, body := range lists {
		t.Run(path, func(t *testing.T) {
			path, _, _ := strings.Cut(path, " ")
			src := answering(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != path {
					old.handler.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				w.Header().Set("Link", "<"+path+`?last=x>; rel="next"`)
				_, _ = w.Write([]byte(body))
			})
			r, err := importer.Run(t.Context(), src, newHome(t, registry.Options{}).target(), importer.Options{Jobs: 1})
			if text := fmt.Sprint(err, r.Refused); !strings.Contains(text, "pages have no end") {
				t.Errorf("error %v, refused %+v", err, r.Refused)
			}
			if path != "/v2/_catalog" && (!r.Complete || r.Tags.Copied != 1) {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// TestNamesOfASourceAreHarmless for the terminal that the report is printed on.
func TestNamesOfASourceAreHarmless(t *testing.T) {
	src := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/tags/") {
			_, _ = w.Write([]byte(`{"tags": ["a\n\u001b[2Jb"]}`))
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors": [{"code": "DENIED", "message": "\u001b[2J"}]}`))
	}, "app")
	report := bring(t, src, newHome(t, registry.Options{}))
	var b strings.Builder
	must(t, report.Write(&b))
	if report.Tags.Refused != 1 || strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "app:a\ufffd\ufffd[2Jb\n") {
		t.Errorf("%q", b.String())
	}
}
