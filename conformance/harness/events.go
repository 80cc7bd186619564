package harness

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Event is what the tests read of an event of the log.
type Event struct {
	Sequence uint64          `json:"sequence"`
	Kind     string          `json:"kind"`
	Subject  string          `json:"subject"`
	Payload  json.RawMessage `json:"payload"`
}

// Events returns the events of the log after a sequence, by the server's own
// verb. It fails if the sequences have a gap.
func (s *Server) Events(after uint64) ([]Event, error) {
	out, err := s.Run("events", "--json", "--after", strconv.FormatUint(after, 10))
	if err != nil {
		return nil, err
	}
	var events []Event
	for line := range strings.Lines(out) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("line %.200q of the log: %w", line, err)
		}
		after++
		if e.Sequence != after {
			return nil, fmt.Errorf("event %d of the log is numbered %d", after, e.Sequence)
		}
		events = append(events, e)
	}
	return events, nil
}
