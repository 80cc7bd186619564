package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"artifactstore/registry/identity"
)

// Chunk is a part of an upload, as one request brings it.
type Chunk struct {
	// Ranged tells that the client said which bytes these are: Start to End,
	// both inclusive.
	Ranged     bool
	Start, End int64
	// Length is the number of bytes in Body, or -1 if that is not known.
	// Body is never nil.
	Length int64
	Body   io.Reader
	// Abort makes a Read of Body return soon, with an error. It is called
	// from another goroutine, when another request takes the session over;
	// nil means that Body never blocks for long.
	Abort func()
}

// UploadStatus is how far an upload session has come.
type UploadStatus struct {
	Session string // opaque, of URL-safe characters
	Offset  int64  // bytes accepted
}

// StartUpload begins an upload session. Nothing is stored before the first
// bytes. algorithm is the client's hint of the digest that it will name, or "".
func (r *Repository) StartUpload(ctx context.Context, algorithm identity.Algorithm) (string, error) {
	if err := checkAlgorithm(algorithm); err != nil {
		return "", err
	}
	s, err := r.newSession(ctx, algorithm)
	if err != nil {
		return "", err
	}
	return r.signSession(s), nil
}

// newSession makes a session. Without a hint, the algorithm that the repository
// used last is hashed from the start too, so that nothing is read twice.
func (r *Repository) newSession(ctx context.Context, algorithm identity.Algorithm) (session, error) {
	s := session{id: newID(), algorithm: algorithm}
	err := r.ledger.Read(ctx, func(v View) (err error) {
		s.created = v.Now()
		if s.algorithm == "" {
			s.algorithm, err = v.PreferredAlgorithm(r.name)
		}
		return err
	})
	if err != nil {
		return s, fmt.Errorf("start upload: %w", err)
	}
	if err := storage(r.bytes.Room(ctx)); err != nil {
		return s, err
	}
	return s, nil
}

// AppendUpload appends a chunk. RangeInvalid if it does not begin where the
// upload stands; its Detail is then the true UploadStatus. What arrived of a
// body that broke off is kept, unless the chunk was Ranged with another length.
func (r *Repository) AppendUpload(ctx context.Context, token string, chunk Chunk) (UploadStatus, error) {
	s, err := r.openSession(ctx, token)
	if err != nil {
		return UploadStatus{}, err
	}
	me, ctx, leave, err := r.enter(ctx, s, chunk)
	if err != nil {
		return UploadStatus{}, err
	}
	defer leave()
	in, err := r.claim(ctx, s, chunk)
	if err != nil {
		return UploadStatus{}, r.outcome(ctx, me, err, token)
	}
	if in.up.State == UploadFinished {
		return UploadStatus{}, Errorf(BlobUploadUnknown, "the upload session has ended")
	}
	before := in.up.Staged.Offset
	failed := in.ingest(ctx, me.body(chunk), s.algorithm)
	if failed == nil {
		if err := chunk.check(in.up.Staged.Offset - before); err != nil {
			return UploadStatus{}, err
		}
	}
	if err := in.keep(ctx); err != nil && failed == nil {
		failed = err
	}
	failed = r.outcome(ctx, me, failed, token)
	in.overtaken(ctx, failed)
	return UploadStatus{token, in.up.Staged.Offset}, failed
}

// body is the body of a chunk; once it has ended, the request is not stopped any more.
func (u *activeUpload) body(chunk Chunk) io.Reader { return &watchedBody{chunk.Body, u} }

type watchedBody struct {
	io.Reader
	user *activeUpload
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.user.read()
	}
	return n, err
}

// outcome is the error of a request that worked on a session. One whose chunk is
// out of order, or that another request has overtaken, is told where the session
// stands by now.
func (r *Repository) outcome(ctx context.Context, me *activeUpload, err error, token string) error {
	var e *Error
	taken := err != nil && me.isTaken()
	if !taken && !(errors.As(err, &e) && e.Code == RangeInvalid) {
		return err
	}
	if taken {
		e = errTaken()
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	status, failed := r.UploadStatus(ctx, token)
	if failed != nil {
		return failed
	}
	e.Detail = status
	return e
}

func errTaken() *Error {
	return Errorf(RangeInvalid, "another request has taken the upload session over")
}

// keep remembers what was accepted, also when the client has gone.
func (in *incoming) keep(ctx context.Context) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	return in.save(ctx, in.up, false)
}

