package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/eventlog"
	"artifactstore/internal/dataplane"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

func TestZZFuzz(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("ZZ"))
	from, _ := strconv.Atoi(os.Getenv("ZZFROM"))
	for seed := from; seed < from+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { zz(t, int64(seed)) })
	}
}

func zz(t *testing.T, seed int64) {
	ctx := context.Background()
	rnd := rand.New(rand.NewSource(seed))
	w := open(t, registry.Options{AllowErase: true, AllowSparse: seed%3 == 0})
	var nodes []*registry.Registry
	if os.Getenv("ZZPG") != "" {
		w, nodes = zzPG(t, registry.Options{AllowErase: true, AllowSparse: seed%3 == 0})
	}
	repos := []string{"a", "b", "c"}
	contents := []string{"c1", "c2", strings.Repeat("big1", 50), strings.Repeat("big2", 50)}
	manifests := map[string]string{} // text -> media type
	var texts []string
	pick := func(l []string) string { return l[rnd.Intn(len(l))] }
	may := func(op string, err error) bool {
		var e *registry.Error
		if err != nil && (!errors.As(err, &e)) {
			t.Fatalf("seed %d %s: %v", seed, op, err)
		}
		if err != nil && os.Getenv("ZZV") != "" {
			t.Log(op, err)
		}
		return err == nil
	}
	indexType := "application/vnd.oci.image.index.v1+json"
	imageType := "application/vnd.oci.image.manifest.v1+json"
	putM := func(r *registry.Repository, text string) {
		d := digest(text)
		if rnd.Intn(5) == 0 {
			d = identity.FromBytes(identity.SHA512, []byte(text))
		}
		p := image(registry.Reference{Digest: d}, text)
		p.MediaType = manifests[text]
		if rnd.Intn(2) == 0 {
			p.Tags = []string{fmt.Sprint("t", rnd.Intn(4))}
		}
		_, err := r.PutManifest(ctx, p)
		may("put", err)
	}
	desc := func(mt, c string) map[string]any {
		m := descriptor(mt, c)
		if rnd.Intn(4) == 0 {
			m["digest"] = identity.FromBytes(identity.SHA512, []byte(c)).String()
		}
		return m
	}
	broken := map[string]bool{}
	for step := 0; step < 150; step++ {
		if nodes != nil {
			w.Registry = nodes[rnd.Intn(2)]
		}
		r := w.repo(t, pick(repos))
		op := rnd.Intn(24)
		if rnd.Intn(12) == 0 {
			op = 18
			w.pass(t, day)
		}
		if os.Getenv("ZZV") != "" {
			t.Log(step, "op", op, r.Name())
		}
		switch op {
		case 0, 1:
			c := pick(contents)
			d := digest(c)
			if rnd.Intn(4) == 0 {
				d = identity.FromBytes(identity.SHA512, []byte(c))
			}
			_, err := r.PushBlob(ctx, d, whole(c))
			may("push", err)
		case 2:
			if len(texts) > 0 { // manifest bytes as a blob
				c := pick(texts)
				_, err := r.PushBlob(ctx, digest(c), whole(c))
				may("push", err)
			}
		case 3:
			_, err := r.MountBlob(ctx, digest(pick(contents)), pick([]string{"", "a", "b", "c"}))
			may("mount", err)
		case 4, 5, 6, 7:
			m := map[string]any{"schemaVersion": 2, "mediaType": imageType, "config": desc("application/x", pick(contents)),
				"layers": []any{desc("application/y", pick(contents))}, "annotations": map[string]string{"n": fmt.Sprint(rnd.Intn(3), strings.Repeat("p", 40*rnd.Intn(2)))}}
			if len(texts) > 0 && rnd.Intn(2) == 0 {
				s := pick(texts)
				m["subject"] = descriptor(manifests[s], s)
			}
			data, _ := json.Marshal(m)
			if _, ok := manifests[string(data)]; !ok {
				manifests[string(data)] = imageType
				texts = append(texts, string(data))
			}
			putM(r, string(data))
		case 8, 9:
			var all []any
			for range 1 + rnd.Intn(3) {
				if len(texts) > 0 && rnd.Intn(4) > 0 {
					c := pick(texts)
					all = append(all, desc(manifests[c], c))
				} else {
					all = append(all, desc("application/x", pick(contents)))
				}
			}
			data, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": all})
			if _, ok := manifests[string(data)]; !ok {
				manifests[string(data)] = indexType
				texts = append(texts, string(data))
			}
			putM(r, string(data))
		case 10:
			if len(texts) > 0 {
				putM(r, pick(texts))
			}
		case 11, 12:
			if len(texts) > 0 {
				may("delete", r.DeleteManifest(ctx, registry.Reference{Digest: digest(pick(texts))}))
			}
		case 13:
			may("deltag", r.DeleteManifest(ctx, tagged(fmt.Sprint("t", rnd.Intn(4)))))
		case 14:
			may("delblob", r.DeleteBlob(ctx, digest(pick(contents))))
		case 15:
			if rnd.Intn(3) == 0 {
				_, err := w.DeleteRepository(ctx, operator, r.Name(), "reason")
				may("delrepo", err)
			}
		case 16, 17:
			var s eventlog.Sequence
			must(t, w.ledger.Read(ctx, func(v registry.View) error {
				head, err := v.Head()
				s = head - eventlog.Sequence(rnd.Intn(min(int(head)+1, 60)))
				return err
			}))
			_, err := w.Undo(ctx, operator, s, "reason")
			may("undo", err)
		case 18, 19, 20:
			_, err := w.Sweep(ctx, registry.SweepOptions{Batch: 1 + rnd.Intn(10)})
			must(t, err)
		case 21:
			w.pass(t, 3*day)
			w.pass(t, time.Duration(1+rnd.Intn(60))*time.Hour)
		case 22:
			objs, err := w.driver.Objects(ctx, "", 100)
			must(t, err)
			if len(objs) > 0 && rnd.Intn(2) == 0 {
				o := objs[rnd.Intn(len(objs))]
				must(t, w.driver.Delete(ctx, o.Locator))
				broken[o.Locator] = true
				if rnd.Intn(2) == 0 {
					_, err := w.Scrub(ctx, registry.ScrubOptions{})
					may("scrub", err)
				}
			}
		case 23:
			ref := registry.Reference{}
			if len(texts) > 0 && rnd.Intn(2) == 0 {
				ref.Digest = digest(pick(texts))
			}
			if rnd.Intn(3) == 0 && len(texts) > 0 {
				may("erase", r.EraseManifest(ctx, digest(pick(texts)), "reason"))
				break
			}
			_, err := w.PlaceHold(ctx, operator, registry.HoldRequest{Name: "h", Repository: r.Name(), Reference: ref, Reason: "reason", Until: w.clock.Now().Add(48 * time.Hour)})
			may("hold", err)
		}
		zzCheck(t, w, seed, step, broken)
	}
	// all goes
	w.pass(t, 3*day)
	for _, name := range repos {
		_, err := w.DeleteRepository(ctx, operator, name, "reason")
		may("delrepo", err)
	}
	for range 3 {
		w.pass(t, 8*day)
		_, err := w.Sweep(ctx, registry.SweepOptions{})
		must(t, err)
	}
	w.empty(t)
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
}

