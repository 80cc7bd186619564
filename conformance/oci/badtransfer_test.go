package oci_test

// badRanges has blob reads with a Range that cannot be served (RFC 9110,
// section 14.2). What is no byte range at all is ignored, as it says there.
func badRanges() []bad {
	get := func(name, value string) bad {
		return bad{name, "GET", "/v2/good/repo/blobs/{loose}", header{"Range": value}, "", 416, "RANGE_INVALID"}
	}
	return []bad{
		get("a range begins at the end of the blob", "bytes=300-"),
		get("a range begins far behind the blob", "bytes=99999999999999-"),
		get("a range begins beyond every integer", "bytes=99999999999999999999999-"),
		get("a range is a suffix of nothing", "bytes=-0"),
		get("a range ends before it begins", "bytes=5-2"),
		get("a range has no numbers", "bytes=a-b"),
		get("a range has no dash", "bytes=5"),
		get("a range is negative", "bytes=--5"),
		get("a range is empty", "bytes="),
	}
}

// badChunks has chunks whose Content-Range is malformed or out of order
// (distribution specification, "Pushing a blob in chunks").
func badChunks() []bad {
	patch := func(name, contentRange, body string, status int, code string) bad {
		return bad{name, "PATCH", "{session}",
			header{"Content-Type": "application/octet-stream", "Content-Range": contentRange}, body, status, code}
	}
	order := func(name, contentRange string) bad {
		return patch(name, contentRange, "0123456789", 416, "RANGE_INVALID")
	}
	malformed := func(name, contentRange string) bad {
		return patch(name, contentRange, "0123456789", 400, "BLOB_UPLOAD_INVALID")
	}
	return []bad{
		order("a chunk begins behind what was sent", "200-209"),
		order("a chunk begins before what was sent", "50-59"),
		order("a chunk is sent a second time", "0-9"),
		malformed("a content range is a word", "nonsense"),
		malformed("a content range is empty but for a dash", "-"),
		malformed("a content range has no end", "100-"),
		malformed("a content range has no start", "-109"),
		malformed("a content range is one number", "100"),
		malformed("a content range has three numbers", "100-105-109"),
		malformed("a content range ends before it begins", "109-100"),
		malformed("a content range has a sign", "+100-109"),
		malformed("a content range has a space", "100 - 109"),
		malformed("a content range is hexadecimal", "0x64-0x6d"),
		malformed("a content range is beyond every integer", "99999999999999999999-99999999999999999999"),
		patch("a content range is longer than the body", "100-199", "0123456789", 400, "SIZE_INVALID"),
		patch("a content range is shorter than the body", "100-104", "0123456789", 400, "SIZE_INVALID"),
		{"a last chunk is out of order", "PUT", "{session}?digest={absent}", header{"Content-Range": "500-509"}, "0123456789", 416, "RANGE_INVALID"},
		{"a last chunk has a malformed content range", "PUT", "{session}?digest={absent}", header{"Content-Range": "x"}, "0123456789", 400, "BLOB_UPLOAD_INVALID"},
	}
}

