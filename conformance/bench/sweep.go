package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

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

// sweeps are sweeps of one kind, and pushes beside them and without.
type sweeps struct {
	*bench
	what          string
	without, with pushes
	dealt         int64 // with, by those at a rate
	rows          int64
}

// once measures pushes without a sweep, and then beside a whole one.
func (s *sweeps) once(ctx context.Context) error {
	_, err := s.whole(ctx)
	return err
}

func (s *sweeps) whole(ctx context.Context) (p *pass, err error) {
	if err := s.without.alone(ctx, s.bench); err != nil {
		return nil, err
	}
	err = s.with.measure(ctx, s.bench, func() (result, error) {
		return s.beside(ctx, func(ctx context.Context) (err error) {
			p, err = s.sweep(ctx)
			return err
		})
	})
	if err == nil {
		p.print(s.what)
	}
	return p, err
}

// all sweeps until there is nothing left to do.
func (s *sweeps) all(ctx context.Context) error {
	for range mostPasses {
		p, err := s.whole(ctx)
		if err != nil || p.done() == 0 {
			return err
		}
		if err := s.pause(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("there is still something to sweep after %d sweeps", mostPasses)
}

// turns measures pushes without a sweep and beside a part of one, in turns. Each
// sweep goes on where the one before was ended.
func (s *sweeps) turns(ctx context.Context) error {
	const turns = 3
	for range turns {
		if err := s.without.alone(ctx, s.bench); err != nil {
			return err
		}
		err := s.with.measure(ctx, s.bench, func() (result, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			sweeping := make(chan error, 1)
			go func() { sweeping <- s.again(ctx) }()
			r, err := s.loadFor(ctx, besideClients, s.window(), s.pushImage)
			cancel()
			return r, errors.Join(err, <-sweeping)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// again sweeps until ctx ends.
func (s *sweeps) again(ctx context.Context) error {
	for {
		p, err := s.sweep(ctx)
		s.dealt += p.done()
		for _, f := range p.Phases {
			s.rows += f.Visited
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// compare prints what pushes came to.
func (s *sweeps) compare(context.Context) error {
	if s.rows > 0 {
		fmt.Printf("%-42s %6.0f rows/s  %d blobs condemned or forgotten\n", s.what, float64(s.rows)/s.with.elapsed.Seconds(), s.dealt)
	}
	compare("a "+s.what, &s.without, &s.with)
	return nil
}
