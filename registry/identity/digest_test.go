package identity_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"artifactstore/registry/identity"
)

var (
	hex64  = strings.Repeat("0123456789abcdef", 4)
	hex128 = strings.Repeat(hex64, 2)
)

func TestParseAcceptsTheCanonicalFormOfEachAlgorithm(t *testing.T) {
	for _, s := range []string{"blake3:" + hex64, "sha256:" + hex64, "sha512:" + hex128} {
		d, err := identity.Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
			continue
		}
		name, encoded, _ := strings.Cut(s, ":")
		if d.String() != s || d.Algorithm() != identity.Algorithm(name) || d.Hex() != encoded || d.IsZero() {
			t.Errorf("Parse(%q) = %q, %q, %q", s, d, d.Algorithm(), d.Hex())
		}
		if again, err := identity.New(d.Algorithm(), d.Bytes()); err != nil || again != d {
			t.Errorf("New(%s, sum) = %s, %v", d.Algorithm(), again, err)
		}
	}
}

func TestParseRefusesEverythingElse(t *testing.T) {
	tests := []struct {
		name, text  string
		unsupported bool
	}{
		{name: "empty"},
		{name: "colon alone", text: ":"},
		{name: "no colon", text: "sha256" + hex64},
		{name: "no algorithm", text: ":" + hex64},
		{name: "no sum", text: "sha256:"},
		{name: "no sum of an unknown algorithm", text: "md5:"},
		{name: "upper case hex", text: "sha256:" + strings.ToUpper(hex64)},
		{name: "one upper case digit", text: "blake3:" + hex64[:63] + "F"},
		{name: "upper case algorithm", text: "SHA256:" + hex64},
		{name: "upper case BLAKE3", text: "BLAKE3:" + hex64},
		{name: "one digit short", text: "sha256:" + hex64[:63]},
		{name: "one digit long", text: "sha256:" + hex64 + "0"},
		{name: "length of another algorithm", text: "sha256:" + hex128},
		{name: "SHA-512 with a short sum", text: "sha512:" + hex64},
		{name: "BLAKE3 with a long sum", text: "blake3:" + hex128},
		{name: "no hex digit", text: "blake3:" + hex64[:63] + "g"},
		{name: "two colons", text: "sha256:" + hex64[:32] + ":" + hex64[:31]},
		{name: "doubled colon", text: "sha256::" + hex64[:63]},
		{name: "colon at the end", text: "sha256:" + hex64 + ":"},
		{name: "several digests", text: "sha256:" + hex64 + ",sha256:" + hex64},
		{name: "algorithm with a component by plus", text: "sha256+b64u:" + hex64},
		{name: "algorithm with a component by dot", text: "sha256.b64:" + hex64},
		{name: "two algorithms by plus", text: "sha256+sha512:" + hex64},
		{name: "algorithm that ends with plus", text: "sha256+:" + hex64},
		{name: "algorithm that begins with a digit", text: "3blake:" + hex64},
		{name: "algorithm that begins with a hyphen", text: "-sha256:" + hex64},
		{name: "space before", text: " sha256:" + hex64},
		{name: "space after", text: "sha256:" + hex64 + " "},
		{name: "space after the colon", text: "sha256: " + hex64},
		{name: "space in the algorithm", text: "sha 256:" + hex64},
		{name: "newline after", text: "sha256:" + hex64 + "\n"},
		{name: "NUL after", text: "blake3:" + hex64 + "\x00"},
		{name: "percent encoded colon", text: "sha256%3A" + hex64},
		{name: "path", text: "sha256:../../../../../../../../../../../../../../../etc/passwd0000000"},
		{name: "path of an unknown algorithm", text: "md5:../etc/passwd"},
		{name: "digits that are not ASCII", text: "sha256:" + strings.Repeat("٠", 32)},
		{name: "letters that are not ASCII", text: "blаke3:" + hex64}, // a Cyrillic a
		{name: "invalid UTF-8", text: "sha256:" + hex64[:62] + "\xff\xfe"},
		{name: "tag", text: "latest"},
		{name: "algorithm that go-digest knows and we do not", text: "sha384:" + hex64 + hex64[:32], unsupported: true},
		{name: "unknown algorithm", text: "md5:d41d8cd98f00b204e9800998ecf8427e", unsupported: true},
		{name: "unknown algorithm with base64url", text: "multihash-v1:QmX_-=", unsupported: true},
		{name: "unknown algorithm with underscore", text: "blake3_512:" + hex128, unsupported: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := identity.Parse(test.text)
			if !errors.Is(err, identity.ErrInvalid) || errors.Is(err, identity.ErrUnsupported) != test.unsupported {
				t.Errorf("Parse(%q): %v", test.text, err)
			}
			if !d.IsZero() {
				t.Errorf("Parse(%q) = %q beside an error", test.text, d)
			}
		})
	}
}