func zzCheck(t *testing.T, w *world, seed int64, step int, broken map[string]bool) {
	ctx := context.Background()
	must(t, w.ledger.Read(ctx, func(v registry.View) error {
		names, err := v.RepositoryPage("", 100)
		must(t, err)
		del, err := v.DeletedRepositories(0, 100)
		must(t, err)
		for _, s := range del {
			names = append(names, s.Name)
		}
		for _, name := range names {
			all, err := v.ManifestsAfter(name, 0, 1000)
			must(t, err)
			n := len(all)
			gs, err := v.GravesIn(name, 0, 1000)
			must(t, err)
			for _, g := range gs {
				all = append(all, g.Manifest)
			}
			for i, m := range all {
				for _, d := range []identity.Digest{m.Blob.Digests.Primary(), m.Native} {
					b, err := v.Blob(d)
					must(t, err)
					if b == nil {
						t.Fatalf("seed %d step %d: %s %s has no bytes %s", seed, step, name, m.Digest, d)
					}
					zzBytes(t, w, v, b, seed, step, broken)
				}
				refs, err := v.References(m.Sequence, -1, 1000)
				must(t, err)
				if len(refs) == 0 {
					t.Fatalf("seed %d step %d: no refs", seed, step)
				}
				if !m.Subject.IsZero() {
					row, err := v.ContentRow(m.Sequence)
					must(t, err)
					if row == nil {
						t.Fatalf("seed %d step %d: %s no descriptor", seed, step, name)
					}
				}
				for _, ref := range refs {
					if ref.Target.IsZero() || ref.Role == manifest.RoleManifest {
						continue
					}
					link, err := v.Link(name, ref.Target)
					must(t, err)
					b, err := v.Blob(ref.Target)
					must(t, err)
					if i < n && link == nil || b == nil {
						t.Fatalf("seed %d step %d: %s manifest %s (live %t) lost %s: link %v blob %v", seed, step, name, m.Digest, i < n, ref.Digest, link, b)
					}
					if i < n && !link.Due.IsZero() {
						now := v.Now()
						if now.After(link.Due) {
							t.Logf("seed %d step %d: condemned and used", seed, step)
						}
					}
					zzBytes(t, w, v, b, seed, step, broken)
				}
			}
		}
		return nil
	}))
}

