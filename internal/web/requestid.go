package web

import (
	"context"
	"crypto/rand"
	"net/http"
)

// maxRequestID is the longest X-Request-ID that is taken over from a client.
const maxRequestID = 128

// RequestID returns the id of the request that ctx belongs to: the client's
// X-Request-ID if it had an acceptable one (1 to 128 characters of A-Z, a-z,
// 0-9, '.', '_' and '-'), else one made here. Outside Wrap it is "".
func RequestID(ctx context.Context) string {
	if entry := recordOf(ctx); entry != nil {
		return entry.id
	}
	return ""
}

// requestID takes the client's id or makes one. Anything else than the simple
// characters is not repaired but replaced: the id goes into logs and events.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-ID"); acceptableID(id) {
		return id
	}
	return rand.Text()
}

func acceptableID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
