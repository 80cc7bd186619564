package eventlog

import (
	"fmt"

	"artifactstore/internal/canon"
)

// Decode decodes the payload into the value that a pointer of its kind points to.
func (e *Event) Decode(payload any) error {
	if err := canon.Unmarshal(e.Payload, payload); err != nil {
		return fmt.Errorf("event %d: decode payload of %s: %w", e.Sequence, e.Kind, err)
	}
	return nil
}

// Reason returns the reason of the private part, "" if there was none or it was erased.
func (e *Event) Reason() string {
	var private Private
	if canon.Unmarshal(e.Private, &private) != nil {
		return "" // erased, or a check reports it
	}
	return private.Reason
}
