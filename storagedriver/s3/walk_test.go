package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
)

// names are those of a page.
func names(page []storagedriver.Object) []string {
	var all []string
	for _, o := range page {
		all = append(all, o.Name)
	}
	return all
}

func TestMoreObjectsAreListedThanS3ListsAtOnce(t *testing.T) {
	d := open(t, options(t, harness.StartS3(t)))
	const many = 1100
	var want []string
	for n := range many {
		want = append(want, fmt.Sprintf("n/%04d", n))
	}
	var placing sync.WaitGroup
	for part := range slices.Chunk(want, many/8) {
		placing.Go(func() {
			for _, locator := range part {
				if err := d.Place(t.Context(), locator, 1, strings.NewReader("a")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	placing.Wait()
	for _, limit := range []int{many - 1, many, many + 1} {
		page, err := d.Objects(t.Context(), "", limit)
		harness.Must(t, err)
		if got := names(page); !slices.Equal(got, want[:min(limit, many)]) {
			t.Errorf("a page of %d has %d other objects", limit, len(got))
		}
	}
	page, err := d.Objects(t.Context(), want[99], 1000)
	harness.Must(t, err)
	if got := names(page); !slices.Equal(got, want[100:]) {
		t.Errorf("the next page has %d other objects", len(got))
	}
}

func TestKeysThatAreNoObjectsAreListedWithoutALocator(t *testing.T) {
	server := harness.StartS3(t)
	o := options(t, server)
	o.Prefix = "pre"
	d := open(t, o)
	want := []string{"UPPER", "a b%20+&<é", "k-a", "k.a", "k/a", "k0"}
	for _, name := range want {
		server.Put(t, "pre/objects/"+escaped(name), []byte("abc"))
	}
	for _, other := range []string{"pre/objects-x", "pre/object", "objects/a", "pre2/objects/a", "pre/staging/id/x"} {
		server.Put(t, other, []byte("abc"))
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		var pages []storagedriver.Object
		for after := ""; ; after = pages[len(pages)-1].Name {
			page, err := d.Objects(t.Context(), after, limit)
			harness.Must(t, err)
			if pages = append(pages, page...); len(page) < limit {
				break
			}
		}
		if got := names(pages); !slices.Equal(got, want) {
			t.Fatalf("in pages of %d listed %q, want %q", limit, got, want)
		}
		for _, o := range pages {
			if isOne := storagedriver.CheckLocator(o.Name) == nil; isOne != (o.Locator == o.Name) || o.Size != 3 {
				t.Errorf("listed %+v", o)
			}
		}
	}
}

// escaped is a key as a signed path has it.
func escaped(key string) string {
	var path strings.Builder
	for _, b := range []byte(key) {
		if strings.IndexByte("/-._~", b) >= 0 || b < 0x80 && (unicode.IsLetter(rune(b)) || unicode.IsDigit(rune(b))) {
			path.WriteByte(b)
		} else {
			fmt.Fprintf(&path, "%%%02X", b)
		}
	}
	return path.String()
}

// TestAListThatCannotBeTrustedIsRefused has servers that list in no order, keys
// of others, or nothing and more of it.
func TestAListThatCannotBeTrustedIsRefused(t *testing.T) {
	for name, keys := range map[string][]string{
		"in no order":       {"objects/b", "objects/a"},
		"twice":             {"objects/a", "objects/a"},
		"of others":         {"staging/a"},
		"nothing, and more": nil,
		"badly encoded":     {"objects/%zz"},
	} {
		t.Run(name, func(t *testing.T) {
			server := harness.StartS3(t)
			o := options(t, server)
			fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					return
				}
				text := "<ListBucketResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
				for _, key := range keys {
					text += "<Contents><Key>" + key + "</Key><Size>1</Size></Contents>"
				}
				_, _ = io.WriteString(w, text+"</ListBucketResult>") // the client complains
			}))
			t.Cleanup(fake.Close)
			o.Endpoint = fake.URL
			d := open(t, o)
			if page, err := d.Objects(t.Context(), "", 100); err == nil || page != nil || errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("Objects: %v, %v", page, err)
			}
		})
	}
}
