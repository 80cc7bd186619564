package dataplane_test

import (
	"errors"
	"slices"
	"testing"

	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/memory"
)

func TestStoresTellWhatTheyHave(t *testing.T) {
	a, b := memory.New(memory.Options{}), memory.New(memory.Options{})
	r := &rows{}
	p, err := dataplane.New(map[string]storagedriver.Driver{"a": a, "b": b}, "b", r, dataplane.Options{})
	must(t, err)
	if got := p.Stores(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("Stores: %q", got)
	}
	var want []string
	for _, id := range []string{"1", "2", "3"} {
		sealed, _ := put(t, p, r, id, random(1000, 20))
		want = append(want, sealed.Receipt.Locator)
	}
	var got []string
	for after := ""; ; {
		page, err := p.Objects(t.Context(), "b", after, 2)
		must(t, err)
		for _, o := range page {
			got, after = append(got, o.Locator), o.Name
			if o.Size != 1000 || o.Modified.IsZero() {
				t.Errorf("listed as %+v", o)
			}
		}
		if len(page) < 2 {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if page, err := p.Objects(t.Context(), "a", "", 10); len(page) != 0 || err != nil {
		t.Errorf("a store without objects lists %v, %v", page, err)
	}
}

func TestAListThatFailsIsNoEmptyOne(t *testing.T) {
	d := memory.New(memory.Options{})
	for _, c := range []struct {
		name  string
		d     storagedriver.Driver
		store string
		want  error
	}{
		{"not configured", d, "other", nil},
		{"unable", struct{ storagedriver.Driver }{d}, "main", nil},
		{"away", fault.Wrap(d, &fault.Plan{FailAt: 1, Err: storagedriver.ErrUnavailable}), "main", fact.ErrUnavailable},
		{"failing", fault.Wrap(d, &fault.Plan{FailAt: 1, Err: errInjected}), "main", errInjected},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := newPlane(t, c.d, dataplane.Options{})
			page, err := p.Objects(t.Context(), c.store, "", 10)
			if err == nil || page != nil || errors.Is(err, fact.ErrGone) {
				t.Errorf("Objects: %v, %v", page, err)
			}
			if c.want != nil {
				wants(t, err, c.want)
			}
		})
	}
}