func TestParseErrorIsShortHoweverLongTheInput(t *testing.T) {
	_, err := identity.Parse("sha256:" + strings.Repeat("\x00", 1<<20))
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("message of %d bytes", len(err.Error()))
	}
}

func TestNewRefusesWrongSumsAndAlgorithms(t *testing.T) {
	tests := []struct {
		name        string
		algorithm   identity.Algorithm
		length      int
		unsupported bool
	}{
		{"short sum", identity.SHA256, 31, false},
		{"long sum", identity.BLAKE3, 33, false},
		{"no sum", identity.SHA512, 0, false},
		{"no algorithm", "", 32, false},
		{"malformed algorithm", "sha+256", 32, false},
		{"unregistered algorithm", "sha384", 48, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := identity.New(test.algorithm, make([]byte, test.length))
			if !errors.Is(err, identity.ErrInvalid) || errors.Is(err, identity.ErrUnsupported) != test.unsupported || !d.IsZero() {
				t.Errorf("New = %q, %v", d, err)
			}
		})
	}
}

func TestMustParsePanicsOnAnError(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	identity.MustParse("sha256:")
}

func TestAlgorithms(t *testing.T) {
	want := []identity.Algorithm{identity.BLAKE3, identity.SHA256, identity.SHA512}
	all := identity.Algorithms()
	if !slices.Equal(all, want) {
		t.Errorf("Algorithms() = %q, want %q", all, want)
	}
	all[0] = "changed"
	if !slices.Equal(identity.Algorithms(), want) {
		t.Error("a caller can change the table of algorithms")
	}
	for _, a := range want {
		if got, err := identity.ParseAlgorithm(string(a)); err != nil || got != a || !a.Registered() {
			t.Errorf("ParseAlgorithm(%q) = %q, %v", a, got, err)
		}
		if len(identity.FromBytes(a, nil).Bytes()) != a.Size() {
			t.Errorf("%s.Size() = %d", a, a.Size())
		}
	}
	for name, unsupported := range map[string]bool{
		"": false, "SHA256": false, "sha256 ": false, "sha+256": false, "3": false, "sha256:": false,
		"sha384": true, "md5": true, "x-1_y": true,
	} {
		_, err := identity.ParseAlgorithm(name)
		if !errors.Is(err, identity.ErrInvalid) || errors.Is(err, identity.ErrUnsupported) != unsupported {
			t.Errorf("ParseAlgorithm(%q): %v", name, err)
		}
	}
	if d := identity.FromBytes("sha384", nil); !d.IsZero() {
		t.Errorf("FromBytes of an unregistered algorithm = %q", d)
	}
}

