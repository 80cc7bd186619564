package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/dataplane"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

// node is one of several processes over the same ledger and objects. What the
// one holds the others do not have.
type node struct {
	*registry.Repository
	driver *memory.Driver
}

// node starts one. Its data plane may be changed.
func (w *world) node(t *testing.T, change func(registry.Bytes) registry.Bytes) node {
	t.Helper()
	driver := w.driver.Reopen()
	plane, err := dataplane.New(map[string]storagedriver.Driver{"m": driver}, "m", w.ledger,
		dataplane.Options{InlineLimit: inline, BootID: "b", Now: w.clock.Now})
	must(t, err)
	var bytes registry.Bytes = plane
	if change != nil {
		bytes = change(plane)
	}
	reg, err := registry.New(t.Context(), w.ledger, bytes, registry.Options{})
	must(t, err)
	repo, err := reg.Repository("a", caller)
	must(t, err)
	return node{repo, driver}
}

// publishing does something else when an object is to be published.
type publishing struct {
	registry.Bytes
	publish func(context.Context, fact.Staged) error
}

func (p *publishing) Publish(ctx context.Context, s fact.Staged) error { return p.publish(ctx, s) }

// start begins an upload and, if there is data, appends it.
func (n node) start(t *testing.T, data string) string {
	t.Helper()
	token, err := n.StartUpload(t.Context(), "")
	must(t, err)
	if data != "" {
		_, err = n.AppendUpload(t.Context(), token, whole(data))
		must(t, err)
	}
	return token
}

// at expects an upload to stand at an offset.
func (n node) at(t *testing.T, token string, want int) {
	t.Helper()
	status, err := n.UploadStatus(t.Context(), token)
	must(t, err)
	if status.Offset != int64(want) {
		t.Errorf("the upload stands at %d, want %d", status.Offset, want)
	}
}

// holdsNothing expects that the process has forgotten what it held.
func (n node) holdsNothing(t *testing.T, w *world) {
	t.Helper()
	for _, id := range w.staged(t) {
		r, err := n.driver.OpenStaged(t.Context(), id, []byte("held"), 1)
		if !errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("%s is still held: %v", id, err)
			_ = r.Close()
		}
	}
}

func TestAWrongDigestLeavesTheUploadWhereItStoodOnEveryNode(t *testing.T) {
	for name, first := range map[string]string{"nothing": "", "few": small, "many": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			one, two := w.node(t, nil), w.node(t, nil)
			token := one.start(t, first)
			_, err := one.FinishUpload(t.Context(), token, whole(large), digest("other"))
			refused(t, err, registry.DigestInvalid)
			one.holdsNothing(t, w)
			two.at(t, token, len(first))
			d, err := two.FinishUpload(t.Context(), token, whole(large+"!"), digest(first+large+"!"))
			must(t, err)
			if got := read(t, one.Repository, d); got != first+large+"!" {
				t.Errorf("the blob has %d bytes", len(got))
			}
			if left := w.staged(t); len(left) != 0 {
				t.Errorf("left staged: %q", left)
			}
		})
	}
}

func TestADigestThatNeedsASecondReadingIsOfWhatIsHeld(t *testing.T) {
	w := open(t, registry.Options{})
	one := w.node(t, nil)
	token := one.start(t, large)
	d := identity.FromBytes(identity.SHA512, []byte(large+large))
	_, err := one.FinishUpload(t.Context(), token, whole(large), d)
	must(t, err)
	if got := read(t, one.Repository, d); got != large+large {
		t.Errorf("the blob has %d bytes", len(got))
	}
}

func TestALastBodyThatBreaksOffIsKeptForEveryNode(t *testing.T) {
	for name, first := range map[string]string{"nothing": "", "many": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			one, two := w.node(t, nil), w.node(t, nil)
			token := one.start(t, first)
			body := io.MultiReader(strings.NewReader(large), iotest.ErrReader(errors.New("broken")))
			_, err := one.FinishUpload(t.Context(), token, registry.Chunk{Length: -1, Body: body}, digest("x"))
			refused(t, err, registry.BlobUploadInvalid)
			one.holdsNothing(t, w)
			two.at(t, token, len(first+large))
			_, err = two.FinishUpload(t.Context(), token, whole("the end"), digest(first+large+"the end"))
			must(t, err)
		})
	}
}

