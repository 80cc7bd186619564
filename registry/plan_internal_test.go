package registry

import (
	"errors"
	"testing"
)

// An id that no plan can have is not asked for: there are texts that a database
// does not take.
func TestPlanIDsOutsideTheGrammarAreNotLookedUp(t *testing.T) {
	for _, id := range []string{"", "\x00", "\xff", "x", "0123456789abcdef0123456789abcdeF", newID() + "\x00"} {
		var refused *Error
		if _, _, err := planOf(nil, id); !errors.As(err, &refused) || refused.Code != PlanUnknown {
			t.Errorf("%q: %v", id, err)
		}
	}
}
