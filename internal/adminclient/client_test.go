package adminclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"artifactstore/internal/adminclient"
	"artifactstore/internal/inproc"
)

// client asks a handler.
func client(handler http.HandlerFunc) *adminclient.Client {
	return adminclient.New("http://localhost", inproc.Transport(handler), "test")
}

func TestServersAreNamedAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:5001":            "http://127.0.0.1:5001",
		"localhost:5001":            "http://localhost:5001",
		"[::1]:5001":                "http://[::1]:5001",
		"http://store.example:5001": "http://store.example:5001",
		"https://store.example/":    "https://store.example",
		"":                          "",
		"ftp://store.example":       "",
		"http://":                   "",
		"http://a:b@store.example":  "",
		"http://store.example/v2":   "",
		"http://store.example/?a=b": "",
		"http://store.example\x7f":  "",
	} {
		got, err := adminclient.ParseServer(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestPathsHoldAnyName(t *testing.T) {
	if got, want := adminclient.Path("repositories", "team/app", "tags", "a?b#c%"), "/repositories/team%2Fapp/tags/a%3Fb%23c%25"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// numbers is a list of the numbers 1 to last in pages of at most 1000.
func numbers(last int) (handler http.HandlerFunc, asked *[]string) {
	asked = new([]string)
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.RawQuery)
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		var items []string
		for i := after + 1; i <= min(after+n, last); i++ {
			items = append(items, strconv.Itoa(i))
		}
		next := ""
		if after+n < last {
			next = fmt.Sprintf(`,"next":"%d"`, after+n)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"items":[%s]%s}`, strings.Join(items, ","), next)
	}, asked
}

func TestListsAreReadPageByPage(t *testing.T) {
	for limit, want := range map[uint64]struct{ entries, requests int }{
		0: {1203, 3}, 1: {1, 1}, 500: {500, 1}, 501: {501, 2}, 1203: {1203, 3}, 5000: {1203, 3},
	} {
		handler, asked := numbers(1203)
		got := 0
		for page, err := range client(handler).List(t.Context(), "/numbers", limit) {
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page {
				if got++; string(item) != strconv.Itoa(got) {
					t.Fatalf("limit %d: entry %d is %s", limit, got, item)
				}
			}
		}
		if got != want.entries || len(*asked) != want.requests {
			t.Errorf("limit %d: %d entries by %q, want %v", limit, got, *asked, want)
		}
	}
}

func TestNoMoreIsReadThanIsWanted(t *testing.T) {
	handler, asked := numbers(100_000)
	for range client(handler).List(t.Context(), "/numbers", 0) {
		break
	}
	if len(*asked) != 1 {
		t.Errorf("asked %q", *asked)
	}
}

func TestAListWithoutEndIsRefused(t *testing.T) {
	c := client(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"items":[1],"next":"x"}`)
	})
	pages := 0
	var last error
	for _, err := range c.List(t.Context(), "/circle", 0) {
		pages++
		last = err
	}
	if foreign, ok := errors.AsType[*adminclient.Foreign](last); !ok || pages > 3 {
		t.Errorf("%d pages, then %v", pages, foreign)
	}
}

func TestRefusalsComeAsTheyAre(t *testing.T) {
	c := client(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"status":404,"code":"NAME_UNKNOWN","detail":"there is no such thing","request":"r"}`)
	})
	_, err := c.Object(t.Context(), "/thing")
	refused, ok := errors.AsType[*adminclient.Refused](err)
	if !ok || refused.Code != "NAME_UNKNOWN" || refused.Status != 404 || err.Error() != "there is no such thing" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoAPIIsNotTakenForOne(t *testing.T) {
	cases := map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		},
		"an error in another form": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"errors":[]}`)
		},
		"an empty problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadGateway)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"items":`)
		},
		"JSON without end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for _, err := io.WriteString(w, "["); err == nil; {
				_, err = io.WriteString(w, strings.Repeat("0,", 64<<10))
			}
		},
	}
	for name, handler := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := client(handler).Object(t.Context(), "/thing")
			if _, ok := errors.AsType[*adminclient.Foreign](err); !ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAServerThatIsNotThereIsUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := adminclient.New(gone.URL, nil, "test").Object(t.Context(), "/thing")
	if _, ok := errors.AsType[*adminclient.Unreachable](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestAnEndedContextIsTheError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := client(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.Object(ctx, "/thing"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestObjectsAreOnOneLine(t *testing.T) {
	c := client(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "{\n \"agent\": %q,\n \"n\": 9007199254740993 }\n", r.UserAgent())
	})
	got, err := c.Object(t.Context(), "/thing")
	if want := `{"agent":"test","n":9007199254740993}`; err != nil || string(got) != want || !json.Valid(got) {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}
