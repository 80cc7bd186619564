package storagedriver_test

import (
	"strings"
	"testing"

	"artifactstore/storagedriver"
)

func TestOwnersAreRead(t *testing.T) {
	for _, id := range []string{"a", "0123456789abcdef0123456789abcdef", strings.Repeat("z", 64)} {
		line := storagedriver.OwnerLine(id)
		if got, err := storagedriver.ParseOwner(line); got != id || err != nil {
			t.Errorf("%q is read as %q, %v", line, got, err)
		}
		if len(line) >= storagedriver.OwnerLimit {
			t.Errorf("%d bytes are not less than the limit", len(line))
		}
	}
	if got, want := string(storagedriver.OwnerLine("0123")), "artifactstore objects of log 0123\n"; got != want {
		t.Errorf("an owner is written as %q, want %q", got, want)
	}
	good := string(storagedriver.OwnerLine("abc"))
	for _, line := range []string{
		"", "\n", "abc", strings.TrimSuffix(good, "\n"), good + "\n", good + good, "x" + good, strings.ToUpper(good),
		string(storagedriver.OwnerLine("")), string(storagedriver.OwnerLine("A")), string(storagedriver.OwnerLine(strings.Repeat("a", 65))),
	} {
		if id, err := storagedriver.ParseOwner([]byte(line)); err == nil || id != "" {
			t.Errorf("%q is read as %q", line, id)
		}
	}
}