// A store that takes the object no more ends the upload: the last bytes were
// in one process alone. The client is told so, here and elsewhere.
func TestAPublishThatFailsEndsAnUploadWhoseBytesWereHeld(t *testing.T) {
	for name, done := range map[string]bool{"not done": false, "done and the answer lost": true} {
		t.Run(name, func(t *testing.T) {
			w, failed := open(t, registry.Options{}), errors.New("the store is away")
			var locator string
			one := w.node(t, func(b registry.Bytes) registry.Bytes {
				return &publishing{b, func(ctx context.Context, s fact.Staged) error {
					locator = s.Locator
					if done {
						must(t, b.Publish(ctx, s))
					}
					return failed
				}}
			})
			two := w.node(t, nil)
			for _, first := range []string{"", large} {
				token := one.start(t, first)
				_, err := one.FinishUpload(t.Context(), token, whole(large), digest(first+large))
				if !errors.Is(err, failed) {
					t.Fatalf("FinishUpload: %v", err)
				}
				one.holdsNothing(t, w)
				for _, n := range []node{one, two} {
					_, err = n.FinishUpload(t.Context(), token, whole(""), digest(first+large))
					refused(t, err, registry.BlobUploadUnknown)
					_, err = n.AppendUpload(t.Context(), token, whole("more"))
					refused(t, err, registry.BlobUploadUnknown)
					_, err = n.UploadStatus(t.Context(), token)
					refused(t, err, registry.BlobUploadUnknown)
				}
				if left := w.staged(t); len(left) != 0 {
					t.Errorf("left staged: %q", left)
				}
				if _, err := w.driver.Size(t.Context(), locator); !errors.Is(err, storagedriver.ErrNotExist) {
					t.Errorf("the object is left: %v", err)
				}
			}
			push(t, two.Repository, large)
		})
	}
}

