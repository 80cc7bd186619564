package distribution_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"artifactstore/registry/identity"
)

// start begins an upload and returns its Location.
func (s *server) start(repository, query string) string {
	s.t.Helper()
	r := s.do("POST", "/v2/"+repository+"/blobs/uploads/"+query, nil).want(202, "Range: 0-0")
	if !strings.HasPrefix(r.location(), "/v2/"+repository+"/blobs/uploads/") {
		s.t.Fatalf("Location is %q", r.location())
	}
	return r.location()
}

func TestPush(t *testing.T) {
	s := newServer(t)
	ways := map[string]func(repository, digest string, data []byte) *reply{
		"in one request": func(repository, digest string, data []byte) *reply {
			return s.do("POST", "/v2/"+repository+"/blobs/uploads/?digest="+digest, data)
		},
		"in one request of unknown length": func(repository, digest string, data []byte) *reply {
			return s.send("POST", "/v2/"+repository+"/blobs/uploads/?digest="+digest, io.MultiReader(strings.NewReader(string(data))))
		},
		"by POST and PUT": func(repository, digest string, data []byte) *reply {
			return s.do("PUT", s.start(repository, "")+"?digest="+digest, data)
		},
		"by POST without a slash": func(repository, digest string, data []byte) *reply {
			at := s.do("POST", "/v2/"+repository+"/blobs/uploads", nil).want(202).location()
			return s.do("PUT", at+"?digest="+digest, data)
		},
		"as a stream": func(repository, digest string, data []byte) *reply {
			at := s.send("PATCH", s.start(repository, ""), io.MultiReader(strings.NewReader(string(data)))).
				want(202, fmt.Sprintf("Range: 0-%d", max(0, len(data)-1))).location()
			return s.do("PUT", at+"?digest="+digest, nil)
		},
		"in chunks": func(repository, digest string, data []byte) *reply {
			at := s.start(repository, "")
			for i := 0; i < len(data); i += 1000 {
				end := min(i+1000, len(data))
				at = s.do("PATCH", at, data[i:end], fmt.Sprintf("Content-Range: %d-%d", i, end-1)).
					want(202, fmt.Sprintf("Range: 0-%d", end-1)).location()
			}
			return s.do("PUT", at+"?digest="+digest, nil)
		},
		"in chunks, the last by PUT": func(repository, digest string, data []byte) *reply {
			at, half := s.start(repository, ""), len(data)/2
			at = s.do("PATCH", at, data[:half]).want(202).location()
			if len(data) == 0 {
				return s.do("PUT", at+"?digest="+digest, nil)
			}
			return s.do("PUT", at+"?digest="+digest, data[half:], fmt.Sprintf("Content-Range: bytes %d-%d/%d", half, len(data)-1, len(data)))
		},
		"with the algorithm announced": func(repository, digest string, data []byte) *reply {
			algorithm, _, _ := strings.Cut(digest, ":")
			at := s.do("PATCH", s.start(repository, "?digest-algorithm="+algorithm), data).want(202).location()
			return s.do("PUT", at+"?digest="+digest, nil)
		},
	}
	seed := 0
	for way, push := range ways {
		for _, algorithm := range []identity.Algorithm{identity.SHA256, identity.SHA512, identity.BLAKE3} {
			for _, size := range []int{0, 1, inlineLimit, inlineLimit + 1, 70_000} {
				t.Run(fmt.Sprintf("%s, %s, %d bytes", way, algorithm, size), func(t *testing.T) {
					seed++
					repository := fmt.Sprintf("push/%d", seed)
					data := content(seed, size)
					digest := digestOf(algorithm, data)
					at := "/v2/" + repository + "/blobs/" + digest
					s.do("GET", at, nil).refused(404, "NAME_UNKNOWN")
					push(repository, digest, data).want(201, "Location: "+at, "Docker-Content-Digest: "+digest, "Content-Length: 0")
					s.do("GET", at, nil).want(200, "Docker-Content-Digest: "+digest).bytes(data)
				})
			}
		}
	}
}

func TestPushWithAWrongDigest(t *testing.T) {
	s := newServer(t)
	data, wrong := content(1, 5000), sha256Of([]byte("other"))
	s.do("POST", "/v2/a/blobs/uploads/?digest="+wrong, data).refused(400, "DIGEST_INVALID")
	at := s.do("PATCH", s.start("a", ""), data).want(202).location()
	s.do("PUT", at+"?digest="+wrong, nil).refused(400, "DIGEST_INVALID")
	s.do("PUT", at+"?digest="+digestOf(identity.SHA512, []byte("other")), nil).refused(400, "DIGEST_INVALID")
	s.do("PUT", at, nil).refused(400, "DIGEST_INVALID")
	s.do("PUT", at+"?digest="+wrong+"&digest="+wrong, nil).refused(400, "BLOB_UPLOAD_INVALID")
	s.do("PUT", at+"?digest=%zz", nil).refused(400, "BLOB_UPLOAD_INVALID")
	// The session stands where it stood.
	s.do("GET", at, nil).want(204, "Range: 0-4999")
	s.do("PUT", at+"?digest="+sha256Of(data), nil).want(201)
}

