package adminclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func TestChangesAreSentAsJSON(t *testing.T) {
	c := client(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "{ \"asked\": [%q, %q, %q, %q] }\n", r.Method, r.URL.EscapedPath(), r.Header.Get("Content-Type"), body)
	})
	got, err := c.Change(t.Context(), http.MethodDelete, adminclient.Path("repositories", "team/app"), admin.ReasonRequest{Reason: "gone"})
	if want := `{"asked":["DELETE","/admin/v1/repositories/team%2Fapp","application/json","{\"reason\":\"gone\"}"]}`; err != nil || string(got) != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

const problem = `{"type":"about:blank","title":"Conflict","status":409,"detail":"no","code":"CONFLICT","events":[{"sequence":7,"time":"2026-11-23T23:34:36Z","kind":"v1.tag.moved","subject":"a:v1","actor":"anonymous"}]}`

func TestRefusedChangeTellsAllThatTheServerSaid(t *testing.T) {
	c := client(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, problem)
	})
	_, changed := c.Change(t.Context(), http.MethodPost, "/undo", admin.UndoRequest{})
	_, worked := c.Work(t.Context(), "/plans/1/execute", admin.ExecuteRequest{}, nil)
	for _, err := range []error{changed, worked} {
		refused, ok := errors.AsType[*adminclient.Refused](err)
		if !ok || refused.Status != 409 || len(refused.Events) != 1 || refused.Events[0].Subject != "a:v1" {
			t.Errorf("got %v", err)
		}
	}
}

func TestWorkTellsProgressAndTheResult(t *testing.T) {
	const one, two = `{"progress":{"done":1}}` + "\n", `{"progress":{"done":2}}` + "\n"
	tired := errors.New("tired")
	for name, test := range map[string]struct {
		lines   string
		told    []string
		result  string
		stopped error
		failed  string
	}{
		"a result":                  {one + two + `{"result":{"done":3}}` + "\n", []string{`{"done":1}`, `{"done":2}`}, `{"done":3}`, nil, ""},
		"a result alone":            {`{"result":{"done":3}}` + "\n", nil, `{"done":3}`, nil, ""},
		"a problem":                 {one + `{"problem":` + problem + `}` + "\n", []string{`{"done":1}`}, "", nil, "no"},
		"an answer that is cut off": {one, []string{`{"done":1}`}, "", nil, "broke off"},
		"a line that is cut off":    {one + `{"result":{"done"`, []string{`{"done":1}`}, "", nil, "unexpected EOF"},
		"something else":            {one + "{}\n", []string{`{"done":1}`}, "", nil, "answers with the line"},
		"no JSON":                   {"hello\n", nil, "", nil, "answers with the line"},
		"a caller that is tired":    {one + two + `{"result":{"done":3}}` + "\n", []string{`{"done":1}`}, "", tired, "tired"},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/x-ndjson")
				io.WriteString(w, test.lines)
			})
			var told []string
			result, err := c.Work(t.Context(), "/sweep", admin.SweepRequest{}, func(p json.RawMessage) error {
				told = append(told, string(p))
				return test.stopped
			})
			if string(result) != test.result || (err == nil) != (test.failed == "") || err != nil && !strings.Contains(err.Error(), test.failed) {
				t.Errorf("got %s (%v), want %s and %q", result, err, test.result, test.failed)
			}
			if !slices.Equal(told, test.told) {
				t.Errorf("told %q, want %q", told, test.told)
			}
		})
	}
}

func TestWorkEndsWithItsContext(t *testing.T) {
	ended := make(chan struct{})
	c := client(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"progress":{"done":1}}`+"\n")
		<-r.Context().Done()
		close(ended)
	})
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := c.Work(ctx, "/sweep", admin.SweepRequest{}, func(json.RawMessage) error {
		cancel(enough)
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	<-ended
}

func TestListMayHaveAFilter(t *testing.T) {
	handler, asked := numbers(3)
	for page, err := range client(handler).List(t.Context(), "/plans/1/items?action=keep", 0) {
		if err != nil || len(page) != 3 {
			t.Errorf("got %s (%v)", page, err)
		}
	}
	if want := []string{"action=keep&n=500"}; !slices.Equal(*asked, want) {
		t.Errorf("asked %q, want %q", *asked, want)
	}
}
