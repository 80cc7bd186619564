//go:build !race

package drivertest

import (
	"bytes"
)

// large is 5 GiB: beyond 32 bits, and what no driver should keep in memory.
// All but two places is zeros, which drivers keep as holes or write fast.
const large = 5 << 30

func largeCases() []testCase {
	return []testCase{
		{"an object of 5 GiB is written, resumed and read beyond 4 GiB", func(t *trial) {
			zeros := make([]byte, 1<<20)
			mark := random(1000, 50)
			s := t.begin("a")
			for range 4<<10 + 512 { // 4.5 GiB
				t.write(s, zeros)
			}
			t.write(s, mark)
			state := t.save(s)

			at := int64(4<<30 + 512<<20)
			s, err := t.d.Resume(t.Context(), "a", state, at+1000)
			t.must(err)
			for range 511 {
				t.write(s, zeros)
			}
			t.write(s, zeros[:1<<20-2000])
			t.write(s, mark)
			state = t.save(s)

			locator := t.publish("a", state, large)
			size, err := t.d.Size(t.Context(), locator)
			t.must(err)
			if size != large {
				t.Errorf("object has %d bytes, want %d", size, int64(large))
			}
			for _, offset := range []int64{at, large - 1000} {
				if got := t.read(locator, offset, 1000); !bytes.Equal(got, mark) {
					t.Errorf("1000 bytes from %d differ", offset)
				}
				if got := t.read(locator, offset-1, 2); got[0] != 0 || got[1] != mark[0] {
					t.Errorf("2 bytes from %d differ", offset-1)
				}
			}
			if got := t.read(locator, large-1000, -1); !bytes.Equal(got, mark) {
				t.Errorf("the last 1000 bytes differ")
			}
			t.must(t.d.Delete(t.Context(), locator))
		}},
	}
}