// check compares the number of bytes that came with what the client said.
func (c Chunk) check(got int64) error {
	if c.Ranged && got != c.End-c.Start+1 {
		return Errorf(SizeInvalid, "the body has %d bytes, its Content-Range %d", got, c.End-c.Start+1)
	}
	return nil
}

// enter makes this request the only user of the session.
func (r *Repository) enter(ctx context.Context, s session, chunk Chunk) (*activeUpload, context.Context, func(), error) {
	working, cancel := context.WithCancel(ctx)
	stop := func() {
		cancel()
		if chunk.Abort != nil {
			chunk.Abort()
		}
	}
	if chunk.Length == 0 {
		stop = nil // there is nothing to wait for
	}
	me, leave, err := r.active.enter(ctx, s.id, stop)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return me, working, func() { leave(); cancel() }, nil
}

// claim takes the session over by raising its generation, so that whatever an
// earlier request still saves is refused. What that has saved since the session
// was looked up would be lost: then it is this request that is refused. A session
// without a row has nothing to take over. What it returns is never nil.
func (r *Repository) claim(ctx context.Context, s session, chunk Chunk) (*incoming, error) {
	in := r.receive(s)
	err := r.ledger.Read(ctx, func(v View) error {
		up, err := v.Upload(s.id)
		if up != nil {
			in.up, in.saved = *up, up.Staged.Offset
		}
		return err
	})
	if err != nil {
		return in, fmt.Errorf("look up upload: %w", err)
	}
	if in.up.State == UploadCancelled {
		return in, Errorf(BlobUploadUnknown, "the upload session has ended; start a new upload")
	}
	if in.up.State == UploadFinished {
		return in, nil
	}
	if chunk.Ranged && chunk.Start != in.up.Staged.Offset {
		return in, Errorf(RangeInvalid, "the chunk begins at byte %d, the upload stands at %d", chunk.Start, in.up.Staged.Offset)
	}
	if in.up.Generation == 0 {
		return in, nil
	}
	var claimed Upload
	err = r.update(ctx, Keys{Uploads: []string{s.id}}, func(v View, c *Change) error {
		if err := sameGeneration(v, s.id, in.up.Generation); err != nil {
			return err
		}
		up, err := v.Upload(s.id)
		if err != nil {
			return fmt.Errorf("look up upload: %w", err)
		}
		if up.Staged.Offset != in.saved {
			return errTaken()
		}
		claimed = *up
		claimed.Generation++
		c.Puts = append(c.Puts, claimed)
		return nil
	})
	if err == nil {
		in.up = claimed
	}
	return in, err
}

// UploadStatus tells how far an upload session has come; BlobUploadUnknown.
func (r *Repository) UploadStatus(ctx context.Context, token string) (UploadStatus, error) {
	s, err := r.openSession(ctx, token)
	if err != nil {
		return UploadStatus{}, err
	}
	status := UploadStatus{Session: token}
	err = r.ledger.Read(ctx, func(v View) error {
		up, err := v.Upload(s.id)
		if err != nil || up == nil {
			return err
		}
		if up.State != UploadOpen {
			return Errorf(BlobUploadUnknown, "the upload session has ended")
		}
		status.Offset = up.Staged.Offset
		return nil
	})
	return status, err
}

// FinishUpload appends a last chunk, which may be empty, and makes the bytes a
// blob of the repository. Asking again for what was finished already gives the
// same answer. DigestInvalid if the bytes have another digest; the session then
// stands where it stood before this request.
func (r *Repository) FinishUpload(ctx context.Context, token string, chunk Chunk, d identity.Digest) (identity.Digest, error) {
	s, err := r.openSession(ctx, token)
	if err != nil {
		return identity.Digest{}, err
	}
	me, ctx, leave, err := r.enter(ctx, s, chunk)
	if err != nil {
		return identity.Digest{}, err
	}
	defer leave()
	in, err := r.claim(ctx, s, chunk)
	if err == nil && in.up.State == UploadFinished {
		return r.finished(ctx, in, d)
	}
	if err != nil {
		return r.overtaken(ctx, me, in, err, token, d)
	}
	if s.algorithm == "" {
		s.algorithm = d.Algorithm()
	}
	chunk.Body = me.body(chunk)
	if err = in.complete(ctx, chunk, d, s.algorithm); err != nil {
		return r.overtaken(ctx, me, in, err, token, d)
	}
	return d, nil
}

