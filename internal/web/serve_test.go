package web_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/web"
)

func TestSlowHeaderIsClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(http.ResponseWriter, *http.Request) {}, web.Options{})
		c := s.dial()
		start := time.Now()
		closed := make(chan struct{})
		defer close(closed)
		go func() {
			for _, b := range "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 100) {
				if _, err := c.Write([]byte{byte(b)}); err != nil {
					return
				}
				select {
				case <-time.After(time.Second):
				case <-closed:
				}
			}
		}()
		io.Copy(io.Discard, c)
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("closed after %v", took)
		}
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
}

func TestHeaderWithoutEndIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(http.ResponseWriter, *http.Request) {}, web.Options{})
		res, c := s.request(t, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("y", 80<<10)+"\r\n\r\n")
		defer c.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered %s", res.Status)
		}
		s.stop()
		<-s.done
	})
}

// readAll is a handler that answers with how its body ended.
func readAll(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	var body *web.BodyError
	switch {
	case errors.Is(err, web.ErrSlow) && errors.As(err, &body):
		w.WriteHeader(http.StatusRequestTimeout)
	case errors.As(err, &body):
		w.WriteHeader(http.StatusBadRequest)
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
	}
	fmt.Fprintf(w, "%d", n)
}

func TestBodies(t *testing.T) {
	const rate = 1000 // bytes per second
	tests := []struct {
		name   string
		pieces int           // of 100 bytes
		pause  time.Duration // before each
		status int
		within time.Duration
	}{
		{"a steady body at the minimum rate is taken however long it is", 3000, 100 * time.Millisecond, 200, time.Hour},
		{"a body below the minimum rate is given up", 3000, 200 * time.Millisecond, 408, 65 * time.Second},
		{"a body that stops is given up", 2, 10 * time.Minute, 408, 31 * time.Second},
		{"a pause within the grace time is forgiven", 1, 25 * time.Second, 200, time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, readAll, web.Options{MinRate: rate})
				c := s.dial()
				defer c.Close()
				start := time.Now()
				answered := make(chan struct{})
				defer close(answered)
				go func() {
					fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 100*test.pieces)
					for range test.pieces {
						select {
						case <-time.After(test.pause):
						case <-answered:
						}
						if _, err := c.Write(make([]byte, 100)); err != nil {
							return
						}
					}
				}()
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); res.StatusCode != test.status || took > test.within {
					t.Errorf("answered %s after %v", res.Status, took)
				}
				c.Close()
				s.stop()
				<-s.done
			})
		})
	}
}

func TestFastBodyEarnsNoRightToStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, readAll, web.Options{})
		c := s.dial()
		defer c.Close()
		start := time.Now() // the write takes no time here
		go func() {
			fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 1<<40)
			c.Write(make([]byte, 10<<20))
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); res.StatusCode != 408 || took > 31*time.Second {
			t.Errorf("answered %s after %v", res.Status, took)
		}
		c.Close()
		s.stop()
		<-s.done
	})
}

func TestTheServersOwnTimeIsNotTheClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			for range 3 {
				time.Sleep(time.Minute) // a slow disk
				if _, err := io.ReadFull(r.Body, make([]byte, 100)); err != nil {
					t.Error(err)
				}
			}
			// Work after the last byte must not look like a client that
			// has gone.
			time.Sleep(time.Minute)
			if err := r.Context().Err(); err != nil {
				t.Error(err)
			}
		}, web.Options{})
		res, c := s.request(t, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n"+strings.Repeat("x", 300))
		defer c.Close()
		if res.StatusCode != 200 {
			t.Errorf("answered %s", res.Status)
		}
		c.Close()
		s.stop()
		<-s.done
	})
}

func TestAbortEndsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			time.AfterFunc(time.Second, func() { web.Abort(r) })
			start := time.Now()
			_, err := io.Copy(io.Discard, r.Body)
			if !errors.Is(err, web.ErrAborted) || time.Since(start) != time.Second {
				t.Errorf("ended after %v with %v", time.Since(start), err)
			}
			if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, web.ErrAborted) {
				t.Errorf("a later read ended with %v", err)
			}
			w.WriteHeader(http.StatusBadRequest)
		}, web.Options{})
		res, c := s.request(t, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\nx")
		if res.StatusCode != 400 || !res.Close {
			t.Errorf("answered %s, close %v", res.Status, res.Close)
		}
		c.Close()
		s.stop()
		<-s.done
	})
}

