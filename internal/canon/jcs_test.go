package canon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"artifactstore/internal/canon"
)

func TestJCSVectors(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		// RFC 8785 section 3.2.3.
		{"sorting of the RFC", map[string]any{
			"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
			"\U0001f600": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis",
		}, `{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis",` +
			`"€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`},
		// RFC 8785 section 3.2.4, the string of the sample.
		{"string of the RFC", "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f", `"€$\u000f\nA'B\"\\\\\"/"`},
		{"short escapes", "\b\t\n\f\r\"\\", `"\b\t\n\f\r\"\\"`},
		{"other control characters", "\x00\x01\x0b\x1f", `"\u0000\u0001\u000b\u001f"`},
		{"nothing else is escaped", "\x7f/<>&'\u2028\u2029\u00a0\ufffd\U0010ffff", "\"\x7f/<>&'\u2028\u2029\u00a0\ufffd\U0010ffff\""},
		{"prefix sorts first", map[string]any{"aa": int64(1), "a": int64(2), "": int64(3)}, `{"":3,"a":2,"aa":1}`},
		{"beyond the basic plane", map[string]any{"\U00010000": true, "\U0010ffff": true, "\ue000": true, "\ud7ff": true, "\U00010001": true},
			"{\"\ud7ff\":true,\"\U00010000\":true,\"\U00010001\":true,\"\U0010ffff\":true,\"\ue000\":true}"},
		{"integers", []any{int64(0), int64(-1), int64(canon.MaxInteger), int64(-canon.MaxInteger)}, `[0,-1,9007199254740991,-9007199254740991]`},
		{"nesting", map[string]any{"b": []any{}, "a": map[string]any{"y": false, "x": []any{true}}}, `{"a":{"x":[true],"y":false},"b":[]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := canon.JCS(tt.in)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestJCSRejectsWhatItCannotCarry(t *testing.T) {
	var deep any = int64(1)
	for range 65 {
		deep = []any{deep}
	}
	for _, v := range []any{nil, 1.5, 1, []byte("x"), "\xff", map[string]any{"\xff": true}, int64(1 << 53), -int64(1 << 53), deep, []any{nil}, map[string]any{"a": nil}} {
		if got, err := canon.JCS(v); err == nil {
			t.Errorf("JCS(%v) = %s", v, got)
		}
	}
}

func TestJCSAgreesWithTheReferenceImplementation(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		v := randomValue(rng, 4)
		if _, ok := v.(map[string]any); !ok {
			v = []any{v} // the reference takes objects and arrays alone
		}
		got, err := canon.JCS(v)
		if err != nil {
			t.Fatal(err)
		}
		loose, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(loose)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	}
}

// randomValue returns a value that JCS can carry.
func randomValue(rng *rand.Rand, depth int) any {
	switch n := rng.IntN(6); {
	case n == 0:
		return rng.IntN(2) == 0
	case n == 1:
		return rng.Int64N(2*canon.MaxInteger+1) - canon.MaxInteger
	case n < 4 || depth == 0:
		return randomText(rng)
	case n == 4:
		list := make([]any, rng.IntN(4))
		for i := range list {
			list[i] = randomValue(rng, depth-1)
		}
		return list
	default:
		dict := map[string]any{}
		for range rng.IntN(6) {
			dict[randomText(rng)] = randomValue(rng, depth-1)
		}
		return dict
	}
}

// randomText prefers characters where encodings and orders differ.
func randomText(rng *rand.Rand) string {
	const odd = "\x00\b\t\n\v\f\r\x1f \"/\\<>&'az\x7f\u0080\u00ff\u07ff\u0800\u2028\u2029\ud7ff\ue000\ufb33\ufeff\ufffd\uffff\U00010000\U0001f600\U0010ffff"
	runes := []rune(odd)
	var b strings.Builder
	for range rng.IntN(4) {
		b.WriteRune(runes[rng.IntN(len(runes))])
	}
	return b.String()
}

func TestJCSAndCBORConvertBothWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		v := randomValue(rng, 5)
		cbor, err := canon.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text, err := canon.ToJCS(cbor)
		if err != nil {
			t.Fatal(err)
		}
		back, err := canon.FromJCS(text)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(cbor, back) {
			t.Fatalf("%x became %s became %x", cbor, text, back)
		}
	}
}

func TestBothFormsNestEquallyDeep(t *testing.T) {
	for _, depth := range []int{64, 65} {
		ok := depth == 64
		text := nested("[", "]", depth)
		cbor := unhex(t, strings.Repeat("81", depth-1)+"80")
		got, err := canon.FromJCS([]byte(text))
		if ok && !bytes.Equal(got, cbor) || (err == nil) != ok {
			t.Errorf("FromJCS at depth %d: %x, %v", depth, got, err)
		}
		back, err := canon.ToJCS(cbor)
		if ok && string(back) != text || (err == nil) != ok {
			t.Errorf("ToJCS at depth %d: %s, %v", depth, back, err)
		}
	}
}

func TestBothFormsAreEquallyWide(t *testing.T) {
	for members, ok := range map[int]bool{1 << 16: true, 1<<16 + 1: false} {
		dict := map[string]any{}
		for i := range members {
			dict[fmt.Sprint(i)] = int64(0)
		}
		text, err := canon.JCS(dict)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := canon.FromJCS(text); (err == nil) != ok {
			t.Errorf("FromJCS of %d members: %v", members, err)
		}
		cbor, err := canon.Marshal(dict)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := canon.ToJCS(cbor); (err == nil) != ok {
			t.Errorf("ToJCS of %d members: %v", members, err)
		}
	}
}

func TestToJCSRejects(t *testing.T) {
	tests := []struct{ name, in string }{
		{"byte string", "4101"}, {"byte string within", "814101"}, {"float", "f93c00"}, {"float within", "a16161fb3ff199999999999a"},
		{"null", "f6"}, {"undefined", "f7"}, {"simple value", "f0"}, {"integer key", "a10102"}, {"byte string key", "a1416102"},
		{"2^53", "1b0020000000000000"}, {"-2^53", "3b001fffffffffffff"}, {"2^64-1", "1bffffffffffffffff"},
		{"tag", "c001"}, {"unsorted keys", "a2616201616101"}, {"duplicate keys", "a2616101616101"},
		{"long integer", "1801"}, {"indefinite", "9fff"}, {"trailing byte", "0000"}, {"empty", ""}, {"invalid UTF-8", "61ff"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := canon.ToJCS(unhex(t, tt.in)); !errors.Is(err, canon.ErrNotCanonical) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestFromJCSRejects(t *testing.T) {
	wide := "[" + strings.Repeat("0,", 1<<17) + "0]"
	for _, text := range []string{
		``, ` {}`, `{} `, `{"b":1,"a":2}`, `{"a":1,"a":1}`, `[1.0]`, `[1e2]`, `[-0]`, `null`, `{"a":null}`, `["\/"]`, `["\u0041"]`,
		`["\u001F"]`, `[9007199254740992]`, `["\ud800"]`, `[1, 2]`, `[1,2`, "[\"\xff\"]", `{"😀":1,"€":1}`, wide,
	} {
		if got, err := canon.FromJCS([]byte(text)); !errors.Is(err, canon.ErrNotCanonical) {
			t.Errorf("%.40s: got %x, %v", text, got, err)
		}
	}
}

func FuzzToJCS(f *testing.F) {
	for _, s := range []string{"a0", "80", "00", "f5", "a26161016162820203", "6161", "4101", "f93c00", "1b001fffffffffffff"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, cbor []byte) {
		text, err := canon.ToJCS(cbor)
		if err != nil {
			return
		}
		back, err := canon.FromJCS(text)
		if err != nil || !bytes.Equal(back, cbor) {
			t.Fatalf("%x became %s became %x, %v", cbor, text, back, err)
		}
	})
}

func FuzzFromJCS(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, `0`, `true`, `{"a":1,"b":[2,3]}`, `"ü"`, `"\n"`, `{"€":"Euro Sign","😀":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cbor, err := canon.FromJCS(text)
		if err != nil {
			return
		}
		back, err := canon.ToJCS(cbor)
		if err != nil || !bytes.Equal(back, text) {
			t.Fatalf("%s became %x became %s, %v", text, cbor, back, err)
		}
		if text[0] != '{' && text[0] != '[' {
			return // the reference takes objects and arrays alone
		}
		if want, err := jcs.Transform(text); err != nil || !bytes.Equal(want, text) {
			t.Fatalf("the reference makes %s of %s, %v", want, text, err)
		}
	})
}
