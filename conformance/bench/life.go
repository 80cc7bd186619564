package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"artifactstore/conformance/harness"
)

const (
	lifeClients = 16
	// inRepository is how many manifests a repository has.
	inRepository = 1000
	// sharedLayers are layers that all images of a repository have; each has one
	// of its own.
	sharedLayers = 2
	lifeLayer    = 2 << 10
	// keepNewest is how many tags of a repository the policy keeps.
	keepNewest = 100
	// lifeSeeds is where the seeds of these images begin.
	lifeSeeds = 1 << 43
	// sweepAfter is long enough for the blobs of an image to wait for their
	// manifest, however busy the machine is.
	sweepAfter = 3 * time.Second
	// mostPasses is when a sweep that never has enough is given up.
	mostPasses = 10
)

// hasty are settings with which things end within seconds. Everything that the
// policy does not keep has expired.
var hasty = append([]string{
	"ARTIFACTSTORE_RETENTION_GRACE=1s", "ARTIFACTSTORE_SWEEP_AFTER=" + sweepAfter.String(),
	"ARTIFACTSTORE_SWEEP_GRACE=1s", "ARTIFACTSTORE_ERASE_DELAY=1s",
	`ARTIFACTSTORE_RETENTION_CLASSES={"brief":"1s"}`,
	fmt.Sprintf(`ARTIFACTSTORE_RETENTION_POLICIES=[{"name":"bench","repositories":["life/*"],"class":"brief","expire_tagged":true,"keep":[{"name":"newest","newest":%d}]}]`, keepNewest),
}, withoutDuties...)

// life measures what is done about manifests that nobody needs any more, and what
// pushes suffer from it.
func (b *bench) life(ctx context.Context) error {
	fmt.Printf("\n%d images in repositories of %d\n\n", b.manifests, inRepository)
	atFullSpeed := append([]string{"ARTIFACTSTORE_SWEEP_RATE=0"}, hasty...)
	if err := b.serve(ctx, "life", atFullSpeed, b.fill, b.plan, b.deleteHalf, b.pause, b.sweepOnce); err != nil {
		return err
	}
	if err := b.serve(ctx, "life", hasty, b.pause, b.sweepAtRate); err != nil {
		return err
	}
	return b.serve(ctx, "life", atFullSpeed, b.pause, b.sweepAll, b.scrubSmall, b.used)
}

// lifeImage is the i-th image, with the seeds of its own and of its shared layers.
func (b *bench) lifeImage(i uint64) (image *harness.Image, repository string) {
	group := i / inRepository
	image = harness.NewImage(lifeSeeds+i, 1, lifeLayer)
	m := harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest, Config: harness.Describe(harness.ImageConfig, image.Config)}
	for n := range uint64(sharedLayers) {
		m.Layers = append(m.Layers, harness.Describe(harness.ImageLayer, sharedLayer(group, n)))
	}
	m.Layers = append(m.Layers, harness.Describe(harness.ImageLayer, image.Layers[0]))
	image.Manifest = harness.Encode(m)
	image.Digest = harness.SHA256(image.Manifest)
	return image, fmt.Sprintf("life/r%04d", group)
}

func sharedLayer(group, n uint64) []byte {
	return harness.Random(lifeSeeds-1-group*sharedLayers-n, lifeLayer)
}

