package config_test

import (
	"encoding"
	"testing"
	"time"

	"artifactstore/internal/config"
)

func TestValuesReadWhatTheyWrite(t *testing.T) {
	type value interface {
		encoding.TextMarshaler
		encoding.TextUnmarshaler
	}
	size := func(n config.Size) value { return &n }
	rate := func(n config.Size) value { r := config.Rate(n); return &r }
	duration := func(d time.Duration) value { v := config.Duration(d); return &v }
	redirect := func(r config.Redirect) value { return &r }
	cases := []struct {
		text  string
		into  value
		want  value
		canon string
	}{
		{"0", size(1), size(0), "0"},
		{"1", size(0), size(1), "1B"},
		{"65536", size(0), size(64 * config.KiB), "64KiB"},
		{"64KiB", size(0), size(64 * config.KiB), "64KiB"},
		{"1024KiB", size(0), size(config.MiB), "1MiB"},
		{"5GiB", size(0), size(5 * config.GiB), "5GiB"},
		{"7TiB", size(0), size(7 * config.TiB), "7TiB"},
		{"1025B", size(0), size(1025), "1025B"},
		{"9223372036854775807", size(0), size(1<<63 - 1), "9223372036854775807B"},
		{"0/s", rate(1), rate(0), "0/s"},
		{"16KiB/s", rate(0), rate(16 * config.KiB), "16KiB/s"},
		{"100/s", rate(0), rate(100), "100B/s"},
		{"24h", duration(0), duration(24 * time.Hour), "24h"},
		{"90m", duration(0), duration(90 * time.Minute), "1h30m"},
		{"1h0m5s", duration(0), duration(time.Hour + 5*time.Second), "1h0m5s"},
		{"10s", duration(0), duration(10 * time.Second), "10s"},
		{"100s", duration(0), duration(100 * time.Second), "1m40s"},
		{"10m", duration(0), duration(10 * time.Minute), "10m"},
		{"20h", duration(0), duration(20 * time.Hour), "20h"},
		{"0", duration(1), duration(0), "0s"},
		{"never", redirect(0), redirect(config.Never), "never"},
		{"always", redirect(0), redirect(config.Always), "always"},
		{"above 0", redirect(0), redirect(1), "always"},
		{"above 1024KiB", redirect(0), redirect(1<<20 + 1), "above 1MiB"},
	}
	for _, c := range cases {
		t.Run(c.text+" as "+c.canon, func(t *testing.T) {
			if err := c.into.UnmarshalText([]byte(c.text)); err != nil {
				t.Fatal(err)
			}
			got, err := c.into.MarshalText()
			if err != nil || string(got) != c.canon {
				t.Errorf("read %q, wrote %q (%v), want %q", c.text, got, err, c.canon)
			}
			want, err := c.want.MarshalText()
			if err != nil || string(got) != string(want) {
				t.Errorf("read %q as %s, want %s (%v)", c.text, got, want, err)
			}
		})
	}
}

func TestValuesRefuseOtherText(t *testing.T) {
	values := map[string]encoding.TextUnmarshaler{
		"size": new(config.Size), "rate": new(config.Rate), "duration": new(config.Duration),
		"format": new(config.Format), "level": new(config.Level),
		"redirect": new(config.Redirect), "database": new(config.DatabaseDriver), "place": new(config.StorageDriver), "encryption": new(config.Encryption),
	}
	bad := map[string][]string{
		"size":     {"", " ", "KiB", "4 MiB", "4MB", "4mib", "1.5MiB", "-1", "+1", "0x10", "1_000", "9223372036854775808", "8388608TiB", "4MiB/s"},
		"rate":     {"", "0", "16KiB", "1", "/s", "16KiB/m", "-1/s", "16KiB/s/s"},
		"duration": {"", "24", "1d", "-1s", "h", "10 s", "9999999999h"},
		"format":   {"", "JSON", "logfmt"},
		"level":    {"", "INFO", "trace", "info+1"},
		"redirect": {"", "Never", "above", "above ", "above -1", "above 1 MiB", "1MiB", "above 9223372036854775807", "above  1MiB", "never "},

		"database": {"", "PostgreSQL", "sqlite3"}, "place": {"", "S3", "disk"}, "encryption": {"aes256", "AWS:KMS", " "},
	}
	for kind, texts := range bad {
		for _, text := range texts {
			if err := values[kind].UnmarshalText([]byte(text)); err == nil {
				t.Errorf("%q was read as a %s", text, kind)
			}
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"0", "64KiB", "9223372036854775807", "8388607TiB", "1B", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again config.Size
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		written, err := s.MarshalText()
		if err != nil || s < 0 {
			t.Fatalf("%q gave %d, %v", text, s, err)
		}
		if err := again.UnmarshalText(written); err != nil || again != s {
			t.Errorf("%q is %d, but its text %q is %d (%v)", text, s, written, again, err)
		}
	})
}
