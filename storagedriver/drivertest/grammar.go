package drivertest

import (
	"strings"

	"artifactstore/storagedriver"
)

var badIDs = []string{
	"", ".", "..", "../a", "a/b", "/a", "A", "aB", "a-b", "a_b", "a.b", "a b", "a\x00", "a\n", "ä",
	"%2e%2e", `a\b`, strings.Repeat("a", 65), strings.Repeat("a", 100_000),
}

var badLocators = []string{
	"", ".", "..", "/", "//", "../a", "a/..", "a/../b", "a/./b", "./a", "/a", "a/", "a//b", "A/b", "a/B",
	"a.b", "a_b", "a b", "a\x00b", "a\nb", "ä", `a\b`, "%2e%2e/a", "../../../../etc/passwd",
	strings.Repeat("a", 256), strings.Repeat("a/", 200) + "a",
}

func grammarCases() []testCase {
	return []testCase{
		{"ids outside the grammar are refused everywhere", func(t *trial) {
			for _, id := range badIDs {
				t.refusesID(id)
			}
			t.staged()
		}},
		{"a locator ends with the id of its object", func(t *trial) {
			for _, id := range []string{"a", "0123456789abcdef", strings.Repeat("z9", 32)} {
				locator := t.d.Locate(id, digest(1))
				if locator[strings.LastIndexAny(locator, "/-")+1:] != id {
					t.Errorf("the locator of %s is %s", id, locator)
				}
			}
		}},
		{"locators outside the grammar are refused everywhere", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			state := t.stage("b", []byte("abc"))
			bad := append(badLocators, locator+"/..", "x/../"+locator, strings.ToUpper(locator), locator+"/", "/"+locator)
			for _, l := range bad {
				t.refusesLocator(l, state)
			}
			t.holds(locator, []byte("abc"))
			t.staged("b")
		}},
	}
}

func (t *trial) refusesID(id string) {
	t.Helper()
	ctx := t.Context()
	_, err := t.d.Stage(ctx, id)
	t.wants(err, storagedriver.ErrInvalid)
	_, err = t.d.Resume(ctx, id, nil, 0)
	t.wants(err, storagedriver.ErrInvalid)
	_, err = t.d.OpenStaged(ctx, id, nil, 0)
	t.wants(err, storagedriver.ErrInvalid)
	t.wants(t.d.Discard(ctx, id, nil), storagedriver.ErrInvalid)
	t.wants(t.d.Publish(ctx, id, nil, 0, t.d.Locate("a", digest(1))), storagedriver.ErrInvalid)
	if t.Failed() {
		t.Fatalf("id %.80q", id)
	}
}

func (t *trial) refusesLocator(locator string, state []byte) {
	t.Helper()
	ctx := t.Context()
	_, err := t.d.Open(ctx, locator, 0, -1)
	t.wants(err, storagedriver.ErrInvalid)
	_, err = t.d.Size(ctx, locator)
	t.wants(err, storagedriver.ErrInvalid)
	t.wants(t.d.Delete(ctx, locator), storagedriver.ErrInvalid)
	t.wants(t.d.Publish(ctx, "b", state, 3, locator), storagedriver.ErrInvalid)
	if t.Failed() {
		t.Fatalf("locator %.80q", locator)
	}
}
