package main

import (
	"context"
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
	full, limited := &sweeps{bench: b, what: "sweep without limit"}, &sweeps{bench: b, what: "sweep at the default rate"}
	for _, stage := range []struct {
		settings []string
		measures []func(context.Context) error
	}{
		// The first sweep forgets manifests, and so makes blobs unused.
		{atFullSpeed, []func(context.Context) error{b.fill, b.plan, b.deleteHalf, b.pause, full.once}},
		{hasty, []func(context.Context) error{b.pause, limited.turns}}, // which condemns
		{atFullSpeed, []func(context.Context) error{b.pause, full.once}},
		{hasty, []func(context.Context) error{b.pause, limited.turns}}, // which forgets
		{atFullSpeed, []func(context.Context) error{b.pause, full.all, full.compare, limited.compare, b.scrubSmall, b.used}},
	} {
		if err := b.serve(ctx, "life", stage.settings, stage.measures...); err != nil {
			return err
		}
	}
	return nil
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
