package config

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. Its text is a whole number with a unit: B, KiB,
// MiB, GiB or TiB; a number alone counts bytes.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// units in the order in which MarshalText tries them.
var units = []struct {
	name string
	size Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// MarshalText returns the size in the largest unit that it is a multiple of.
func (s Size) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("0"), nil
	}
	u := units[0]
	for _, u = range units {
		if s%u.size == 0 {
			break
		}
	}
	return fmt.Appendf(nil, "%d%s", s/u.size, u.name), nil
}

// UnmarshalText reads what MarshalText writes, and plain numbers of bytes.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := string(text), Size(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = n, u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || Size(n) > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a size; write a whole number with a unit, such as 64KiB, 4MiB or 0", text)
	}
	*s = Size(n) * unit
	return nil
}

// Rate is a number of bytes per second. Its text is a Size and "/s".
type Rate int64

// MarshalText returns the rate as text.
func (r Rate) MarshalText() ([]byte, error) {
	text, err := Size(r).MarshalText()
	return append(text, "/s"...), err
}

// UnmarshalText reads what MarshalText writes.
func (r *Rate) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "/s")
	var size Size
	if err := size.UnmarshalText([]byte(number)); err != nil || !ok {
		return fmt.Errorf("%q is not a rate; write a size per second, such as 16KiB/s", text)
	}
	*r = Rate(size)
	return nil
}

// Duration is a length of time. Its text is what time.ParseDuration reads:
// numbers with a unit such as 10s, 5m, 24h, 1h30m.
type Duration time.Duration

// MarshalText returns the duration without parts that are zero: 24h, not 24h0m0s.
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return []byte(text), nil
}

// UnmarshalText reads a duration that is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration; write a number with a unit, such as 10s, 5m or 24h", text)
	}
	*d = Duration(v)
	return nil
}

// Format is the form of log lines.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json"
)

// MarshalText returns the format's name.
func (f Format) MarshalText() ([]byte, error) { return []byte(f), nil }

// UnmarshalText reads a format's name.
func (f *Format) UnmarshalText(text []byte) error {
	return choose(f, text, "a log format; write text or json", Text, JSON)
}

// Level is the least severity that is logged.
type Level string

// The levels.
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Slog returns the level in terms of log/slog.
func (l Level) Slog() slog.Level {
	switch l {
	case Debug:
		return slog.LevelDebug
	case Warn:
		return slog.LevelWarn
	case Error:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// MarshalText returns the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	return choose(l, text, "a log level; write debug, info, warn or error", Debug, Info, Warn, Error)
}

// choose sets a value that is one of a few.
func choose[T ~string](into *T, text []byte, what string, values ...T) error {
	if v := T(text); slices.Contains(values, v) {
		*into = v
		return nil
	}
	return fmt.Errorf("%q is not %s", text, what)
}
