package identity_test

// pattern returns the input of BLAKE3's test vectors: 0, 1, ... 250, 0, 1, ...
func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}
