package retention_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"artifactstore/retention"
)

func TestCombine(t *testing.T) {
	config := document(t, `{"classes":{"nightly":"1d","raw-evidence":"30d"},"grace":"3d","policies":[{"name":"z","repositories":["a"],"class":"sprint"}]}`)
	admin := document(t, `{"classes":{"sprint":"3w","raw-evidence":"30d"},"default":"nightly","policies":[{"name":"a","repositories":["a"]},{"name":"b","repositories":["b"]}]}`)
	rules := combine(t, config, admin)
	if got := rules.For("a"); got == nil || got.Name != "z" {
		t.Errorf("the first policy that matches is %v, want that of the configuration", got)
	}
	if got := rules.For("b"); got == nil || got.Name != "b" {
		t.Errorf("the policy of b is %v", got)
	}
	if got := rules.For("c"); got != nil {
		t.Errorf("the policy of c is %v", got)
	}
	classes := map[retention.Class]retention.Term{
		"nightly": retention.Day, "sprint": 3 * retention.Week,
		retention.Transient: retention.Week, retention.RawEvidence: 30 * retention.Day, retention.SummaryEvidence: retention.Year,
		retention.ReleaseEvidence: 7 * retention.Year, retention.PermanentRecord: retention.Forever,
	}
	if got := rules.Classes(); !reflect.DeepEqual(got, classes) {
		t.Errorf("classes %v", got)
	}
	if got, _, err := rules.Expiry("", noon); got != "nightly" || rules.Grace() != 3*day || err != nil {
		t.Errorf("default %s, grace %s, %v", got, rules.Grace(), err)
	}
}

func TestCombineOfNothingIsShipped(t *testing.T) {
	if got := combine(t, retention.Document{}, retention.Document{}); !reflect.DeepEqual(got, retention.Shipped()) {
		t.Errorf("%+v", got)
	}
}