// A manifest and a blob in one request have no session to go on with.
func TestAPublishThatFailsLeavesNothingOfAPush(t *testing.T) {
	w, failed := open(t, registry.Options{AllowSparse: true}), errors.New("the store is away")
	one := w.node(t, func(b registry.Bytes) registry.Bytes {
		return &publishing{b, func(context.Context, fact.Staged) error { return failed }}
	})
	_, err := one.PushBlob(t.Context(), digest(large), whole(large))
	if !errors.Is(err, failed) {
		t.Errorf("PushBlob: %v", err)
	}
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"a":"` + large + `"}}`
	_, err = one.PutManifest(t.Context(), registry.ManifestPush{Reference: registry.Reference{Tag: "v1"}, Length: -1, Body: strings.NewReader(index)})
	if !errors.Is(err, failed) {
		t.Errorf("PutManifest: %v", err)
	}
	if left := w.staged(t); len(left) != 0 {
		t.Errorf("left staged: %q", left)
	}
	one.holdsNothing(t, w)
}

// died is a panic where the process is to end.
type died struct{}

// A process that dies between the row and the object takes what it held with
// it. Any other one says so, and has nothing left when the upload has expired.
func TestAnUploadWhoseLastBytesDiedWithTheirProcessIsUnknown(t *testing.T) {
	for name, ask := range map[string]func(node, string) error{
		"finishing": func(n node, token string) error {
			_, err := n.FinishUpload(t.Context(), token, whole(""), digest(large+large))
			return err
		},
		"appending": func(n node, token string) error {
			_, err := n.AppendUpload(t.Context(), token, whole("more"))
			return err
		},
		"nothing": func(node, string) error { return registry.Errorf(registry.BlobUploadUnknown, "") },
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			one := w.node(t, func(b registry.Bytes) registry.Bytes {
				return &publishing{b, func(context.Context, fact.Staged) error { panic(died{}) }}
			})
			two := w.node(t, nil)
			token := one.start(t, large)
			func() {
				defer func() {
					if recover() != (died{}) {
						t.Error("the process did not die")
					}
				}()
				_, _ = one.FinishUpload(t.Context(), token, whole(large), digest(large+large))
			}()
			refused(t, ask(two, token), registry.BlobUploadUnknown)
			w.clock.advance(48 * time.Hour)
			_, err := two.PurgeUploads(t.Context())
			must(t, err)
			if left := w.staged(t); len(left) != 0 {
				t.Errorf("left staged: %q", left)
			}
			push(t, two.Repository, large+large)
		})
	}
}

// Another node ends the upload while its object is being published: the object
// that appears afterwards is not left behind.
func TestAnObjectOfAnUploadThatWasEndedElsewhereIsRemoved(t *testing.T) {
	for name, end := range map[string]func(*world, node, string) error{
		"cancelled": func(_ *world, n node, token string) error { return n.CancelUpload(t.Context(), token) },
		"expired": func(w *world, n node, _ string) error {
			w.clock.advance(48 * time.Hour)
			_, err := n.PurgeUploads(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			two := w.node(t, nil)
			var token, locator string
			one := w.node(t, func(b registry.Bytes) registry.Bytes {
				return &publishing{b, func(ctx context.Context, s fact.Staged) error {
					locator = s.Locator
					must(t, end(w, two, token))
					return b.Publish(ctx, s)
				}}
			})
			token = one.start(t, "")
			_, err := one.FinishUpload(t.Context(), token, whole(large), digest(large))
			refused(t, err, registry.BlobUploadUnknown)
			if _, err := w.driver.Size(t.Context(), locator); !errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("the object is left: %v", err)
			}
		})
	}
}

// linked is a data plane whose objects clients fetch by themselves.
type linked struct {
	registry.Bytes
	err error
}

func (l linked) Link(_ context.Context, r fact.Receipt, size int64) (string, error) {
	return "http://store/" + r.Locator, l.err
}

func TestContentLinks(t *testing.T) {
	w, failed := open(t, registry.Options{}), errors.New("no key")
	one := w.node(t, func(b registry.Bytes) registry.Bytes { return linked{b, nil} })
	for data, want := range map[string]string{"": "", small: "", large: "http://store/objects/"} {
		c, err := one.Blob(t.Context(), push(t, one.Repository, data))
		must(t, err)
		url, err := c.Link(t.Context())
		if must(t, err); !strings.HasPrefix(url, want) || want == "" && url != "" {
			t.Errorf("%d bytes: %q", len(data), url)
		}
	}
	two := w.node(t, func(b registry.Bytes) registry.Bytes { return linked{b, failed} })
	c, err := two.Blob(t.Context(), digest(large))
	must(t, err)
	if _, err := c.Link(t.Context()); !errors.Is(err, failed) {
		t.Errorf("Link: %v", err)
	}
}

// away is a data plane whose store cannot be reached.
type away struct{ registry.Bytes }

var errAway = fmt.Errorf("no answer: %w", fact.ErrUnavailable)

func (away) Present(context.Context, fact.Receipt, eventlog.Sequence, int64) (bool, error) {
	return false, errAway
}
func (away) Link(context.Context, fact.Receipt, int64) (string, error) { return "", errAway }
func (away) Discard(context.Context, fact.Staged) error                { return errAway }

func TestStoreThatIsAwayIsUnavailable(t *testing.T) {
	w := open(t, registry.Options{})
	one := w.node(t, nil)
	push(t, one.Repository, large)
	token := one.start(t, large)
	two := w.node(t, func(b registry.Bytes) registry.Bytes { return away{b} })
	c, err := two.Blob(t.Context(), digest(large))
	must(t, err)
	refused(t, c.Check(t.Context()), registry.Unavailable)
	_, err = c.Link(t.Context())
	refused(t, err, registry.Unavailable)
	refused(t, two.CancelUpload(t.Context(), token), registry.Unavailable)
}

// TestStoreThatIsBeingLookedAfterIsUnavailable: what its operator began is not done.
func TestStoreThatIsBeingLookedAfterIsUnavailable(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "demo")
	push(t, r, large)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.ledger.Rebuild(ctx, nil); err == nil {
		t.Fatal("the rebuild was not interrupted")
	}
	_, err := r.Blob(t.Context(), digest(large))
	refused(t, err, registry.Unavailable)
	_, err = r.PushBlob(t.Context(), digest("other"), whole("other"))
	refused(t, err, registry.Unavailable)
	must(t, w.ledger.Rebuild(t.Context(), nil))
	if read(t, r, digest(large)) != large {
		t.Error("other bytes")
	}
}
