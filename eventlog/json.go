package eventlog

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"artifactstore/internal/canon"
)

// TimeFormat is RFC 3339 with microseconds, the resolution of the log.
const TimeFormat = "2006-01-02T15:04:05.000000Z07:00"

// line is an event in JSON. Its names are an interface: see docs/format/events.md.
type line struct {
	Sequence      uint64          `json:"sequence"`
	Time          string          `json:"time"`
	Kind          string          `json:"kind"`
	Subject       string          `json:"subject"`
	Actor         string          `json:"actor"`
	Request       string          `json:"request,omitempty"`
	ID            string          `json:"id"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	PayloadCBOR   string          `json:"payloadCBOR,omitempty"`
	PayloadDigest string          `json:"payloadDigest"`
	Reason        string          `json:"reason,omitempty"`
	PrivateDigest string          `json:"privateDigest"`
	Erased        bool            `json:"privateErased,omitempty"`
	Chain         string          `json:"chain"`
}

// JSON returns the event as one JSON object without line breaks, for people
// and tools. The payload is its JCS projection; one that has none is given in
// hex as payloadCBOR. Of the private part only the reason is told.
func (e *Event) JSON() ([]byte, error) {
	l := line{
		Sequence: uint64(e.Sequence), Time: time.UnixMicro(e.Time).UTC().Format(TimeFormat), Kind: string(e.Kind),
		Subject: e.Subject, Actor: e.Actor, Request: e.Request, ID: e.ID,
		PayloadDigest: e.PayloadDigest.String(), PrivateDigest: e.PrivateDigest.String(),
		Reason: e.Reason(), Erased: len(e.Private) == 0, Chain: e.Chain.String(),
	}
	payload, err := canon.ToJCS(e.Payload)
	if err == nil {
		l.Payload = payload
	} else {
		l.PayloadCBOR = hex.EncodeToString(e.Payload)
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode event %d as JSON: %w", e.Sequence, err)
	}
	return text, nil
}
