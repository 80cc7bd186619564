package s3_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/s3"
)

func TestPrefixesHaveOwnersOfTheirOwn(t *testing.T) {
	server := harness.StartS3(t)
	for _, prefix := range []string{"", "a", "b/c/"} {
		o := options(t, server)
		o.Prefix = prefix
		d := open(t, o)
		id := "of" + strings.Trim(strings.ReplaceAll(prefix, "/", ""), "/")
		owner, err := d.Own(t.Context(), id, "")
		if harness.Must(t, err); owner != id {
			t.Errorf("the owner of %q is %q", prefix, owner)
		}
	}
	for _, prefix := range []string{"", "a", "a/", "b/c"} {
		if key := s3.OwnerKey(prefix); !strings.Contains(strings.Join(server.Keys(t, server.Bucket), "\n")+"\n", key+"\n") {
			t.Errorf("there is no %q", key)
		}
	}
}

func TestAnOwnerThatNobodyWroteIsRefused(t *testing.T) {
	server := harness.StartS3(t)
	d := open(t, options(t, server))
	for _, line := range []string{"", "abc\n", strings.Repeat("x", 1<<20)} {
		server.Put(t, "owner", []byte(line))
		owner, err := d.Own(t.Context(), "one", "")
		if err == nil || owner != "" || len(err.Error()) > 500 {
			t.Errorf("%.20q: %q, %.600v", line, owner, err)
		}
	}
}

// TestOwnersWhileS3Fails: the owner is who it says afterwards, and a failure is
// nobody's absence.
func TestOwnersWhileS3Fails(t *testing.T) {
	for name, fault := range map[string]harness.Fault{
		"lost answers":         {Lose: true},
		"resets":               {Reset: true},
		"slow down":            harness.SlowDown,
		"conditions not known": {Status: http.StatusNotImplemented, Code: "NotImplemented"},
	} {
		t.Run(name, func(t *testing.T) {
			_, proxy, d := faulty(t)
			proxy.Set(harness.Once("PutObject", 1, fault))
			for _, id := range []string{"one", "two"} {
				owner, err := d.Own(t.Context(), id, "")
				if harness.Must(t, err); owner != "one" {
					t.Errorf("%s comes, and the owner is %q", id, owner)
				}
			}
			proxy.Set(harness.Once("PutObject", 1, fault))
			owner, err := d.Own(t.Context(), "two", "one")
			if harness.Must(t, err); owner != "two" {
				t.Errorf("the new owner is %q", owner)
			}
		})
	}
	_, proxy, d := faulty(t)
	for _, fault := range []harness.Fault{
		{Status: http.StatusForbidden, Code: "AccessDenied"}, {Status: http.StatusNotFound, Code: "NoSuchBucket"},
	} {
		for _, operation := range []string{"GetObject", "PutObject"} {
			proxy.Set(harness.Once(operation, 1, fault))
			owner, err := d.Own(t.Context(), "one", "")
			if err == nil || owner != "" || errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("%s is answered with %s: %q, %v", operation, fault.Code, owner, err)
			}
		}
	}
}
