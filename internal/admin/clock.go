package admin

import (
	"net/http"
	"time"

	"artifactstore/registry"
)

// Clock says whether the clock is believed.
type Clock struct {
	Now time.Time `json:"now"`
	// Trusted is the time by which things expire and holds end, Watched that of
	// the last event or heartbeat, absent if there was none.
	Trusted time.Time  `json:"trusted"`
	Watched *time.Time `json:"watched,omitempty"`
	// Jumped: the clock went ahead from Since to Until, and nobody has confirmed
	// it. Sequence is that of the event that says so, if there is one already.
	Jumped   bool       `json:"jumped"`
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Sequence uint64     `json:"sequence,omitempty"`
}

func (d *door) clock(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	return d.sendClock(w, r)
}

func (d *door) sendClock(w http.ResponseWriter, r *http.Request) error {
	status, err := d.Registry.ClockStatus(r.Context())
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, clockJSON(status))
}

func clockJSON(s registry.ClockStatus) Clock {
	return Clock{Now: s.Now, Trusted: s.Trusted, Watched: moment(s.Watched), Jumped: s.Jumped, Since: moment(s.Since), Until: moment(s.Until),
		Sequence: uint64(s.Sequence)}
}

func (d *door) confirmClock(w http.ResponseWriter, r *http.Request) error {
	var request ReasonRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	if _, err := d.Registry.ConfirmClock(r.Context(), caller(r), request.Reason); err != nil {
		return err
	}
	return d.sendClock(w, r)
}