// fill pushes all images, each by a tag. Their shared layers come first.
func (b *bench) fill(ctx context.Context) error {
	groups := (b.manifests + inRepository - 1) / inRepository
	var at atomic.Uint64
	_, err := b.load(ctx, 1, groups, func(ctx context.Context, _ uint64) error {
		group := at.Add(1) - 1
		_, repository := b.lifeImage(group * inRepository)
		for n := range uint64(sharedLayers) {
			layer := sharedLayer(group, n)
			if err := b.client.PushBlob(ctx, repository, harness.SHA256(layer), layer); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	at.Store(0)
	r, err := b.load(ctx, lifeClients, b.manifests, func(ctx context.Context, _ uint64) error {
		i := at.Add(1) - 1
		image, repository := b.lifeImage(i)
		return image.Push(ctx, b.client, repository, fmt.Sprintf("v%d", i))
	})
	if err == nil {
		r.print("push of images that share layers, 16 clients")
	}
	return err
}

// deleteHalf deletes every other image.
func (b *bench) deleteHalf(ctx context.Context) error {
	var at atomic.Uint64
	r, err := b.load(ctx, lifeClients, b.manifests/2, func(ctx context.Context, _ uint64) error {
		image, repository := b.lifeImage(2 * (at.Add(1) - 1))
		reply, err := b.client.Do(ctx, harness.Request{Method: http.MethodDelete, Path: "/v2/" + repository + "/manifests/" + image.Digest})
		if err != nil {
			return err
		}
		return reply.Expect(http.StatusAccepted)
	})
	if err == nil {
		r.print("deletion of manifests, 16 clients")
	}
	return err
}

// plan makes a plan of everything.
func (b *bench) plan(ctx context.Context) error {
	var without, with pushes
	if err := without.alone(ctx, b); err != nil {
		return err
	}
	var took time.Duration
	var plan struct {
		Actions map[string]struct{ Manifests float64 }
	}
	err := with.measure(ctx, b, func() (result, error) {
		return b.beside(ctx, func(ctx context.Context) error {
			start := time.Now()
			err := b.work(ctx, "plans", &plan, nil)
			took = time.Since(start)
			return err
		})
	})
	if err != nil {
		return err
	}
	manifests := 0.0
	for _, n := range plan.Actions {
		manifests += n.Manifests
	}
	fmt.Printf("%-42s %6.0f /s     %.0f manifests in %v, of which %.0f expire\n", "retention plan", manifests/took.Seconds(), manifests,
		round(took), plan.Actions["expire"].Manifests)
	compare("a plan", &without, &with)
	return nil
}

// pause lets what waits for seconds become due.
func (b *bench) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(sweepAfter + time.Second):
		return nil
	}
}

// phase is what a sweep tells of one of its phases.
type phase struct {
	Phase                                  string
	Visited, Manifests                     int64
	Condemned, Released, Forgotten, Erased struct{ Number int64 }
}

// pass is what one sweep has done, and how long its phases took, as far as the
// server has told.
type pass struct {
	Phases []phase
	took   map[string]time.Duration
}

// done is how much was taken away.
func (p *pass) done() (n int64) {
	for _, f := range p.Phases {
		n += f.Condemned.Number + f.Released.Number + f.Forgotten.Number + f.Erased.Number + f.Manifests
	}
	return n
}

func (p *pass) print(what string) {
	var rows int64
	var took time.Duration
	for _, f := range p.Phases {
		rows += f.Visited
		took += p.took[f.Phase]
	}
	fmt.Printf("%-42s %6.0f rows/s  %d rows in %v\n", what, float64(rows)/took.Seconds(), rows, round(took))
	for _, f := range p.Phases {
		if f.Visited == 0 {
			continue
		}
		fmt.Printf("%-42s %6.0f rows/s  %d manifests forgotten, %d blobs condemned, %d released, %d forgotten\n", "  "+f.Phase,
			float64(f.Visited)/p.took[f.Phase].Seconds(), f.Manifests, f.Condemned.Number, f.Released.Number, f.Forgotten.Number)
	}
}

// sweep runs one sweep. If it ends with ctx what was done is as it was told.
func (b *bench) sweep(ctx context.Context) (*pass, error) {
	p := &pass{took: map[string]time.Duration{}}
	last, current := time.Now(), "links"
	err := b.work(ctx, "sweep", p, func(line json.RawMessage) error {
		var f phase
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		now := time.Now()
		p.took[f.Phase] += now.Sub(last)
		last, current = now, f.Phase
		if n := len(p.Phases); n > 0 && p.Phases[n-1].Phase == f.Phase {
			p.Phases[n-1] = f
		} else {
			p.Phases = append(p.Phases, f)
		}
		return nil
	})
	p.took[current] += time.Since(last)
	return p, err
}

// sweepOnce runs one whole sweep at full speed, beside pushes.
func (b *bench) sweepOnce(ctx context.Context) error {
	_, err := b.sweepRound(ctx, "sweep without limit", new(pushes), new(pushes))
	return err
}

// sweepRound measures pushes without a sweep, and then beside a whole one.
func (b *bench) sweepRound(ctx context.Context, what string, without, with *pushes) (p *pass, err error) {
	if err := without.alone(ctx, b); err != nil {
		return nil, err
	}
	err = with.measure(ctx, b, func() (result, error) {
		return b.beside(ctx, func(ctx context.Context) (err error) {
			p, err = b.sweep(ctx)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	p.print(what)
	compare("a sweep", without, with)
	return p, nil
}

// sweepAll sweeps at full speed until there is nothing left to do.
func (b *bench) sweepAll(ctx context.Context) error {
	for range mostPasses {
		p, err := b.sweepRound(ctx, "sweep without limit", new(pushes), new(pushes))
		if err != nil || p.done() == 0 {
			return err
		}
		if err := b.pause(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("there is still something to sweep after %d sweeps", mostPasses)
}

// sweepAtRate measures pushes without a sweep and beside one at the default rate,
// in turns. Each sweep goes on where the one before was ended.
func (b *bench) sweepAtRate(ctx context.Context) error {
	const turns = 4
	var without, with pushes
	var whole pass
	for range turns {
		if err := without.alone(ctx, b); err != nil {
			return err
		}
		err := with.measure(ctx, b, func() (result, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			sweeping := make(chan error, 1)
			go func() {
				p, err := b.sweep(ctx)
				whole.Phases = append(whole.Phases, p.Phases...)
				if ctx.Err() != nil {
					err = nil // it was to end
				}
				sweeping <- err
			}()
			const windows = 3
			r, err := b.loadFor(ctx, besideClients, time.Duration(windows*b.seconds*float64(time.Second)), b.pushImage)
			cancel()
			return r, errors.Join(err, <-sweeping)
		})
		if err != nil {
			return err
		}
	}
	var rows int64
	for _, f := range whole.Phases {
		rows += f.Visited
	}
	fmt.Printf("%-42s %6.0f rows/s  %d blobs and manifests dealt with\n", "sweep at the default rate", float64(rows)/with.elapsed.Seconds(), whole.done())
	compare("a sweep", &without, &with)
	return nil
}

// scrubbed is what a scrub tells.
type scrubbed struct{ Verified, Bytes int64 }

func (b *bench) scrub(ctx context.Context) (s scrubbed, took time.Duration, err error) {
	start := time.Now()
	err = b.work(ctx, "scrub", &s, nil)
	return s, time.Since(start), err
}

// scrubLarge reads large blobs again.
func (b *bench) scrubLarge(ctx context.Context) error {
	s, took, err := b.scrub(ctx)
	if err == nil {
		rate := float64(s.Bytes) / took.Seconds()
		fmt.Printf("%-42s %6.0f MB/s  %.2f of SHA-256\n", "scrub of 64 MiB blobs", rate/mega, rate/b.limits.hash)
	}
	return err
}

// scrubSmall reads small content again, beside pushes.
func (b *bench) scrubSmall(ctx context.Context) error {
	var without, with pushes
	if err := without.alone(ctx, b); err != nil {
		return err
	}
	var s scrubbed
	var took time.Duration
	err := with.measure(ctx, b, func() (result, error) {
		return b.beside(ctx, func(ctx context.Context) (err error) {
			s, took, err = b.scrub(ctx)
			return err
		})
	})
	if err != nil {
		return err
	}
	fmt.Printf("%-42s %6.0f /s     %d byte sequences in %v, %.0f MB/s\n", "scrub of small content", float64(s.Verified)/took.Seconds(), s.Verified,
		round(took), float64(s.Bytes)/mega/took.Seconds())
	compare("a scrub", &without, &with)
	return nil
}
