package retention

import (
	"cmp"
	"container/heap"
	"time"
)

// Ranking is the policy of one repository, with the places of the repository's
// tags: what is needed to decide about each of its manifests by itself. Make it
// with Rules.Rank, Add every tag, then Decide. It keeps no more tags than its
// rules ask for, so a repository may have any number of them.
//
// A ranking is right for the tags that were added. If a tag has been deleted
// since, another may have moved up that Decide does not keep yet: what is decided
// is to be decided again, with a new ranking, before it is done.
//
// Adding is not safe for concurrent use, deciding is.
type Ranking struct {
	rules  Rules
	policy *Policy
	newest map[int]*places // by the index of the keep rule
}

// Rank returns the ranking of a repository, without tags yet.
func (r Rules) Rank(repository string) *Ranking {
	ranking := &Ranking{rules: r, policy: r.For(repository), newest: map[int]*places{}}
	if ranking.policy == nil {
		return ranking
	}
	for i, keep := range ranking.policy.Keep {
		if keep.Newest > 0 {
			ranking.newest[i] = &places{limit: keep.Newest}
		}
	}
	return ranking
}

// Policy returns the policy that applies to the repository, nil if none does.
// The caller must not change it.
func (r *Ranking) Policy() *Policy { return r.policy }

// NeedsTags tells whether the policy ranks tags at all. If not, Add may be left
// out.
func (r *Ranking) NeedsTags() bool { return len(r.newest) > 0 }

// Add ranks a tag that moved to its manifest at a time. Every tag of the
// repository is added once, in any order.
func (r *Ranking) Add(tag string, moved time.Time) {
	for i, places := range r.newest {
		if r.policy.Keep[i].about(tag) {
			places.add(TagState{Name: tag, Moved: moved})
		}
	}
}

// places are the tags that one rule keeps: the newest of those that were added.
type places struct {
	limit int
	tags  byAge
}

func (p *places) add(tag TagState) {
	if p.has(tag) {
		heap.Push(&p.tags, tag)
	}
	if len(p.tags) > p.limit {
		heap.Pop(&p.tags)
	}
}

// has tells whether a tag is not older than the last one that has a place.
func (p *places) has(tag TagState) bool {
	return len(p.tags) < p.limit || !older(tag, p.tags[0])
}

// older orders tags by the time they moved; of those that moved at once the
// later name is older, so that the order never depends on anything else.
func older(a, b TagState) bool {
	return cmp.Or(a.Moved.Compare(b.Moved), -cmp.Compare(a.Name, b.Name)) < 0
}

// byAge is a heap with the oldest tag on top.
type byAge []TagState

func (h byAge) Len() int           { return len(h) }
func (h byAge) Less(i, j int) bool { return older(h[i], h[j]) }
func (h byAge) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byAge) Push(tag any)      { *h = append(*h, tag.(TagState)) }

func (h *byAge) Pop() any {
	last := len(*h) - 1
	tag := (*h)[last]
	*h = (*h)[:last]
	return tag
}
