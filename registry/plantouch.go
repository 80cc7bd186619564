package registry

import (
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// eventPage is how many events are read at a time.
const eventPage = 200

// touch says that an event is about what a plan names.
type touch struct {
	event      *eventlog.Event
	repository string
	all        bool // it is about policies, and so about every repository
}

// touching reads some events after a sequence and returns those that touch what a
// plan names, the sequence of the last that was read, and whether there are more.
func touching(v View, plan string, after eventlog.Sequence) (found []touch, last eventlog.Sequence, more bool, err error) {
	page, err := v.EventsAfter(after, eventPage)
	if err != nil {
		return nil, 0, false, fmt.Errorf("read events: %w", err)
	}
	last = after
	for i := range page {
		t, err := touches(v, plan, &page[i])
		if err != nil {
			return nil, 0, false, err
		}
		if t.all || t.repository != "" {
			found = append(found, t)
		}
		last = page[i].Sequence
	}
	head, err := v.Head()
	if err != nil {
		return nil, 0, false, fmt.Errorf("read the head: %w", err)
	}
	return found, last, last < head, nil
}

// touches tells what of a plan an event touches:
//
//   - a manifest that the plan names: it or a tag of it was moved or deleted, an
//     index that lists it was pushed, it was pushed again, put back, extended,
//     marked, renewed or given another class; or, if the plan would change it,
//     it was pulled;
//   - a hold: any that was placed or released in a repository which the plan names;
//   - a policy: all of them;
//   - a repository that the plan names: it was deleted.
func touches(v View, plan string, e *eventlog.Event) (touch, error) {
	f := fact.New(string(e.Kind))
	if f == nil {
		return touch{}, nil
	}
	if err := e.Decode(f); err != nil {
		return touch{}, err
	}
	a := about(f)
	t := touch{event: e, all: a.policies}
	if a.policies || a.repository == "" {
		return t, nil
	}
	named, err := a.named(v, plan)
	if named {
		t.repository = a.repository
	}
	return t, err
}

// matter is what an event is about.
type matter struct {
	policies   bool
	repository string
	whole      bool // the repository, or what could be anywhere in it
	pulled     bool // what happened to the manifests
	manifests  []identity.Digest
}

// about says what an event is about that could matter to a plan.
func about(f fact.Fact) matter {
	one := func(repository string, manifests ...identity.Digest) matter {
		return matter{repository: repository, manifests: manifests}
	}
	switch f := f.(type) {
	case *fact.PoliciesSet:
		return matter{policies: true}
	case *fact.HoldPlaced:
		return matter{repository: f.Target.Repository, whole: true}
	case *fact.HoldReleased:
		return matter{repository: f.Target.Repository, whole: true}
	case *fact.RepositoryDeleted:
		return matter{repository: f.Repository, whole: true}
	case *fact.ManifestPulled:
		return matter{repository: f.Repository, pulled: true, manifests: f.Manifests}
	case *fact.TagMoved:
		return one(f.Repository, f.From, f.To)
	case *fact.TagDeleted:
		return one(f.Repository, f.Manifest)
	case *fact.ManifestPut:
		m := one(f.Repository, f.Manifest)
		for _, ref := range f.References {
			if ref.Role == manifest.RoleManifest {
				m.manifests = append(m.manifests, ref.Target)
			}
		}
		return m
	case *fact.ManifestDeleted:
		return one(f.Repository, f.Manifest)
	case *fact.ManifestRestored:
		return one(f.Repository, f.Manifest)
	case *fact.ManifestForgotten:
		return one(f.Repository, f.Manifest)
	case *fact.DefaultApplied:
		return one(f.Repository, f.Manifest)
	case *fact.Extended:
		return one(f.Repository, f.Manifest)
	case *fact.ClassChanged:
		return one(f.Repository, f.Manifest)
	case *fact.Expired:
		return one(f.Repository, f.Manifest)
	case *fact.Renewed:
		return one(f.Repository, f.Manifest)
	}
	return matter{}
}

// named tells whether a plan names any of it.
func (m matter) named(v View, plan string) (bool, error) {
	if m.whole {
		return v.PlanNames(plan, m.repository)
	}
	for _, d := range m.manifests {
		if d.IsZero() {
			continue
		}
		action, err := v.PlanAction(plan, m.repository, d)
		if err != nil {
			return false, fmt.Errorf("look up item of a plan: %w", err)
		}
		if action != "" && (!m.pulled || changes(action)) {
			return true, nil
		}
	}
	return false, nil
}

// changes tells whether an action of a plan changes something.
func changes(action string) bool { return action != PlanKeep && action != PlanWait }