func TestZeroDigestIsTheEmptyText(t *testing.T) {
	var zero identity.Digest
	if !zero.IsZero() || zero.String() != "" || zero.Algorithm() != "" || zero.Hex() != "" || zero.Bytes() != nil {
		t.Errorf("zero Digest = %q, %q, %q, %x", zero, zero.Algorithm(), zero.Hex(), zero.Bytes())
	}
	text, err := zero.MarshalText()
	if err != nil || string(text) != "" {
		t.Errorf("MarshalText = %q, %v", text, err)
	}
	d := identity.FromBytes(identity.SHA256, nil)
	if err := d.UnmarshalText(nil); err != nil || !d.IsZero() {
		t.Errorf("UnmarshalText of nothing = %q, %v", d, err)
	}
	if _, ok := zero.OCI(); ok {
		t.Error("the zero Digest is an OCI digest")
	}
}

func TestDigestsTravelAsText(t *testing.T) {
	type record struct {
		One identity.Digest    `json:"one"`
		Set identity.DigestSet `json:"set"`
	}
	in := record{identity.FromBytes(identity.SHA512, nil), identity.Of(nil)}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"one":"sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce` +
		`47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",` +
		`"set":["blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",` +
		`"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	var out record
	if err := json.Unmarshal(text, &out); err != nil || out.One != in.One || !out.Set.Equal(in.Set) {
		t.Errorf("read back %v, %v", out, err)
	}
}

func TestUnmarshalTextLeavesTheDigestAloneOnAnError(t *testing.T) {
	d := identity.FromBytes(identity.BLAKE3, nil)
	before := d
	for _, text := range []string{"sha256:", "md5:00", "sha256:" + strings.ToUpper(hex64)} {
		if err := d.UnmarshalText([]byte(text)); !errors.Is(err, identity.ErrInvalid) || d != before {
			t.Errorf("UnmarshalText(%q) = %v, digest %s", text, err, d)
		}
	}
}

func TestOCI(t *testing.T) {
	for a, want := range map[identity.Algorithm]bool{
		identity.SHA256: true, identity.SHA512: true, identity.BLAKE3: false,
	} {
		d := identity.FromBytes(a, []byte("abc"))
		oci, ok := d.OCI()
		if ok != want || ok && oci != digest.Algorithm(a).FromString("abc") {
			t.Errorf("%s.OCI() = %s, %v", d, oci, ok)
		}
	}
}

func TestCompareOrdersByAlgorithmThenSum(t *testing.T) {
	sorted := []identity.Digest{
		{},
		identity.MustParse("blake3:" + hex64),
		identity.MustParse("blake3:" + strings.Repeat("f", 64)),
		identity.MustParse("sha256:" + hex64),
		identity.MustParse("sha512:" + hex128),
	}
	for i, a := range sorted {
		for j, b := range sorted {
			want := min(1, max(-1, i-j))
			if got := identity.Compare(a, b); got != want {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", ":", "sha256:" + hex64, "sha512:" + hex128, "blake3:" + hex64, "sha384:" + hex64 + hex64[:32],
		"sha256:" + strings.ToUpper(hex64), "sha256+b64:" + hex64, "sha256:" + hex64 + "\n", "md5:0", "a:b:c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := identity.Parse(s)
		var unmarshalled identity.Digest
		if textErr := unmarshalled.UnmarshalText([]byte(s)); s != "" && ((textErr == nil) != (err == nil) || unmarshalled != d) {
			t.Fatalf("Parse(%q) = %q, %v, but UnmarshalText gives %q, %v", s, d, err, unmarshalled, textErr)
		}
		name, _, _ := strings.Cut(s, ":")
		if _, ociErr := digest.Parse(s); name == "sha256" || name == "sha512" {
			if (ociErr == nil) != (err == nil) {
				t.Fatalf("Parse(%q): %v, go-digest: %v", s, err, ociErr)
			}
		}
		if err != nil {
			if !errors.Is(err, identity.ErrInvalid) || !d.IsZero() {
				t.Fatalf("Parse(%q) = %q, %v", s, d, err)
			}
			return
		}
		again, err := identity.New(d.Algorithm(), d.Bytes())
		if err != nil || again != d || d.String() != s {
			t.Fatalf("Parse(%q) = %q, from its sum %q, %v", s, d, again, err)
		}
	})
}
