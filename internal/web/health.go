package web

import (
	"context"
	"io"
	"net/http"
)

// Live answers that the process serves requests.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(r.Context(), "livez")
		SetRoutine(r.Context())
		say(w, http.StatusOK, "ok\n")
	})
}

// Ready answers 200 if ready returns nil and 503 if not. What ready returned is
// logged and not sent.
func Ready(ready func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(r.Context(), "readyz")
		SetRoutine(r.Context())
		if err := ready(r.Context()); err != nil {
			SetError(r.Context(), "NOT_READY", err)
			say(w, http.StatusServiceUnavailable, "not ready\n")
			return
		}
		say(w, http.StatusOK, "ok\n")
	})
}

func say(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, line) // nobody to tell if it fails
}
