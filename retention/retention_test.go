package retention_test

import (
	"encoding"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/retention"
)

func TestShippedPolicyIsValidAndKeepsEverything(t *testing.T) {
	policy := retention.Shipped()
	if err := policy.Validate(); err != nil {
		t.Fatal(err)
	}
	class, end, err := policy.Expiry("", noon)
	if class != retention.PermanentRecord || !end.IsZero() || err != nil {
		t.Errorf("Expiry of the default class: %s, %s, %v", class, end, err)
	}
}

func TestShippedPolicyIsTheCallers(t *testing.T) {
	mine := retention.Shipped()
	mine.Terms["nightly"] = retention.Week
	if _, ok := retention.Shipped().Terms["nightly"]; ok {
		t.Error("a class added to one policy appears in another")
	}
}

func TestExpiry(t *testing.T) {
	policy := retention.Shipped()
	policy.Terms["nightly"] = 36 * retention.Term(time.Hour)
	tests := []struct {
		class   retention.Class
		entered time.Time
		want    time.Time
	}{
		{retention.Transient, noon, at(7 * day)},
		{retention.RawEvidence, noon, at(90 * day)},
		{retention.SummaryEvidence, noon, at(365 * day)},
		{retention.ReleaseEvidence, noon, at(7 * 365 * day)},
		{retention.PermanentRecord, noon, time.Time{}},
		{"nightly", noon, at(36 * time.Hour)},
		// 2028 has a leap day: a year ends a day earlier in the calendar.
		{retention.SummaryEvidence, time.Date(2028, 1, 15, 0, 0, 0, 0, time.UTC), time.Date(2029, 1, 14, 0, 0, 0, 0, time.UTC)},
		{retention.Transient, at(1), at(7*day + time.Microsecond)},
		{retention.Transient, at(1000), at(7*day + time.Microsecond)},
	}
	for _, tt := range tests {
		class, got, err := policy.Expiry(tt.class, tt.entered)
		if err != nil || class != tt.class || !got.Equal(tt.want) {
			t.Errorf("Expiry(%s, %s) = %s, %s, %v, want %s", tt.class, tt.entered, class, got, err, tt.want)
		}
	}
	if _, _, err := policy.Expiry("unheard-of", noon); !errors.Is(err, retention.ErrUnknownClass) {
		t.Errorf("Expiry of an unknown class: %v", err)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*retention.Policy)
		want   string
	}{
		{"the default must be a class", func(p *retention.Policy) { p.Default = "nightly" }, `default class "nightly": unknown retention class`},
		{"there must be a default", func(p *retention.Policy) { p.Default = "" }, `default class ""`},
		{"permanent records stay permanent", func(p *retention.Policy) { p.Terms[retention.PermanentRecord] = retention.Year }, "permanent-record: must be kept never"},
		{"permanent records stay", func(p *retention.Policy) { delete(p.Terms, retention.PermanentRecord) }, "permanent-record: must be kept"},
		{"a term is not zero", func(p *retention.Policy) { p.Terms["x"] = 0 }, "class x: term 0s"},
		{"a term is not negative", func(p *retention.Policy) { p.Terms["x"] = -retention.Day }, "class x: term -24h0m0s"},
		{"a term has whole seconds", func(p *retention.Policy) { p.Terms["x"] = retention.Day + 1 }, "want whole seconds"},
		{"a term has a limit", func(p *retention.Policy) { p.Terms["x"] = 251 * retention.Year }, "from 1s to 250y"},
		{"a class has a name", func(p *retention.Policy) { p.Terms[""] = retention.Day }, "name does not match"},
		{"a class name is lower case", func(p *retention.Policy) { p.Terms["Nightly"] = retention.Day }, "name does not match"},
		{"a class name has a limit", func(p *retention.Policy) { p.Terms[retention.Class(strings.Repeat("x", 64))] = retention.Day }, "name does not match"},
		{"grace is not negative", func(p *retention.Policy) { p.Grace = -1 }, "grace -1ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := retention.Shipped()
			tt.change(&policy)
			if err := policy.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate() = %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestParseTerm(t *testing.T) {
	tests := []struct {
		text string
		want retention.Term
		as   string // how it is printed
	}{
		{"never", retention.Forever, "never"},
		{"1s", retention.Term(time.Second), "1s"},
		{"90s", retention.Term(90 * time.Second), "90s"},
		{"5m", retention.Term(5 * time.Minute), "5m"},
		{"36h", retention.Term(36 * time.Hour), "36h"},
		{"48h", 2 * retention.Day, "2d"},
		{"7d", 7 * retention.Day, "1w"},
		{"90d", 90 * retention.Day, "90d"},
		{"52w", 364 * retention.Day, "52w"},
		{"365d", retention.Year, "1y"},
		{"7y", 7 * retention.Year, "7y"},
		{"250y", 250 * retention.Year, "250y"},
	}
	for _, tt := range tests {
		got, err := retention.ParseTerm(tt.text)
		if err != nil || got != tt.want || got.String() != tt.as {
			t.Errorf("ParseTerm(%q) = %d (%s), %v, want %d (%s)", tt.text, got, got, err, tt.want, tt.as)
		}
	}
	malformed := []string{"", "d", "7", "0d", "07d", "-7d", "+7d", "7D", "7 d", " 7d", "7d ", "1.5d", "1d12h", "7mo", "7x",
		"Never", "forever", "٧d", "7d\x00", "251y", "7885000000s", "9223372036854775807y", "18446744073709551616d"}
	for _, text := range malformed {
		if got, err := retention.ParseTerm(text); err == nil {
			t.Errorf("ParseTerm(%q) = %s, want an error", text, got)
		}
	}
}

var (
	_ encoding.TextMarshaler   = retention.Term(0)
	_ encoding.TextUnmarshaler = new(retention.Term)
)

func TestTermTextOfWhatIsNotATerm(t *testing.T) {
	if text, err := retention.Term(1).MarshalText(); err == nil {
		t.Errorf("a nanosecond is written as %q", text)
	}
	term := retention.Week
	if err := term.UnmarshalText([]byte("soon")); err == nil || term != retention.Week {
		t.Errorf("UnmarshalText of an invalid text: %v, %v", term, err)
	}
}

func TestTermTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := retention.Term(rapid.Int64Range(1, 250*365*24*60*60).Draw(t, "seconds")) * retention.Term(time.Second)
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got retention.Term
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Fatalf("%d is written as %q and read as %d: %v", want, text, got, err)
		}
	})
}

func FuzzParseTerm(f *testing.F) {
	for _, seed := range []string{"never", "7d", "250y", "0s", "1d12h", "9223372036854775807s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		term, err := retention.ParseTerm(text)
		if err != nil {
			return
		}
		again, err := retention.ParseTerm(term.String())
		if err != nil || again != term {
			t.Errorf("%q is %s, which reads as %d: %v", text, term, again, err)
		}
	})
}
