package registry

import "time"

// NotePull is what the read path does when a client asks for a manifest.
func (r *Registry) NotePull(at time.Time, repository string, m *Manifest) {
	r.pulls.note(at, repository, m)
}