// overtaken is the answer to a request to finish that failed: if another one,
// on another node, has finished meanwhile, its result counts.
func (r *Repository) overtaken(ctx context.Context, me *activeUpload, in *incoming, err error, token string, d identity.Digest) (identity.Digest, error) {
	err = r.outcome(ctx, me, err, token)
	if row := in.overtaken(ctx, err); row != nil && row.State == UploadFinished {
		in.up = *row
		return r.finished(ctx, in, d)
	}
	return identity.Digest{}, err
}

// finished answers a request to finish what is finished.
func (r *Repository) finished(ctx context.Context, in *incoming, d identity.Digest) (identity.Digest, error) {
	c, err := r.Blob(ctx, in.up.Result)
	var gone *Error
	switch {
	case err == nil && c.blob.Digests.Has(d):
		return d, nil
	case err == nil || errors.As(err, &gone):
		return identity.Digest{}, &Error{Code: BlobUploadUnknown, Message: "the upload session has ended with other content", Err: err}
	}
	return identity.Digest{}, err
}

// PushBlob makes the body of one request a blob of the repository.
func (r *Repository) PushBlob(ctx context.Context, d identity.Digest, chunk Chunk) (identity.Digest, error) {
	if chunk.Ranged && chunk.Start != 0 {
		return identity.Digest{}, Errorf(RangeInvalid, "the chunk begins at byte %d, and there is nothing before it", chunk.Start)
	}
	s, err := r.newSession(ctx, d.Algorithm())
	if err != nil {
		return identity.Digest{}, err
	}
	in := r.receive(s)
	if err := in.complete(ctx, chunk, d, s.algorithm); err != nil {
		in.abandon(ctx)
		return identity.Digest{}, err
	}
	return d, nil
}

// complete reads the last chunk and commits the blob.
func (in *incoming) complete(ctx context.Context, chunk Chunk, d identity.Digest, also identity.Algorithm) error {
	defer in.release()
	before := in.up.Staged.Offset
	in.up.Staged.Last = true
	// Bytes that are in a store already need no empty chunk; a sequence that
	// is new begins with one even if it stays empty.
	if chunk.Length != 0 || in.up.Staged.Store == "" {
		if err := in.ingest(ctx, chunk.Body, also); err != nil {
			return errors.Join(err, in.keep(ctx))
		}
	}
	if err := chunk.check(in.up.Staged.Offset - before); err != nil {
		return err
	}
	if err := in.seal(ctx, d); err != nil {
		return err
	}
	in.up.Result = d
	return commit(ctx, in.r, []*incoming{in}, Keys{}, func(v View, c *Change) error {
		return in.link(v, c)
	})
}

// link makes the bytes a blob of the repository.
func (in *incoming) link(v View, c *Change) error {
	primary := in.sealed.Digests.Primary()
	return in.r.linkBlob(v, c, primary, "")
}

// CancelUpload ends an upload session and drops its bytes; BlobUploadUnknown.
func (r *Repository) CancelUpload(ctx context.Context, token string) error {
	s, err := r.openSession(ctx, token)
	if err != nil {
		return err
	}
	_, ctx, leave, err := r.enter(ctx, s, Chunk{})
	if err != nil {
		return err
	}
	defer leave()
	var row Upload
	err = r.update(ctx, Keys{Uploads: []string{s.id}}, func(v View, c *Change) error {
		up, err := v.Upload(s.id)
		if err != nil {
			return fmt.Errorf("look up upload: %w", err)
		}
		if up == nil {
			up = &r.receive(s).up
		}
		if up.State != UploadOpen {
			return Errorf(BlobUploadUnknown, "the upload session has ended")
		}
		row = *up
		row.State = UploadCancelled
		row.Generation++
		c.Puts = append(c.Puts, row)
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	return storage(r.discard(ctx, row, false))
}

// abandon drops what a request without a session has staged.
func (in *incoming) abandon(ctx context.Context) {
	in.release()
	if in.up.Generation == 0 {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := in.r.end(ctx, in.up.ID); err != nil {
		in.r.opts.Log.Warn("a failed push could not be cleaned up; it is tried again later", "upload", in.up.ID, "error", err)
	}
}