func zzBytes(t *testing.T, w *world, v registry.View, b *registry.Blob, seed int64, step int, broken map[string]bool) {
	if b.Receipt.Store == fact.Content {
		row, err := v.ContentRow(b.Content)
		must(t, err)
		if row == nil {
			t.Fatalf("seed %d step %d: content row %d of %s is gone", seed, step, b.Content, b.Digests.Primary())
		}
		return
	}
	if broken[b.Receipt.Locator] {
		return
	}
	rc, err := w.driver.Open(context.Background(), b.Receipt.Locator, 0, -1)
	if err != nil {
		t.Fatalf("seed %d step %d: object of %s: %v", seed, step, b.Digests.Primary(), err)
	}
	data, err := io.ReadAll(rc)
	must(t, err)
	if identity.FromBytes(identity.BLAKE3, data) != b.Digests.Primary() {
		t.Fatal("wrong bytes")
	}
}

func zzPG(t *testing.T, o registry.Options) (*world, []*registry.Registry) {
	ctx := context.Background()
	server := harness.StartPostgres(t)
	w := &world{driver: memory.New(memory.Options{}), clock: &clock{now: time.Unix(1_700_000_000, 0)}}
	var nodes []*registry.Registry
	for _, name := range []string{"x", "y"} {
		ledger, err := metastore.OpenPostgres(ctx, postgres.Options{DSN: server.DSN()}, metastore.Node{Name: name}, metastore.Options{Now: w.clock.Now})
		must(t, err)
		must(t, ledger.Migrate(ctx, nil))
		t.Cleanup(func() {
			_, err := ledger.Check(ctx, nil)
			if err := errors.Join(err, ledger.Close()); err != nil {
				t.Error(err)
			}
		})
		plane, err := dataplane.New(map[string]storagedriver.Driver{"m": w.driver}, "m", ledger,
			dataplane.Options{InlineLimit: inline, BootID: name, Now: w.clock.Now})
		must(t, err)
		w.ledger = ledger
		w.Registry, err = registry.New(ctx, ledger, plane, o)
		must(t, err)
		nodes = append(nodes, w.Registry)
	}
	return w, nodes
}
