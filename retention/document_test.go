package retention_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/retention"
)

func TestParseDocumentReadsEveryMember(t *testing.T) {
	got := document(t, `{
		"classes": {"nightly": "36h", "raw-evidence": "30d"},
		"default": "nightly",
		"grace": "3d",
		"policies": [{
			"name": "all.of_it-1",
			"repositories": ["team/*", "x/**"],
			"class": "transient",
			"choose": ["raw-evidence", "permanent-record"],
			"expire_tagged": true,
			"expire_untagged": "2w",
			"keep": [
				{"name": "always", "tags": ["v*"]},
				{"name": "newest", "newest": 10000},
				{"name": "pushed", "pushed_within": "1d"},
				{"name": "pulled", "tags": ["a", "b"], "pulled_within": "250y"}
			],
			"immutable_tags": [{"tags": ["V?"]}, {"tags": ["*"], "until": "2027-01-01"}, {"tags": ["x"], "until": "2027-01-01T01:30:00+01:00"}],
			"write_once": true
		}]
	}`)
	want := retention.Document{
		Classes: map[retention.Class]retention.Term{"nightly": 36 * retention.Term(time.Hour), retention.RawEvidence: 30 * retention.Day},
		Default: "nightly",
		Grace:   3 * retention.Day,
		Policies: []retention.Policy{{
			Name:           "all.of_it-1",
			Repositories:   []string{"team/*", "x/**"},
			Class:          retention.Transient,
			Choose:         []retention.Class{retention.RawEvidence, retention.PermanentRecord},
			ExpireTagged:   true,
			ExpireUntagged: 2 * retention.Week,
			Keep: []retention.Keep{
				{Name: "always", Tags: []string{"v*"}},
				{Name: "newest", Newest: 10_000},
				{Name: "pushed", PushedWithin: retention.Day},
				{Name: "pulled", Tags: []string{"a", "b"}, PulledWithin: 250 * retention.Year},
			},
			ImmutableTags: []retention.Immutable{
				{Tags: []string{"V?"}},
				{Tags: []string{"*"}, Until: retention.Date(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))},
				{Tags: []string{"x"}, Until: retention.Date(time.Date(2027, 1, 1, 0, 30, 0, 0, time.UTC))},
			},
			WriteOnce: true,
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEncodeIsCanonical(t *testing.T) {
	d := document(t, `{"policies":[{"write_once":false,"repositories":["a"],"name":"p","keep":[],"expire_untagged":"14d",
		"immutable_tags":[{"until":"2027-01-01T02:00:00+02:00","tags":["v*"]},{"until":"2027-01-01T12:00:00Z","tags":["w"]}]}],
		"classes":{"b":"24h","a":"never"}}`)
	text, err := d.Encode()
	want := `{"classes":{"a":"never","b":"1d"},"policies":[{"name":"p","repositories":["a"],"expire_untagged":"2w",` +
		`"immutable_tags":[{"tags":["v*"],"until":"2027-01-01"},{"tags":["w"],"until":"2027-01-01T12:00:00Z"}]}]}`
	if err != nil || string(text) != want {
		t.Errorf("Encode() = %v\n is  %s\nwant %s", err, text, want)
	}
}

func TestEncodeRefuses(t *testing.T) {
	large := retention.Document{}
	for i := range 200 {
		large.Policies = append(large.Policies, retention.Policy{Name: fmt.Sprint("p", i), Repositories: []string{strings.Repeat("x", 255), strings.Repeat("y", 255)}})
	}
	if text, err := large.Encode(); err == nil || !strings.Contains(err.Error(), "the limit is 65536") {
		t.Errorf("a document that cannot be read is encoded in %d bytes: %v", len(text), err)
	}
	if text, err := (retention.Document{Default: "B"}).Encode(); err == nil {
		t.Errorf("an invalid document is encoded as %s", text)
	}
}

// policy wraps members of a policy that is valid without them.
func policy(members string) string {
	return `{"policies":[{"name":"p","repositories":["**"],` + members + `}]}`
}

func keep(members string) string { return policy(`"keep":[{"name":"k",` + members + `}]`) }

func TestParseDocumentRefuses(t *testing.T) {
	many := func(n int, format string) string {
		var texts []string
		for i := range n {
			texts = append(texts, fmt.Sprintf(format, i))
		}
		return strings.Join(texts, ",")
	}
	tests := []struct{ name, text, want string }{
		{"no text", ``, "ends too early"},
		{"half a text", `{"default":`, "ends too early"},
		{"another kind of value", `[]`, "want an object, not a array"},
		{"nothing", ` null `, "want an object, not a null"},
		{"a second value", `{} {}`, "something follows"},
		{"an unknown member", `{"policy":[]}`, `unknown field "policy"`},
		{"an unknown member of a policy", policy(`"keeps":[]`), `policy "p": unknown field "keeps"`},
		{"an unknown member of a rule", keep(`"oldest":1`), `policy "p": keep "k": unknown field "oldest"`},
		{"an unknown member of an immutable rule", policy(`"immutable_tags":[{"tags":["v*"],"from":"2027-01-01"}]`), `policy "p": unknown field "from"`},
		{"a member in capitals", `{"Default":"transient"}`, `member "Default"`},
		{"a member that folds to another", `{"claſſes":{}}`, `member "claſſes"`},
		{"a member that is there twice", `{"grace":"1d","grace":"2d"}`, `member "grace": want each once`},
		{"a class that is there twice", `{"classes":{"a":"1d","a":"2d"}}`, `member "a": want each once`},
		{"another type", policy(`"expire_tagged":"yes"`), `policy "p": member expire_tagged: does not take a string`},
		{"a number for a term", policy(`"expire_untagged":7`), `policy "p": member expire_untagged: does not take a number`},
		{"a fraction", keep(`"newest":1.5`), `policy "p": keep "k": member newest: does not take a number 1.5`},
		{"a term that is none", policy(`"expire_untagged":"soon"`), `policy "p": term "soon"`},
		{"the name is found where it comes last", `{"policies":[{"expire_untagged":"soon","name":"late"}]}`, `policy "late": term "soon"`},
		{"a rule's term that is none", keep(`"pushed_within":"1 d"`), `policy "p": keep "k": term "1 d"`},
		{"a date that is none", policy(`"immutable_tags":[{"tags":["v*"],"until":"tomorrow"}]`), `policy "p": "tomorrow": want a date`},
		{"a date with a fraction", policy(`"immutable_tags":[{"tags":["v*"],"until":"2027-01-01T00:00:00.5Z"}]`), `want a date`},
		{"a name that is none", `{"policies":[{"name":"My Policy","repositories":["**"]}]}`, `policy 1: name "My Policy" does not match`},
		{"a policy without name", `{"policies":[{"repositories":["**"]}]}`, `policy 1: name "" does not match`},
		{"a name that is taken", `{"policies":[{"name":"p","repositories":["a"]},{"name":"p","repositories":["b"]}]}`, `policy "p": another has this name`},
		{"a policy of no repository", `{"policies":[{"name":"p","repositories":[]}]}`, `policy "p": repositories: want at least one pattern`},
		{"a pattern that matches no repository", `{"policies":[{"name":"p","repositories":["Team/*"]}]}`, `policy "p": repositories: pattern "Team/*"`},
		{"three stars", `{"policies":[{"name":"p","repositories":["a/***"]}]}`, `at most two stars`},
		{"a pattern that matches no tag", keep(`"tags":["a/b"]`), `policy "p": keep "k": tags: pattern "a/b"`},
		{"an empty pattern", keep(`"tags":[""]`), `policy "p": keep "k": tags: pattern ""`},
		{"an empty list of tags", keep(`"tags":[],"newest":1`), `policy "p": keep "k": tags: want at least one pattern`},
		{"a rule that says nothing", policy(`"keep":[{"name":"k"}]`), `policy "p": keep "k": want tags, newest`},
		{"a rule without name", policy(`"keep":[{"newest":1}]`), `policy "p": keep 1: name ""`},
		{"a rule's name that is taken", policy(`"keep":[{"name":"k","newest":1},{"name":"k","newest":2}]`), `policy "p": keep "k": another has this name`},
		{"two conditions", keep(`"newest":1,"pushed_within":"1d"`), `policy "p": keep "k": newest, pushed_within, pulled_within: want one`},
		{"fewer than none", keep(`"newest":-1`), `policy "p": keep "k": newest: -1, want 1 to 10000`},
		{"more than are ranked", keep(`"newest":10001`), `policy "p": keep "k": newest: 10001`},
		{"pushed ever", keep(`"pushed_within":"never"`), `policy "p": keep "k": pushed_within: cannot be never`},
		{"pulled ever", keep(`"pulled_within":"never"`), `policy "p": keep "k": pulled_within: cannot be never`},
		{"an immutable rule about no tags", policy(`"immutable_tags":[{"tags":["a"]},{}]`), `policy "p": immutable_tags 2: tags: want at least one`},
		{"a class whose name is none", `{"classes":{"a_b":"1d"}}`, `class "a_b": name does not match`},
		{"a class whose name is too long", `{"classes":{"` + strings.Repeat("x", 64) + `":"1d"}}`, `name does not match`},
		{"a default that is no name", `{"default":"B"}`, `default: class "B": name does not match`},
		{"a policy's class that is no name", policy(`"class":"B"`), `policy "p": class: class "B": name does not match`},
		{"a choice that is no name", policy(`"choose":[""," "]`), `policy "p": choose: class " ": name does not match`},
		{"a class without term", `{"classes":{"a":null}}`, `class a: term 0s`},
		{"permanent records that end", `{"classes":{"permanent-record":"100y"}}`, `class permanent-record: must be kept never`},
		{"a grace without end", `{"grace":"never"}`, `grace: cannot be never`},
		{"too many policies", `{"policies":[` + many(201, `{"name":"p%d","repositories":["a"]}`) + `]}`, `policies: 201, the limit is 200`},
		{"too many rules", policy(`"keep":[` + many(51, `{"name":"k%d","newest":1}`) + `]`), `policy "p": keep: 51, the limit is 50`},
		{"too many patterns", keep(`"tags":[` + many(51, `"v%d"`) + `]`), `policy "p": keep "k": tags: 51, the limit is 50`},
		{"too many immutable rules", policy(`"immutable_tags":[` + many(51, `{"tags":["v%d"]}`) + `]`), `policy "p": immutable_tags: 51`},
		{"too many classes", `{"classes":{` + many(101, `"c%d":"1d"`) + `}}`, `classes: 101, the limit is 100`},
		{"too many choices", policy(`"choose":[` + many(101, `"c%d"`) + `]`), `policy "p": choose: 101`},
		{"too long a text", `{}` + strings.Repeat(" ", retention.MaxDocument), `65538 bytes, the limit is 65536`},
		{"too deep a text", strings.Repeat("[", 60_000), "retention document"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := retention.ParseDocument([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseDocument: %v\nwant it to say %q", err, tt.want)
			}
		})
	}
}

func TestValidateNamesAllThatIsWrong(t *testing.T) {
	d := retention.Document{Grace: -1, Classes: map[retention.Class]retention.Term{"x": 1}, Policies: []retention.Policy{
		{Name: "a", Repositories: []string{"?"}, ExpireUntagged: 1},
		{Name: "b", Repositories: []string{"A"}, ImmutableTags: []retention.Immutable{{Tags: []string{"v"}, Until: retention.Date(noon.Add(1))}}},
	}}
	err := d.Validate()
	for _, want := range []string{"grace: term", "class x: term 1ns", `policy "a": expire_untagged: term 1ns`,
		`policy "b": repositories: pattern "A"`, `policy "b": immutable_tags 1: until: 2026-03-01T12:00:00.000000001Z`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v\nwant it to say %q", err, want)
		}
	}
}

// drawDocument gives documents that are valid.
func drawDocument(t *rapid.T) retention.Document {
	classes := []retention.Class{"", retention.Transient, retention.RawEvidence, retention.PermanentRecord, "nightly"}
	term := rapid.Map(rapid.Int64Range(1, 20), func(h int64) retention.Term { return retention.Term(h) * retention.Term(6*time.Hour) })
	unset := rapid.OneOf(rapid.Just(retention.Term(0)), term)
	tags := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "a*", "b?", "ab"}), 1, 2)
	policies := rapid.IntRange(0, 3).Draw(t, "policies")
	d := retention.Document{
		Classes: map[retention.Class]retention.Term{"nightly": term.Draw(t, "nightly")},
		Default: rapid.SampledFrom(classes).Draw(t, "default"),
		Grace:   unset.Draw(t, "grace"),
	}
	for i := range policies {
		p := retention.Policy{
			Name:           fmt.Sprintf("p%d", i),
			Repositories:   []string{rapid.SampledFrom([]string{"**", "team/*", "team/app"}).Draw(t, "repositories")},
			Class:          rapid.SampledFrom(classes).Draw(t, "class"),
			ExpireTagged:   rapid.Bool().Draw(t, "expire_tagged"),
			ExpireUntagged: unset.Draw(t, "expire_untagged"),
			WriteOnce:      rapid.Bool().Draw(t, "write_once"),
		}
		if rapid.Bool().Draw(t, "choose") {
			p.Choose = rapid.SliceOfN(rapid.SampledFrom(classes[1:]), 1, 2).Draw(t, "choices")
		}
		for j := range rapid.IntRange(0, 3).Draw(t, "keep") {
			k := retention.Keep{Name: fmt.Sprintf("k%d", j)}
			condition := rapid.IntRange(0, 3).Draw(t, "condition")
			if condition == 0 || rapid.Bool().Draw(t, "about") {
				k.Tags = tags.Draw(t, "tags")
			}
			switch condition {
			case 1:
				k.Newest = rapid.IntRange(1, 3).Draw(t, "newest")
			case 2:
				k.PushedWithin = term.Draw(t, "pushed_within")
			case 3:
				k.PulledWithin = term.Draw(t, "pulled_within")
			}
			p.Keep = append(p.Keep, k)
		}
		if rapid.IntRange(0, 3).Draw(t, "immutable") == 0 {
			until := at(time.Duration(rapid.IntRange(-2, 2).Draw(t, "until")) * day)
			if rapid.Bool().Draw(t, "for ever") {
				until = time.Time{}
			}
			p.ImmutableTags = []retention.Immutable{{Tags: tags.Draw(t, "immutable tags"), Until: retention.Date(until)}}
		}
		d.Policies = append(d.Policies, p)
	}
	return d
}

func TestDocumentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawDocument(t)
		text, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := retention.ParseDocument(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is read as\n     %+v, %v\nwant %+v", text, got, err, want)
		}
	})
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(policy(`"class":"transient","expire_untagged":"2w"`)))
	f.Add([]byte(keep(`"tags":["v*"],"newest":3`)))
	f.Add([]byte(policy(`"immutable_tags":[{"tags":["v*"],"until":"2027-01-01T01:00:00+02:00"}]`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := retention.ParseDocument(text)
		if err != nil {
			return
		}
		canonical, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := retention.ParseDocument(canonical)
		if err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, canonical) {
			t.Fatalf("%s, then %s, %v", canonical, twice, err)
		}
	})
}

// Each line of an error says by itself what it is about.
func TestEveryLineOfAnErrorHasItsPlace(t *testing.T) {
	d := retention.Document{Policies: []retention.Policy{{Name: "p", Repositories: []string{"a"},
		Keep: []retention.Keep{{Name: "k", Tags: []string{"/", "!"}, Newest: -1}}}}}
	err := d.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, `policy "p": keep "k": `) {
			t.Errorf("line %q", line)
		}
	}
	if len(lines) != 3 {
		t.Errorf("%d lines", len(lines))
	}
}
