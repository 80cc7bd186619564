package canon_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"artifactstore/internal/canon"
)

// word is a type with a text and a binary form, as digests have.
type word struct{ s string }

func (w word) MarshalText() ([]byte, error)    { return []byte(w.s), nil }
func (w *word) UnmarshalText(b []byte) error   { w.s = string(b); return nil }
func (w word) MarshalBinary() ([]byte, error)  { return []byte{1, 2, 3}, nil }
func (w *word) UnmarshalBinary(b []byte) error { return errors.New("unused") }
func (w word) IsZero() bool                    { return w.s == "" }
func text(s ...string) (list []word) { // a list of words
	for _, t := range s {
		list = append(list, word{t})
	}
	return list
}

type record struct {
	Name  string            `cbor:"name"`
	Count int64             `cbor:"count"`
	Big   uint64            `cbor:"big,omitempty"`
	Word  word              `cbor:"word,omitzero"`
	Words []word            `cbor:"words"`
	Raw   []byte            `cbor:"raw,omitempty"`
	Notes map[string]string `cbor:"notes,omitempty"`
	Inner *record           `cbor:"inner,omitempty"`
	Yes   bool              `cbor:"yes,omitempty"`
}

func TestMarshalGivesTheCanonicalBytes(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"keys are sorted by their encoding", map[string]int{"b": 1, "aa": 2, "a": 3}, "a3616103616201626161" + "02"},
		{"nil containers are empty", struct {
			A []int          `cbor:"a"`
			B map[string]int `cbor:"b"`
			C []byte         `cbor:"c"`
		}{}, "a3616180" + "6162a0" + "616340"},
		{"text marshalers are text", text("x", ""), "82617860"},
		{"zero words are left out", record{Name: "n"}, "a3646e616d65616e65636f756e7400" + "65776f72647380"},
		{"integers are shortest", []int64{0, 23, 24, 255, 256, 65535, 65536, -1, -25}, "890017181818ff19010019ffff1a00010000203818"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := canon.Marshal(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != tt.want {
				t.Errorf("got %x, want %s", got, tt.want)
			}
		})
	}
}

func TestUnmarshalReadsWhatMarshalWrote(t *testing.T) {
	in := record{Name: "ü", Count: -5, Big: 1 << 63, Word: word{"w"}, Words: text("a", "b"), Raw: []byte{0},
		Notes: map[string]string{"k": "v", "": ""}, Inner: &record{Words: text("z")}, Yes: true}
	data, err := canon.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out record
	if err := canon.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	again, err := canon.Marshal(out)
	if err != nil || string(again) != string(data) {
		t.Errorf("second encoding %x, %v; want %x", again, err, data)
	}
	if out.Inner.Words[0].s != "z" || out.Big != 1<<63 || out.Notes["k"] != "v" {
		t.Errorf("decoded %+v", out)
	}
}

func TestUnmarshalRejectsWhatIsNotCanonical(t *testing.T) {
	// a minimal valid record: {"name": "n", "count": 0, "words": []}
	const valid = "a3646e616d65616e65636f756e740065776f72647380"
	var r record
	if err := canon.Unmarshal(unhex(t, valid), &r); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, in string }{
		{"empty input", ""},
		{"trailing byte", valid + "00"},
		{"cut short", valid[:len(valid)-2]},
		{"unknown field", "a4" + "616100" + valid[2:]},
		{"duplicate field", "a4" + "646e616d65616e" + valid[2:]},
		{"unsorted keys", "a3" + "65636f756e7400" + "646e616d65616e" + "65776f72647380"},
		{"field name in another case", "a3" + "644e616d65616e" + valid[16:]},
		{"missing field", "a2646e616d65616e65636f756e7400"},
		{"empty field that is left out", "a4" + "6372617740" + valid[2:]},
		{"false that is left out", "a4" + "63796573f4" + valid[2:]},
		{"integer not shortest", "a3646e616d65616e65636f756e74180065776f72647380"},
		{"integer as float", "a3646e616d65616e65636f756e74f9000065776f72647380"},
		{"indefinite text", "a3646e616d657f616eff65636f756e740065776f72647380"},
		{"indefinite map", "bf" + valid[2:] + "ff"},
		{"indefinite array", "a3646e616d65616e65636f756e740065776f7264739fff"},
		{"tag", "c0" + valid},
		{"tag within", "a3646e616d65616e65636f756e74c10065776f72647380"},
		{"null text", "a3646e616d65f665636f756e740065776f72647380"},
		{"null list", "a3646e616d65616e65636f756e740065776f726473f6"},
		{"undefined list", "a3646e616d65616e65636f756e740065776f726473f7"},
		{"null pointer", "a4646e616d65616e65636f756e740065696e6e6572f665776f72647380"},
		{"byte string as text", "a3646e616d65416e65636f756e740065776f72647380"},
		{"byte string as key", "a3446e616d65616e65636f756e740065776f72647380"},
		{"invalid UTF-8", "a3646e616d6561ff65636f756e740065776f72647380"},
		{"not a map", "80"},
		{"integer too large", "a3646e616d65616e65636f756e741bffffffffffffffff65776f72647380"},
		{"array longer than the input", "9bffffffffffffffff"},
		{"nested too deep", strings.Repeat("81", 100) + "80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r record
			if err := canon.Unmarshal(unhex(t, tt.in), &r); !errors.Is(err, canon.ErrNotCanonical) {
				t.Errorf("got %v, %+v; want ErrNotCanonical", err, r)
			}
		})
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