func TestUploadStatusAndOrder(t *testing.T) {
	s := newServer(t)
	data := content(1, 9000)
	at := s.start("a", "")
	s.do("GET", at, nil).want(204, "Location: "+at, "Range: 0-0", "Content-Length:")
	s.do("PATCH", at, data[3000:6000], "Content-Range: 3000-5999").refused(416, "RANGE_INVALID", "Location: "+at, "Range: 0-0")
	s.do("PATCH", at, data[:3000], "Content-Range: 0-2999").want(202, "Location: "+at, "Range: 0-2999")
	s.do("PATCH", at, data[:3000], "Content-Range: 0-2999").refused(416, "RANGE_INVALID", "Location: "+at, "Range: 0-2999")
	s.do("PATCH", at, data[6000:], "Content-Range: 6000-8999").refused(416, "RANGE_INVALID", "Range: 0-2999")
	s.do("PUT", at+"?digest="+sha256Of(data), data[6000:], "Content-Range: 6000-8999").refused(416, "RANGE_INVALID", "Location: "+at, "Range: 0-2999")
	s.do("GET", at, nil).want(204, "Location: "+at, "Range: 0-2999")
	s.do("HEAD", at, nil).want(204, "Range: 0-2999")
	s.do("PATCH", at, data[3000:], "Content-Range: 3000-8998").refused(400, "SIZE_INVALID")
	s.do("PATCH", at, data[3000:], "Content-Range: x").refused(400, "BLOB_UPLOAD_INVALID")
	s.do("PUT", at+"?digest="+sha256Of(data), data[3000:], "Content-Range: 3000-8999").want(201)
}