func TestCombineRefuses(t *testing.T) {
	tests := []struct{ name, config, admin, want string }{
		{"a class with two terms", `{"classes":{"a":"1d"}}`, `{"classes":{"a":"2d"}}`, "class a: the configuration says 1d, the admin API 2d"},
		{"two defaults", `{"default":"transient"}`, `{"default":"raw-evidence"}`, "default: the configuration says transient, the admin API raw-evidence"},
		{"two graces", `{"grace":"1d"}`, `{"grace":"2d"}`, "grace: the configuration says 1d, the admin API 2d"},
		{"a name that is taken", policy(`"class":"transient"`), policy(`"class":"transient"`), `policy "p": the configuration has one of this name`},
		{"an unknown default", `{"default":"nightly"}`, `{}`, `default: unknown retention class "nightly"`},
		{"an unknown class of a policy", `{}`, policy(`"class":"nightly"`), `policy "p": class: unknown retention class "nightly"`},
		{"an unknown choice", policy(`"choose":["transient","nightly"]`), `{}`, `policy "p": choose: unknown retention class "nightly"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := retention.Combine(document(t, tt.config), document(t, tt.admin))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Combine: %v\nwant it to say %q", err, tt.want)
			}
			if strings.Contains(tt.want, "unknown") && !errors.Is(err, retention.ErrUnknownClass) {
				t.Errorf("%v is not ErrUnknownClass", err)
			}
		})
	}
	if _, err := retention.Combine(retention.Document{}, retention.Document{Grace: 1}); err == nil {
		t.Error("an invalid document is combined")
	}
}

// TestRulesShareNothingWithTheDocuments: who has a document may go on writing
// in it.
func TestRulesShareNothingWithTheDocuments(t *testing.T) {
	d := document(t, policy(`"class":"transient","choose":["transient"],"keep":[{"name":"k","tags":["v"]}],"immutable_tags":[{"tags":["w"]}]`))
	rules := combine(t, d, retention.Document{})
	p := &d.Policies[0]
	p.Repositories[0], p.Choose[0], p.Class = "x", "x", "x"
	p.Keep[0].Tags[0], p.Keep[0].Name = "x", "x"
	p.ImmutableTags[0].Tags[0] = "x"
	want := document(t, policy(`"class":"transient","choose":["transient"],"keep":[{"name":"k","tags":["v"]}],"immutable_tags":[{"tags":["w"]}]`)).Policies[0]
	if got := rules.For("any"); got == nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("the policy is %+v", got)
	}
}

func TestExpiry(t *testing.T) {
	rules := combine(t, document(t, `{"classes":{"nightly":"36h"}}`), retention.Document{})
	tests := []struct {
		class   retention.Class
		entered time.Time
		want    time.Time
	}{
		{retention.Transient, noon, at(7 * day)},
		{retention.RawEvidence, noon, at(90 * day)},
		{retention.SummaryEvidence, noon, at(365 * day)},
		{retention.ReleaseEvidence, noon, at(7 * 365 * day)},
		{retention.PermanentRecord, noon, time.Time{}},
		{"nightly", noon, at(36 * time.Hour)},
		// 2028 has a leap day: a year ends a day earlier in the calendar.
		{retention.SummaryEvidence, time.Date(2028, 1, 15, 0, 0, 0, 0, time.UTC), time.Date(2029, 1, 14, 0, 0, 0, 0, time.UTC)},
		{retention.Transient, at(1), at(7*day + time.Microsecond)},
		{retention.Transient, at(1000), at(7*day + time.Microsecond)},
	}
	for _, tt := range tests {
		class, got, err := rules.Expiry(tt.class, tt.entered)
		if err != nil || class != tt.class || !got.Equal(tt.want) {
			t.Errorf("Expiry(%s, %s) = %s, %s, %v, want %s", tt.class, tt.entered, class, got, err, tt.want)
		}
	}
	if _, _, err := rules.Expiry("unheard-of", noon); !errors.Is(err, retention.ErrUnknownClass) {
		t.Errorf("Expiry of an unknown class: %v", err)
	}
}

func TestClass(t *testing.T) {
	rules := combine(t, document(t, policy(`"class":"transient","choose":["permanent-record","transient"]`)), retention.Document{})
	tests := []struct {
		annotation string
		want       retention.Assigned
	}{
		{"", retention.Assigned{Class: retention.Transient, Expires: at(7 * day), Rule: "policy p"}},
		{"transient", retention.Assigned{Class: retention.Transient, Expires: at(7 * day), Rule: "policy p", Chosen: true}},
		{"permanent-record", retention.Assigned{Class: retention.PermanentRecord, Rule: "policy p", Chosen: true}},
	}
	for _, tt := range tests {
		if got, err := rules.Class("a", tt.annotation, noon); err != nil || got != tt.want || !got.Given() {
			t.Errorf("Class(%q) = %+v, %v, want %+v", tt.annotation, got, err, tt.want)
		}
	}
	var refusal *retention.Refusal
	_, err := rules.Class("a", "unheard-of\n", noon)
	if !errors.Is(err, retention.ErrNotAllowed) || !errors.As(err, &refusal) || refusal.Policy != "p" || strings.Contains(err.Error(), "\n") {
		t.Errorf("an annotation that names no class: %v", err)
	}
}

func TestChangeClass(t *testing.T) {
	rules := retention.Shipped()
	tests := []struct {
		name  string
		from  retention.Class
		given bool
		to    retention.Class
		want  retention.Assigned
		err   string
	}{
		{"the new term begins now", retention.ReleaseEvidence, true, retention.Transient,
			retention.Assigned{Class: retention.Transient, Expires: at(7 * day), Chosen: true}, ""},
		{"what nobody classified may change", retention.PermanentRecord, false, retention.Transient,
			retention.Assigned{Class: retention.Transient, Expires: at(7 * day), Chosen: true}, ""},
		{"what is permanent by default may be made so", retention.PermanentRecord, false, retention.PermanentRecord,
			retention.Assigned{Class: retention.PermanentRecord, Chosen: true}, ""},
		{"a class that is not in force may be left", "unheard-of", true, retention.RawEvidence,
			retention.Assigned{Class: retention.RawEvidence, Expires: at(90 * day), Chosen: true}, ""},
		{"a permanent record stays one", retention.PermanentRecord, true, retention.ReleaseEvidence, retention.Assigned{}, "can only be erased"},
		{"no change is none", retention.Transient, true, retention.Transient, retention.Assigned{}, "the class is transient already"},
		{"the class must be there", retention.Transient, true, "unheard-of", retention.Assigned{}, "unknown retention class"},
		{"the class must be named", retention.Transient, false, "", retention.Assigned{}, "want the name of a class"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := rules.ChangeClass(tt.from, tt.given, tt.to, noon)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ChangeClass = %+v, %v", got, err)
			}
		})
	}
}

func TestExtendGoesStrictlyLater(t *testing.T) {
	if err := retention.Extend(noon, at(time.Microsecond)); err != nil {
		t.Error(err)
	}
	for _, ends := range [][2]time.Time{{noon, noon}, {noon, at(-1)}, {noon, {}}, {{}, noon}, {{}, {}}} {
		if err := retention.Extend(ends[0], ends[1]); !errors.Is(err, retention.ErrNotLater) {
			t.Errorf("Extend(%s, %s) = %v", ends[0], ends[1], err)
		}
	}
}

func TestRenew(t *testing.T) {
	tests := []struct {
		name    string
		class   retention.Class
		expires time.Time
		want    time.Time
	}{
		{"the term begins anew", retention.Transient, at(-day), at(7 * day)},
		{"a later end stays", retention.Transient, at(9 * day), at(9 * day)},
		{"what has no end gets none", retention.Transient, time.Time{}, time.Time{}},
		{"a class without end gives none", retention.PermanentRecord, at(day), time.Time{}},
		{"a class that is not in force gives none", "unheard-of", at(day), time.Time{}},
	}
	for _, tt := range tests {
		if got := retention.Shipped().Renew(tt.class, tt.expires, noon); !got.Equal(tt.want) {
			t.Errorf("%s: Renew = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestWithoutPolicyClientsMayDoAnything(t *testing.T) {
	var rules retention.Rules
	err := errors.Join(rules.MayMoveTag("a", "v1", true, noon), rules.MayDeleteTag("a", "v1", noon),
		rules.MayDeleteManifest("a", []string{"v1"}, noon), rules.MayDeleteBlob("a"))
	if err != nil {
		t.Error(err)
	}
}

func TestImmutableTagsBindUntilTheEnd(t *testing.T) {
	rules := combine(t, document(t, policy(`"immutable_tags":[
		{"tags":["v*"],"until":"2026-03-01T12:00:00Z"},{"tags":["v1*"],"until":"2026-03-03"},{"tags":["v1*"],"until":"2026-03-02"},{"tags":["v1.1"]}]`)), retention.Document{})
	tests := []struct {
		tag   string
		now   time.Time
		until string // empty: allowed
	}{
		{"v2", at(-1), "immutable until 2026-03-01T12:00:00Z"},
		{"v2", noon, ""},
		{"v1", noon, "immutable until 2026-03-03T00:00:00Z"},
		{"v1", at(9 * day), ""},
		{"v1.1", noon, "makes it immutable"},
		{"v1.1", at(9 * day), "makes it immutable"},
		{"w", at(-day), ""},
	}
	for _, tt := range tests {
		for _, err := range []error{rules.MayMoveTag("a", tt.tag, true, tt.now), rules.MayDeleteTag("a", tt.tag, tt.now)} {
			if (err == nil) != (tt.until == "") || err != nil && !strings.HasSuffix(err.Error(), tt.until) {
				t.Errorf("%s at %s: %v, want %q", tt.tag, tt.now, err, tt.until)
			}
		}
		err := rules.MayDeleteManifest("a", []string{tt.tag}, tt.now)
		if (err == nil) != (tt.until == "") {
			t.Errorf("the manifest of %s at %s: %v", tt.tag, tt.now, err)
		}
		if err := rules.MayMoveTag("a", tt.tag, false, tt.now); err != nil {
			t.Errorf("a new tag %s: %v", tt.tag, err)
		}
	}
}
