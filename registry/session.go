package registry

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"artifactstore/registry/identity"
)

// session is what the opaque part of an upload's Location says. Beginning an
// upload stores nothing: the server recognises its own session by the
// signature, which also binds it to the repository and the caller.
type session struct {
	id        string
	algorithm identity.Algorithm // to hash by beside BLAKE3 and SHA-256, or ""
	created   time.Time
}

// The token is the base64url form of: 16 bytes of id, 8 bytes of creation time
// in microseconds (big endian), 1 byte of algorithm, 32 bytes of HMAC-SHA256.
const (
	tokenBody = 16 + 8 + 1
	tokenSize = tokenBody + sha256.Size
)

// algorithmCodes are the algorithms that a token can carry, by their byte.
var algorithmCodes = [...]identity.Algorithm{"", identity.SHA256, identity.SHA512, identity.BLAKE3}

func (r *Repository) signSession(s session) string {
	token := make([]byte, tokenBody, tokenSize)
	_, _ = hex.Decode(token, []byte(s.id)) // newID made it
	binary.BigEndian.PutUint64(token[16:], uint64(s.created.UnixMicro()))
	for code, a := range algorithmCodes {
		if a == s.algorithm {
			token[24] = byte(code)
		}
	}
	return base64.RawURLEncoding.EncodeToString(append(token, r.sessionMAC(token)...))
}

func (r *Repository) sessionMAC(body []byte) []byte {
	mac := hmac.New(sha256.New, r.secret)
	// Names hold no zero byte, so the parts cannot run into each other.
	mac.Write([]byte("upload\x00" + r.name + "\x00" + r.caller.Actor + "\x00"))
	mac.Write(body)
	return mac.Sum(nil)
}

// openSession checks a token; BlobUploadUnknown if it is not ours, not this
// repository's, not this caller's, or expired.
func (r *Repository) openSession(ctx context.Context, token string) (session, error) {
	unknown := Errorf(BlobUploadUnknown, "there is no such upload session; it may have expired: start a new one")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != tokenSize ||
		!hmac.Equal(raw[tokenBody:], r.sessionMAC(raw[:tokenBody])) ||
		int(raw[24]) >= len(algorithmCodes) {
		return session{}, unknown
	}
	s := session{
		id:        hex.EncodeToString(raw[:16]),
		algorithm: algorithmCodes[raw[24]],
		created:   time.UnixMicro(int64(binary.BigEndian.Uint64(raw[16:]))),
	}
	var now time.Time
	if err := r.ledger.Read(ctx, func(v View) error { now = v.Now(); return nil }); err != nil {
		return session{}, err
	}
	if now.After(s.created.Add(r.opts.UploadExpiry)) {
		return session{}, unknown
	}
	return s, nil
}

// activeUploads are the sessions that a request of this process is working on:
// a session has one user at a time.
type activeUploads struct {
	mu   sync.Mutex
	busy map[string]*activeUpload
	last uint64 // ticket
}

// activeUpload is the one request that works on a session.
type activeUpload struct {
	ticket uint64
	done   chan struct{} // closed when the request has left

	mu sync.Mutex
	// stop makes reading the body fail; nil once nothing is to be read any
	// more, from when on the request comes to its end by itself.
	stop  func()
	taken bool // stop was called
}

// read tells that the request needs nothing from its client any more.
func (u *activeUpload) read() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stop = nil
}

// interrupt stops the request if it is still reading.
func (u *activeUpload) interrupt() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stop != nil {
		u.taken = true
		u.stop()
		u.stop = nil
	}
}

func (u *activeUpload) isTaken() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.taken
}

// enter makes the caller the only user of a session. An older user that is
// still reading its body (whose stop is not nil) is stopped: after a broken connection a client comes
// back while the server may still be waiting for the old one. leave must be
// called, and the work must end soon after stop was. ctx bounds the waiting.
func (a *activeUploads) enter(ctx context.Context, id string, stop func()) (me *activeUpload, leave func(), err error) {
	me = &activeUpload{stop: stop, done: make(chan struct{})}
	for {
		other := a.take(id, me)
		if other == nil {
			return me, func() { a.leave(id, me) }, nil
		}
		if other.ticket < me.ticket {
			other.interrupt()
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// take makes me the user of a session, or returns the one there is.
func (a *activeUploads) take(id string, me *activeUpload) (other *activeUpload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if me.ticket == 0 {
		a.last++
		me.ticket = a.last
	}
	if other := a.busy[id]; other != nil {
		return other
	}
	if a.busy == nil {
		a.busy = make(map[string]*activeUpload)
	}
	a.busy[id] = me
	return nil
}

func (a *activeUploads) leave(id string, me *activeUpload) {
	a.mu.Lock()
	delete(a.busy, id)
	a.mu.Unlock()
	close(me.done)
}
