package identity_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"artifactstore/registry/identity"
)

// pattern returns the input of BLAKE3's test vectors: 0, 1, ... 250, 0, 1, ...
func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}

func TestBLAKE3HasTheSumsOfItsAuthors(t *testing.T) {
	text, err := os.ReadFile("testdata/blake3_test_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Cases []struct {
			Length int    `json:"input_len"`
			Hash   string `json:"hash"` // extended; the sum is its first 32 bytes
		} `json:"cases"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Cases) != 35 {
		t.Fatalf("%d vectors, want 35", len(vectors.Cases))
	}
	for _, v := range vectors.Cases {
		checkSum(t, identity.BLAKE3, pattern(v.Length), v.Hash[:64])
	}
}

// checkSum checks the sum of data, computed whole and as a stream.
func checkSum(t *testing.T, a identity.Algorithm, data []byte, sum string) {
	t.Helper()
	want := identity.MustParse(string(a) + ":" + sum)
	if got := identity.FromBytes(a, data); got != want {
		t.Errorf("FromBytes of %d bytes = %s, want %s", len(data), got, want)
	}
	h := identity.NewHasher(a)
	h.Write(data)
	if set := h.Sum(); !set.Has(want) {
		t.Errorf("Hasher of %d bytes = %s, want %s", len(data), set, want)
	}
	if set := identity.Of(data, a); !set.Equal(h.Sum()) {
		t.Errorf("Of %d bytes = %s, want %s", len(data), set, h.Sum())
	}
}

// The messages of FIPS 180-4's examples.
const (
	bits448 = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
	bits896 = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn" +
		"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
)

// shaVectors are NIST's: the examples of FIPS 180-4, its additional examples
// for SHA-2 (lengths around a block, long runs of one byte), and messages of
// the Cryptographic Algorithm Validation Program (CAVS 11.0).
var shaVectors = []struct {
	name      string
	algorithm identity.Algorithm
	message   []byte
	sum       string
}{
	{"empty", identity.SHA256, nil, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc", identity.SHA256, []byte("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"448 bits", identity.SHA256, []byte(bits448), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	{"896 bits", identity.SHA256, []byte(bits896), "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
	{"a million a", identity.SHA256, run('a', 1e6), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
	{"bd", identity.SHA256, unhex("bd"), "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b"},
	{"c98c8e55", identity.SHA256, unhex("c98c8e55"), "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504"},
	{"55 zeros", identity.SHA256, run(0, 55), "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7"},
	{"56 zeros", identity.SHA256, run(0, 56), "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb"},
	{"57 zeros", identity.SHA256, run(0, 57), "65a16cb7861335d5ace3c60718b5052e44660726da4cd13bb745381b235a1785"},
	{"64 zeros", identity.SHA256, run(0, 64), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"},
	{"1000 zeros", identity.SHA256, run(0, 1000), "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53"},
	{"1000 A", identity.SHA256, run('A', 1000), "c2e686823489ced2017f6059b8b239318b6364f6dcd835d0a519105a1eadd6e4"},
	{"1005 U", identity.SHA256, run('U', 1005), "f4d62ddec0f3dd90ea1380fa16a5ff8dc4c54b21740650f24afc4120903552b0"},
	{"a million zeros", identity.SHA256, run(0, 1e6), "d29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025"},
	{"CAVS short 8 bits", identity.SHA256, unhex("d3"), "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
	{"CAVS short 16 bits", identity.SHA256, unhex("11af"), "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"},
	{
		"CAVS long 1304 bits", identity.SHA256,
		unhex("451101250ec6f26652249d59dc974b7361d571a8101cdfd36aba3b5854d3ae08",
			"6b5fdd4597721b66e3c0dc5d8c606d9657d0e323283a5217d1f53f2f284f57b8",
			"5c8a61ac8924711f895c5ed90ef17745ed2d728abd22a5f7a13479a462d71b56",
			"c19a74a40b655c58edfe0a188ad2cf46cbf30524f65d423c837dd1ff2bf462ac",
			"4198007345bb44dbb7b1c861298cdf61982a833afc728fae1eda2f87aa2c9480",
			"858bec"),
		"3c593aa539fdcdae516cdf2f15000f6634185c88f505b39775fb9ab137a10aa2",
	},
	{"empty", identity.SHA512, nil, "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
	{"abc", identity.SHA512, []byte("abc"), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
	{"896 bits", identity.SHA512, []byte(bits896), "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"},
	{"a million a", identity.SHA512, run('a', 1e6), "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
	{"111 zeros", identity.SHA512, run(0, 111), "77ddd3a542e530fd047b8977c657ba6ce72f1492e360b2b2212cd264e75ec03882e4ff0525517ab4207d14c70c2259ba88d4d335ee0e7e20543d22102ab1788c"},
	{"112 zeros", identity.SHA512, run(0, 112), "2be2e788c8a8adeaa9c89a7f78904cacea6e39297d75e0573a73c756234534d6627ab4156b48a6657b29ab8beb73334040ad39ead81446bb09c70704ec707952"},
	{"1000 zeros", identity.SHA512, run(0, 1000), "ca3dff61bb23477aa6087b27508264a6f9126ee3a004f53cb8db942ed345f2f2d229b4b59c859220a1cf1913f34248e3803bab650e849a3d9a709edc09ae4a76"},
	{"1000 A", identity.SHA512, run('A', 1000), "329c52ac62d1fe731151f2b895a00475445ef74f50b979c6f7bb7cae349328c1d4cb4f7261a0ab43f936a24b000651d4a824fcdd577f211aef8f806b16afe8af"},
	{"1005 U", identity.SHA512, run('U', 1005), "59f5e54fe299c6a8764c6b199e44924a37f59e2b56c3ebad939b7289210dc8e4c21b9720165b0f4d4374c90f1bf4fb4a5ace17a1161798015052893a48c3d161"},
	{"a million zeros", identity.SHA512, run(0, 1e6), "ce044bc9fd43269d5bbc946cbebc3bb711341115cc4abdf2edbc3ff2c57ad4b15deb699bda257fea5aef9c6e55fcf4cf9dc25a8c3ce25f2efe90908379bff7ed"},
	{"CAVS short 8 bits", identity.SHA512, unhex("21"), "3831a6a6155e509dee59a7f451eb35324d8f8f2df6e3708894740f98fdee23889f4de5adb0c5010dfb555cda77c8ab5dc902094c52de3278f35a75ebc25f093a"},
	{"CAVS short 16 bits", identity.SHA512, unhex("9083"), "55586ebba48768aeb323655ab6f4298fc9f670964fc2e5f2731e34dfa4b0c09e6e1e12e3d7286b3145c61c2047fb1a2a1297f36da64160b31fa4c8c2cddd2fb4"},
	{"CAVS short 24 bits", identity.SHA512, unhex("0a55db"), "7952585e5330cb247d72bae696fc8a6b0f7d0804577e347d99bc1b11e52f384985a428449382306a89261ae143c2f3fb613804ab20b42dc097e5bf4a96ef919b"},
}

func TestSHA2HasTheSumsOfNIST(t *testing.T) {
	for _, v := range shaVectors {
		t.Run(string(v.algorithm)+" of "+v.name, func(t *testing.T) {
			checkSum(t, v.algorithm, v.message, v.sum)
		})
	}
}

func run(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

func unhex(parts ...string) []byte {
	data, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil {
		panic(err)
	}
	return data
}
