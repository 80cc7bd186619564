package inproc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"artifactstore/internal/inproc"
)

func client(h http.HandlerFunc) *http.Client { return &http.Client{Transport: inproc.Transport(h)} }

func TestARequestReachesTheHandlerAsAServerWouldGiveIt(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", strings.Join([]string{r.Method, r.Host, r.RequestURI, string(body)}, " "))
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, "yes")
	})
	resp, err := c.Post("http://registry.example/v2/a%2Fb?x=1", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "yes" || resp.StatusCode != 202 || resp.ContentLength != 3 {
		t.Errorf("got %d, length %d, %q, %v", resp.StatusCode, resp.ContentLength, body, err)
	}
	if got, want := resp.Header.Get("X-Seen"), "POST registry.example /v2/a%2Fb?x=1 hello"; got != want {
		t.Errorf("the handler saw %q, want %q", got, want)
	}
}

func TestBodiesAreStreamedBothWays(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		one := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, one); err != nil {
				return
			}
			w.Write(bytes.ToUpper(one))
		}
	})
	reader, writer := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, "http://x/", reader)
	if err != nil {
		t.Fatal(err)
	}
	go io.WriteString(writer, "a")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	for _, letter := range []string{"a", "b", "c"} { // an answer comes before the next letter is sent
		if letter != "a" {
			go io.WriteString(writer, letter)
		}
		if _, err := io.ReadFull(resp.Body, one); err != nil || string(one) != strings.ToUpper(letter) {
			t.Fatalf("got %q, %v", one, err)
		}
	}
	writer.Close()
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("the end is %q, %v", rest, err)
	}
	resp.Body.Close()
}

func TestAHandlerLearnsThatItsClientWent(t *testing.T) {
	defer goleak.VerifyNone(t)
	ended := make(chan error, 1)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, "more"); err != nil {
				<-r.Context().Done()
				ended <- err
				return
			}
		}
	})
	resp, err := c.Get("http://x/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing failed with %v", err)
	}
}

func TestTheEndOfAContextEndsTheRequest(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	c := client(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		close(ended)
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

// TestWhatAContextCutsOffIsNoEnd: the handler notices, too, and returns.
func TestWhatAContextCutsOffIsNoEnd(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a beginning")
		<-r.Context().Done()
	})
	for range 100 { // who is first is a matter of chance
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, len("a beginning"))); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Fatalf("the rest ended with %v", err)
		}
		resp.Body.Close()
	}
}

func TestAPanicBreaksTheResponseOff(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			io.WriteString(w, "a beginning")
		}
		panic(http.ErrAbortHandler)
	})
	if _, err := c.Get("http://x/early"); err == nil {
		t.Error("a response without a beginning was answered")
	}
	resp, err := c.Get("http://x/late")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a response that was broken off looks whole")
	}
	resp.Body.Close()
}

func TestAnAnswerToHEADHasNoBody(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "9")
		io.WriteString(w, "ignored..")
	})
	resp, err := c.Head("http://x/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if len(body) > 0 || err != nil || resp.ContentLength != 9 {
		t.Errorf("got %q, %v, length %d", body, err, resp.ContentLength)
	}
}
