package retention_test

import (
	"encoding"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/retention"
)

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