// badSessions has requests to upload sessions that are not there, not the
// repository's, or that end them wrongly.
func badSessions() []bad {
	const unknown = "/v2/good/repo/blobs/uploads/00000000-0000-0000-0000-000000000000"
	chunk := header{"Content-Type": "application/octet-stream", "Content-Range": "100-109"}
	return []bad{
		{"a session is asked for that does not exist", "GET", unknown, nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a chunk is sent to a session that does not exist", "PATCH", unknown, nil, "x", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session is ended that does not exist", "PUT", unknown + "?digest={absent}", nil, "x", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session is cancelled that does not exist", "DELETE", unknown, nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session's name is a path", "GET", "/v2/good/repo/blobs/uploads/..%2f..%2fetc%2fpasswd", nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session's name was changed", "GET", "{forged-session}", nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a chunk is sent to a session whose name was changed", "PATCH", "{forged-session}", chunk, "0123456789", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session of another repository is asked for", "GET", "{foreign-session}", nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a chunk is sent to a session of another repository", "PATCH", "{foreign-session}", chunk, "0123456789", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session of another repository is cancelled", "DELETE", "{foreign-session}", nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"a session is ended without a digest", "PUT", "{session}", nil, "", 400, "DIGEST_INVALID"},
		{"a session is ended with an empty digest", "PUT", "{session}?digest=", nil, "", 400, "DIGEST_INVALID"},
		{"a session is ended with a bad digest", "PUT", "{session}?digest=sha256:abc", nil, "", 400, "DIGEST_INVALID"},
		{"a session is ended with a digest of other bytes", "PUT", "{session}?digest={absent}", nil, "", 400, "DIGEST_INVALID"},
		{"a session is ended with more bytes and a digest of others", "PUT", "{session}?digest={absent}", nil, "0123456789", 400, "DIGEST_INVALID"},
		{"a session is ended with an algorithm that is not registered", "PUT", "{session}?digest=md5:d41d8cd98f00b204e9800998ecf8427e", nil, "", 400, "DIGEST_INVALID"},
	}
}

// badPages has lists whose parameters are malformed, and those that once made
// other registries panic or allocate without bound.
func badPages() []bad {
	tags := func(name, query string) bad {
		return bad{name, "GET", "/v2/good/repo/tags/list?" + query, nil, "", 400, "PAGINATION_NUMBER_INVALID"}
	}
	catalog := func(name, query string) bad {
		return bad{name, "GET", "/v2/_catalog?" + query, nil, "", 400, "PAGINATION_NUMBER_INVALID"}
	}
	return []bad{
		tags("a page of tags has a negative length", "n=-1"),
		tags("a page of tags has a length that is a word", "n=many"),
		tags("a page of tags has a length with a fraction", "n=1.5"),
		tags("a page of tags has an empty length", "n="),
		tags("a page of tags has a length with a sign", "n=%2B5"),
		tags("a page of tags has a hexadecimal length", "n=0x10"),
		tags("a page of tags has a length with a space", "n=%205"),
		tags("a page of tags has two lengths", "n=1&n=2"),
		tags("a page of tags comes after what is no tag", "last=.bad"),
		tags("a page of tags comes after a tag with a zero byte", "last=v%001"),
		tags("a page of tags comes after two tags", "last=v1&last=v2"),
		catalog("a page of the catalog has a negative length", "n=-1"),
		catalog("a page of the catalog has a length that is a word", "n=many"),
		catalog("a page of the catalog comes after what is no name", "last=Upper"),
		catalog("a page of the catalog comes after a path", "last=..%2F..%2Fetc"),
		{"a page of tags has no length at all", "GET", "/v2/good/repo/tags/list?n=0", nil, "", 200, ""},
		{"a page of the catalog has no length at all", "GET", "/v2/_catalog?n=0", nil, "", 200, ""},
		{"a page of tags is longer than all memory", "GET", "/v2/good/repo/tags/list?n=9223372036854775807", nil, "", 200, ""},
		{"a page of the catalog is longer than all memory", "GET", "/v2/_catalog?n=9223372036854775807", nil, "", 200, ""},
		{"a page of the catalog is longer than every integer", "GET", "/v2/_catalog?n=99999999999999999999", nil, "", 200, ""},
	}
}

// badMounts has mounts that cannot be done. Where only the source is wrong the
// client may still push the bytes: it gets a session, and nothing is stored.
func badMounts() []bad {
	mount := func(name, query string, status int, code string) bad {
		return bad{name, "POST", "/v2/good/repo/blobs/uploads/?" + query, nil, "", status, code}
	}
	return []bad{
		mount("a mount names a bad digest", "mount=sha256:abc&from=other/repo", 400, "DIGEST_INVALID"),
		mount("a mount names an empty digest", "mount=&from=other/repo", 400, "DIGEST_INVALID"),
		mount("a mount names an algorithm that is not registered", "mount=md5:d41d8cd98f00b204e9800998ecf8427e&from=other/repo", 400, "DIGEST_INVALID"),
		mount("a mount names a digest that is a path", "mount=..%2F..%2Fetc%2Fpasswd&from=other/repo", 400, "DIGEST_INVALID"),
		mount("a mount comes from a path", "mount={foreign}&from=..%2F..%2Fetc", 202, ""),
		mount("a mount comes from a name with an upper case letter", "mount={foreign}&from=Other/repo", 202, ""),
		mount("a mount comes from an encoded path", "mount={foreign}&from=other%2F..%2Fother%2Frepo", 202, ""),
		mount("a mount comes from a repository that does not exist", "mount={foreign}&from=no/repo", 202, ""),
		mount("a mount comes from a repository that does not hold the blob", "mount={absent}&from=other/repo", 202, ""),
		mount("a mount of a blob that nothing holds has no source", "mount={absent}", 202, ""),
		mount("a mount names a blob that was deleted", "mount={gone}&from=good/repo", 202, ""),
		{"a mount goes to a bad name", "POST", "/v2/Good/blobs/uploads/?mount={foreign}&from=other/repo", nil, "", 400, "NAME_INVALID"},
	}
}

// badRoutes has methods and paths that are no part of the API.
func badRoutes() []bad {
	return []bad{
		{"the version check is posted to", "POST", "/v2/", nil, "", 405, "UNSUPPORTED"},
		{"tags are put", "PUT", "/v2/good/repo/tags/list", nil, "x", 405, "UNSUPPORTED"},
		{"a blob is put", "PUT", "/v2/good/repo/blobs/{blob}", nil, "x", 405, "UNSUPPORTED"},
		{"a manifest is posted", "POST", "/v2/good/repo/manifests/v1", nil, "x", 405, "UNSUPPORTED"},
		{"the catalog is deleted", "DELETE", "/v2/_catalog", nil, "", 405, "UNSUPPORTED"},
		{"referrers are posted", "POST", "/v2/good/repo/referrers/{manifest}", nil, "x", 405, "UNSUPPORTED"},
		{"a method is used that does not exist", "BREW", "/v2/good/repo/manifests/v1", nil, "", 405, "UNSUPPORTED"},
		{"an endpoint is used that does not exist", "GET", "/v2/good/repo/nothing/v1", nil, "", 404, "UNSUPPORTED"},
		{"the version before is spoken", "GET", "/v1/", nil, "", 404, "UNSUPPORTED"},
		{"a path leads out of the API", "GET", "/v2/../etc/passwd", nil, "", 404, "UNSUPPORTED"},
		{"an encoded path leads out of the API", "GET", "/v2/..%2f..%2fetc%2fpasswd", nil, "", 404, "UNSUPPORTED"},
		{"a manifest is read without a reference", "GET", "/v2/good/repo/manifests/", nil, "", 400, "TAG_INVALID"},
		{"a blob is read without a digest", "GET", "/v2/good/repo/blobs/", nil, "", 400, "DIGEST_INVALID"},
	}
}