func TestFinishedUploadGivesTheSameAnswerAgain(t *testing.T) {
	s := newServer(t)
	data := content(1, 9000)
	at := s.do("PATCH", s.start("a", ""), data).want(202).location()
	for range 3 {
		s.do("PUT", at+"?digest="+sha256Of(data), nil).want(201, "Location: /v2/a/blobs/"+sha256Of(data))
	}
	s.do("PUT", at+"?digest="+sha256Of([]byte("x")), nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("GET", at, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("PATCH", at, data).refused(404, "BLOB_UPLOAD_UNKNOWN")
}

func TestCancel(t *testing.T) {
	s := newServer(t)
	for _, size := range []int{0, 100, 70_000} {
		at := s.start("a", "")
		if size > 0 {
			at = s.do("PATCH", at, content(1, size)).want(202).location()
		}
		s.do("DELETE", at, nil).want(204)
		s.do("DELETE", at, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
		s.do("GET", at, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
		s.do("PATCH", at, []byte("x")).refused(404, "BLOB_UPLOAD_UNKNOWN")
		s.do("PUT", at+"?digest="+sha256Of([]byte("x")), []byte("x")).refused(404, "BLOB_UPLOAD_UNKNOWN")
	}
}

func TestSessionBelongsToItsRepository(t *testing.T) {
	s := newServer(t)
	at := s.do("PATCH", s.start("a", ""), []byte("x")).want(202).location()
	foreign := strings.Replace(at, "/v2/a/", "/v2/b/", 1)
	s.do("GET", foreign, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("PATCH", foreign, []byte("x")).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("DELETE", foreign, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("GET", at, nil).want(204, "Range: 0-0")
}

func TestMount(t *testing.T) {
	s := newServer(t)
	small, large := s.pushBlob("source", content(1, 10)), s.pushBlob("source", content(2, 70_000))
	mount := func(repository, query string) *reply {
		return s.do("POST", "/v2/"+repository+"/blobs/uploads/?"+query, nil)
	}
	for _, d := range []string{small, large, digestOf(identity.BLAKE3, content(1, 10))} {
		at := "/v2/target/blobs/" + d
		mount("target", "mount="+d+"&from=source").want(201, "Location: "+at, "Docker-Content-Digest: "+d)
		s.do("HEAD", at, nil).want(200)
		mount("anywhere", "mount="+d).want(201, "Location: /v2/anywhere/blobs/"+d)
	}
	absent := sha256Of([]byte("absent"))
	for _, query := range []string{
		"mount=" + absent + "&from=source", "mount=" + small + "&from=nothing", "mount=" + small + "&from=..%2F..%2Fetc",
		"mount=" + absent,
	} {
		at := mount("target", query).want(202, "Range: 0-0").location()
		s.do("GET", at, nil).want(204)
	}
	mount("target", "mount=sha256:abc&from=source").refused(400, "DIGEST_INVALID")
	mount("target", "mount="+small+"&from=source&from=source").refused(400, "BLOB_UPLOAD_INVALID")
	// What cannot be mounted can come with the same request.
	data := content(3, 50)
	s.do("POST", "/v2/target/blobs/uploads/?mount="+sha256Of(data)+"&from=source&digest="+sha256Of(data), data).want(201)
	s.do("GET", "/v2/target/blobs/"+sha256Of(data), nil).want(200).bytes(data)
}

func TestUnknownAlgorithmIsRefusedAtTheStart(t *testing.T) {
	s := newServer(t)
	s.do("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", nil).refused(400, "DIGEST_INVALID")
	s.do("POST", "/v2/a/blobs/uploads/?digest=md5:00", nil).refused(400, "DIGEST_INVALID")
	s.do("POST", "/v2/A/blobs/uploads/", nil).refused(400, "NAME_INVALID")
}

// raw opens a connection and writes text to it.
func (s *server) raw(text string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, text)
	must(s.t, err)
	return c
}

// offset waits until the upload has at least n bytes, and returns how many.
func (s *server) offset(at string, n int) (got int) {
	s.t.Helper()
	for range 200 {
		r := s.do("GET", at, nil).want(204)
		fmt.Sscanf(r.header.Get("Range"), "0-%d", &got)
		if got++; got >= n {
			return got
		}
		time.Sleep(10 * time.Millisecond) // the server notices on its own time
	}
	s.t.Fatalf("the upload stands at %d, want %d", got, n)
	return 0
}

func TestUploadResumesAfterABrokenConnection(t *testing.T) {
	s := newServer(t)
	data := content(1, 100_000)
	at := s.start("a", "")
	c := s.raw(fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", at, len(data), data[:60_000]))
	c.Close()
	n := s.offset(at, 60_000)
	s.do("PATCH", at, data[n:], fmt.Sprintf("Content-Range: %d-%d", n, len(data)-1)).want(202)
	s.do("PUT", at+"?digest="+sha256Of(data), nil).want(201)
	s.do("GET", "/v2/a/blobs/"+sha256Of(data), nil).want(200).bytes(data)
	if !strings.Contains(s.log.String(), `"status":499`) {
		t.Errorf("the log does not say that the client went away: %s", s.log)
	}
}

func TestUploadIsTakenOverFromAStalledConnection(t *testing.T) {
	s := newServer(t)
	data := content(1, 100_000)
	at := s.start("a", "")
	c := s.raw(fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", at, len(data)))
	answers := bufio.NewReader(c)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") { // the server reads the body now
		t.Fatalf("answered %q, %v", line, err)
	}
	_, err := answers.ReadString('\n')
	must(t, err)
	_, err = c.Write(data[:60_000])
	must(t, err)
	// The stalled connection stays open: the client believes it lost, the
	// server does not know. Asked where to go on, the server must not say
	// less than it accepts next.
	start := time.Now()
	var n int
	for {
		r := s.do("PATCH", at, data[n:], fmt.Sprintf("Content-Range: %d-%d", n, len(data)-1))
		if r.status == 202 {
			break
		}
		r.refused(416, "RANGE_INVALID")
		fmt.Sscanf(r.header.Get("Range"), "0-%d", &n)
		n++
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	line, err := answers.ReadString('\n')
	if err == nil && !strings.Contains(line, " 416 ") {
		t.Errorf("the stalled request was answered %q", line)
	}
	s.do("PUT", at+"?digest="+sha256Of(data), nil).want(201)
	s.do("GET", "/v2/a/blobs/"+sha256Of(data), nil).want(200).bytes(data)
}

func TestSessionsAreNotLogged(t *testing.T) {
	s := newServer(t)
	at := s.do("PATCH", s.start("a", ""), content(1, 100)).want(202).location()
	s.do("PUT", at+"?digest="+sha256Of(content(1, 100)), nil).want(201)
	session := at[strings.LastIndex(at, "/")+1:]
	if log := s.log.String(); strings.Contains(log, session) || !strings.Contains(log, "/v2/a/blobs/uploads/"+session[:8]+"...") {
		t.Errorf("logged %s", log)
	}
}
