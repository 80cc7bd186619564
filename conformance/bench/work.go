package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"artifactstore/conformance/harness"
)

// work asks the operators' API for something that takes its time, tells of its
// progress, and reads the result. What is asked for ends with ctx.
func (b *bench) work(ctx context.Context, path string, result any, progress func(json.RawMessage) error) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.server.AdminURL()+"/admin/v1/"+path, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // of what is an error already
		return fmt.Errorf("%s: status %d: %s", path, resp.StatusCode, body)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var line struct{ Progress, Result, Problem json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		switch {
		case line.Problem != nil:
			return fmt.Errorf("%s: %s", path, line.Problem)
		case line.Result != nil:
			return json.Unmarshal(line.Result, result)
		case progress != nil:
			if err := progress(line.Progress); err != nil {
				return err
			}
		}
	}
	return errors.Join(fmt.Errorf("%s ended without a result", path), lines.Err())
}

// beside pushes small images while something else is done, until that ends.
func (b *bench) beside(ctx context.Context, do func(context.Context) error) (r result, err error) {
	done := make(chan struct{})
	var failed error
	go func() {
		defer close(done)
		failed = do(ctx)
	}()
	more := func() bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	r, err = b.loadWhile(ctx, besideClients, more, b.pushImage)
	<-done
	return r, errors.Join(err, failed)
}

// besideClients push small images beside something else, and without it.
const besideClients = 4

// pushes are what pushes of small images came to, and the commits meanwhile.
type pushes struct {
	result
	commits commits
}

// measure adds what a load comes to.
func (p *pushes) measure(ctx context.Context, b *bench, load func() (result, error)) error {
	before, err := b.commits(ctx)
	if err != nil {
		return err
	}
	r, err := load()
	if err != nil {
		return err
	}
	after, err := b.commits(ctx)
	p.add(r)
	p.commits.add(after, before)
	return err
}

// alone measures pushes beside nothing else.
func (p *pushes) alone(ctx context.Context, b *bench) error {
	return p.measure(ctx, b, func() (result, error) { return b.loadFor(ctx, besideClients, b.window(), b.pushImage) })
}

// window is how long pushes are measured: longer than other rates, because a
// percentile needs many.
func (b *bench) window() time.Duration { return time.Duration(3 * b.seconds * float64(time.Second)) }

func (p *pushes) print(what string) {
	fmt.Printf("%-42s %6.0f /s     p50 %-9v p99 %-9v max %-9v commits: %s\n", "  pushes, 4 clients, "+what, p.rate(),
		round(p.percentile(0.50)), round(p.percentile(0.99)), round(p.worst()), &p.commits)
}

// compare prints pushes beside something and without it.
func compare(what string, without, with *pushes) {
	without.print("without")
	with.print("beside it")
	fmt.Printf("%-42s %6.2f of without\n", "  p99 of pushes beside "+what, with.percentile(0.99).Seconds()/without.percentile(0.99).Seconds())
}

// commits counts the ledger's commits by how long they took at most, in seconds.
type commits map[float64]float64

// commits reads what the server tells of its ledger.
func (b *bench) commits(ctx context.Context) (commits, error) {
	client := harness.NewClient(b.server.AdminURL())
	defer client.Close()
	reply, err := client.Get(ctx, "/metrics")
	if err = errors.Join(err, reply.Expect(http.StatusOK)); err != nil {
		return nil, err
	}
	c := commits{}
	const prefix = `artifactstore_ledger_commit_duration_seconds_bucket{`
	for line := range bytes.Lines(reply.Body) {
		text := strings.TrimSpace(string(line))
		if !strings.HasPrefix(text, prefix) {
			continue
		}
		_, bound, _ := strings.Cut(text, `le="`)
		bound, count, _ := strings.Cut(bound, `"} `)
		at, err1 := strconv.ParseFloat(bound, 64)
		n, err2 := strconv.ParseFloat(count, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("read %s: %w", text, err)
		}
		c[at] += n
	}
	return c, nil
}

// add adds those between two moments.
func (c *commits) add(after, before commits) {
	if *c == nil {
		*c = commits{}
	}
	for at, n := range after {
		(*c)[at] += n - before[at]
	}
}

// within is the least bound that a share of them kept to.
func (c *commits) within(share float64) string {
	bounds := make([]float64, 0, len(*c))
	for at := range *c {
		bounds = append(bounds, at)
	}
	slices.Sort(bounds)
	for _, at := range bounds {
		if !math.IsInf(at, 1) && (*c)[at] >= share*(*c)[math.Inf(1)] {
			return "within " + time.Duration(at*float64(time.Second)).String()
		}
	}
	return "longer than is counted"
}

func (c *commits) String() string {
	return fmt.Sprintf("99 %% %s, all %s", c.within(0.99), c.within(1))
}