func TestAbortOfAnEarlierRequestHarmsNoLaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var earlier *http.Request
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if earlier != nil {
				web.Abort(earlier)
			}
			earlier = r
			readAll(w, r)
		}, web.Options{})
		c := s.dial()
		defer c.Close()
		from := bufio.NewReader(c)
		for range 2 {
			go io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
			res, err := http.ReadResponse(from, nil)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := io.ReadAll(res.Body); err != nil || string(data) != "3" || res.StatusCode != 200 {
				t.Errorf("answered %s %q, %v", res.Status, data, err)
			}
		}
		c.Close()
		s.stop()
		<-s.done
	})
}

func TestReaders(t *testing.T) {
	const rate, size = 1 << 20, 64 << 20
	tests := []struct {
		name     string
		perTick  int // bytes read in each second
		complete bool
		within   time.Duration
	}{
		{"a slow but steady reader gets everything", 256 << 10, true, time.Hour},
		{"a reader that stops is let go", 0, false, 35 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended time.Duration
				s := serve(t, func(w http.ResponseWriter, r *http.Request) {
					start := time.Now()
					w.Header().Set("Content-Length", fmt.Sprint(size))
					_, err := io.Copy(w, io.LimitReader(zeros{}, size))
					ended = time.Since(start)
					if (err == nil) != test.complete {
						t.Errorf("the copy ended with %v", err)
					}
				}, web.Options{MinRate: rate})
				res, c := s.request(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if test.perTick > 0 {
					for n := 0; n < size; n += test.perTick {
						time.Sleep(time.Second)
						if _, err := io.CopyN(io.Discard, res.Body, int64(test.perTick)); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(time.Minute)
				c.Close()
				s.stop()
				<-s.done
				if ended > test.within || ended == 0 {
					t.Errorf("the handler ended after %v", ended)
				}
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestDeadlineOfOneResponseDoesNotEndTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(10 * time.Minute)
			}
			io.WriteString(w, "ok")
		}, web.Options{})
		c := s.dial()
		defer c.Close()
		from := bufio.NewReader(c)
		for _, path := range []string{"/fast", "/slow"} {
			go fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
			res, err := http.ReadResponse(from, nil)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if data, err := io.ReadAll(res.Body); err != nil || string(data) != "ok" {
				t.Errorf("%s: %q, %v", path, data, err)
			}
		}
		c.Close()
		s.stop()
		<-s.done
	})
}

func TestDrain(t *testing.T) {
	tests := []struct {
		name     string
		work     time.Duration
		answered bool
	}{
		{"a request in flight is answered", 20 * time.Second, true},
		{"a request without end is cut off", time.Hour, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				running := make(chan struct{})
				s := serve(t, func(w http.ResponseWriter, r *http.Request) {
					close(running)
					select {
					case <-time.After(test.work):
						io.WriteString(w, "ok")
					case <-r.Context().Done():
					}
				}, web.Options{})
				c := s.dial()
				defer c.Close()
				go io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				<-running
				s.stop()
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if test.answered != (err == nil && res.StatusCode == 200) {
					t.Errorf("answered %v, %v", res, err)
				}
				if err := <-s.done; (err == nil) != test.answered {
					t.Errorf("Serve returned %v", err)
				}
			})
		})
	}
}

func TestServeReturnsTheListenersFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := web.Serve(t.Context(), l, nil, web.Options{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("returned %v", err)
	}
}

func TestLargeWriteIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // more than three pieces
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n, err := w.Write(want); n != len(want) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		}, web.Options{})
		res, c := s.request(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		c.Close()
		s.stop()
		<-s.done
		if sent := s.log.requests(t)[0]["sent"]; sent != float64(len(want)) {
			t.Errorf("logged %v bytes", sent)
		}
	})
}
