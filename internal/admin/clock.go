package admin

import "time"

// Clock says whether the clock is believed.
type Clock struct {
	Now time.Time `json:"now"`
	// Trusted is the time by which things expire and holds end, Watched that of
	// the last event or heartbeat.
	Trusted time.Time `json:"trusted"`
	Watched time.Time `json:"watched"`
	// Jumped: the clock went ahead from Since to Until, and nobody has confirmed
	// it. Sequence is that of the event that says so, if there is one already.
	Jumped   bool       `json:"jumped"`
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Sequence uint64     `json:"sequence,omitempty"`
}
