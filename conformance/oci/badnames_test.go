package oci_test

import "strings"

// badNames has a request for every rule of the grammar of repository names
// (distribution specification, "Pulling manifests").
func badNames() []bad {
	tags := func(name, repository string) bad {
		return bad{name, "GET", "/v2/" + repository + "/tags/list", nil, "", 400, "NAME_INVALID"}
	}
	long := strings.Repeat("a", 256)
	return []bad{
		tags("a name has an upper case letter", "good/Repo"),
		tags("a name begins with a dash", "-good/repo"),
		tags("a name begins with a dot", ".good/repo"),
		tags("a name begins with an underscore", "_good/repo"),
		tags("a name ends with a dash", "good/repo-"),
		tags("a name ends with a dot", "good/repo."),
		tags("a name ends with an underscore", "good/repo_"),
		tags("a name has two dots in a row", "good/re..po"),
		tags("a name has three underscores in a row", "good/re___po"),
		tags("a name has two separators of different kinds in a row", "good/re._po"),
		tags("a name has an empty component", "good//repo"),
		tags("a name ends with a slash", "good/repo/"),
		tags("a name has a component of two dots", "good/../repo"),
		tags("a name has a component of two encoded dots", "good/%2e%2e/repo"),
		tags("a name has a component of one dot", "good/./repo"),
		tags("a name has a space", "good/re%20po"),
		tags("a name has a colon", "good/re:po"),
		tags("a name has an at sign", "good/re@po"),
		tags("a name has a plus", "good/re+po"),
		tags("a name has a zero byte", "good/re%00po"),
		tags("a name has a line feed", "good/repo%0a"),
		tags("a name has a letter beyond ASCII", "good/r%C3%A9po"),
		tags("a name has bytes that are no UTF-8", "good/%ff%fe"),
		tags("a name has a backslash", "good%5crepo"),
		tags("a name is the catalog's", "_catalog"),
		tags("a name has 256 characters", long),
		{"a blob is read from a bad name", "GET", "/v2/Good/blobs/{blob}", nil, "", 400, "NAME_INVALID"},
		{"a blob is asked for in a bad name", "HEAD", "/v2/Good/blobs/{blob}", nil, "", 400, ""},
		{"a manifest is read from a bad name", "GET", "/v2/Good/manifests/v1", nil, "", 400, "NAME_INVALID"},
		{"a manifest is pushed to a bad name", "PUT", "/v2/Good/manifests/v1",
			header{"Content-Type": imageType}, "{body}", 400, "NAME_INVALID"},
		{"an upload starts in a bad name", "POST", "/v2/Good/blobs/uploads/", nil, "", 400, "NAME_INVALID"},
		{"an upload starts in a name of 256 characters", "POST", "/v2/" + long + "/blobs/uploads/", nil, "", 400, "NAME_INVALID"},
		{"referrers are read from a bad name", "GET", "/v2/Good/referrers/{manifest}", nil, "", 400, "NAME_INVALID"},
		{"tags are listed of a repository that does not exist", "GET", "/v2/no/repo/tags/list", nil, "", 404, "NAME_UNKNOWN"},
		{"a manifest is read from a repository that does not exist", "GET", "/v2/no/repo/manifests/v1", nil, "", 404, "NAME_UNKNOWN"},
		{"a blob is read from a repository that does not exist", "GET", "/v2/no/repo/blobs/{blob}", nil, "", 404, "NAME_UNKNOWN"},
	}
}

// badTags has a request for every rule of the grammar of tags.
func badTags() []bad {
	get := func(name, tag string) bad {
		return bad{name, "GET", "/v2/good/repo/manifests/" + tag, nil, "", 400, "TAG_INVALID"}
	}
	put := func(name, reference string) bad {
		return bad{name, "PUT", "/v2/good/repo/manifests/" + reference,
			header{"Content-Type": imageType}, "{body}", 400, "TAG_INVALID"}
	}
	long := strings.Repeat("t", 129)
	return []bad{
		put("a tag begins with a dot", ".bad"),
		put("a tag begins with a dash", "-bad"),
		put("a tag has 129 characters", long),
		put("a tag has a space", "v%201"),
		put("a tag has a plus", "v+1"),
		put("a tag has a zero byte", "v%001"),
		put("a tag has a letter beyond ASCII", "v%C3%A9"),
		put("a further tag begins with a dot", "{manifest}?tag=.bad"),
		put("a further tag is empty", "{manifest}?tag="),
		put("a further tag has 129 characters", "{manifest}?tag="+long),
		put("a further tag is a path", "{manifest}?tag=..%2F..%2Fetc"),
		put("a good further tag comes before a bad one", "{manifest}?tag=good&tag=-bad"),
		get("a manifest is read by a tag that begins with a dot", ".bad"),
		get("a manifest is read by a tag of 129 characters", long),
		{"a tag that begins with a dot is deleted", "DELETE", "/v2/good/repo/manifests/.bad", nil, "", 400, "TAG_INVALID"},
		{"a manifest is read by a tag that does not exist", "GET", "/v2/good/repo/manifests/v9", nil, "", 404, "MANIFEST_UNKNOWN"},
		{"a manifest is asked for by a tag that does not exist", "HEAD", "/v2/good/repo/manifests/v9", nil, "", 404, ""},
	}
}

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// badDigests has a request for every rule of the grammar of digests, and for
// every place in which a digest is named.
func badDigests() []bad {
	get := func(name, digest string) bad {
		return bad{name, "GET", "/v2/good/repo/blobs/" + digest, nil, "", 400, "DIGEST_INVALID"}
	}
	const short = "sha256:abc"
	return []bad{
		get("a digest is too short", short),
		get("a digest is too long", "sha256:"+hex64+"0"),
		get("a digest has upper case hex", "sha256:"+strings.ToUpper(hex64)),
		get("a digest has an upper case algorithm", "SHA256:"+hex64),
		get("a digest has a letter that is no hex", "sha256:"+hex64[:63]+"g"),
		get("a digest has no algorithm", ":"+hex64),
		get("a digest has no colon", hex64),
		get("a digest has two colons", "sha256::"+hex64),
		get("a digest has no hash", "sha256:"),
		get("a digest has an algorithm that is not registered", "md5:d41d8cd98f00b204e9800998ecf8427e"),
		get("a digest has an algorithm of another one's length", "sha512:"+hex64),
		get("a digest has a space", "sha256:%20"+hex64[1:]),
		get("a digest has a zero byte", "sha256:%00"+hex64[1:]),
		get("a digest ends with a line feed", "sha256:"+hex64+"%0a"),
		get("a digest is a path with encoded slashes", "sha256:..%2f..%2f..%2fetc%2fpasswd"),
		get("a digest has an algorithm that is a path", "..%2f..%2fetc:"+hex64),
		{"a blob is asked for by a bad digest", "HEAD", "/v2/good/repo/blobs/" + short, nil, "", 400, ""},
		{"a blob is deleted by a bad digest", "DELETE", "/v2/good/repo/blobs/" + short, nil, "", 400, "DIGEST_INVALID"},
		{"a manifest is read by a bad digest", "GET", "/v2/good/repo/manifests/" + short, nil, "", 400, "DIGEST_INVALID"},
		{"a manifest is deleted by a bad digest", "DELETE", "/v2/good/repo/manifests/" + short, nil, "", 400, "DIGEST_INVALID"},
		{"a manifest is pushed by a bad digest", "PUT", "/v2/good/repo/manifests/" + short,
			header{"Content-Type": imageType}, "{body}", 400, "DIGEST_INVALID"},
		{"a manifest is pushed by the digest of another one", "PUT", "/v2/good/repo/manifests/{second}",
			header{"Content-Type": imageType}, "{body}", 400, "DIGEST_INVALID"},
		{"a manifest is pushed by another one's digest, with a tag", "PUT", "/v2/good/repo/manifests/{second}?tag=new",
			header{"Content-Type": imageType}, "{body}", 400, "DIGEST_INVALID"},
		{"referrers are read of a bad digest", "GET", "/v2/good/repo/referrers/" + short, nil, "", 400, "DIGEST_INVALID"},
		{"referrers are read of a tag", "GET", "/v2/good/repo/referrers/v1", nil, "", 400, "DIGEST_INVALID"},
		{"a blob is pushed in one request by a bad digest", "POST", "/v2/good/repo/blobs/uploads/?digest=" + short, nil, "x", 400, "DIGEST_INVALID"},
		{"a blob is pushed in one request by another digest", "POST", "/v2/good/repo/blobs/uploads/?digest={absent}", nil, "x", 400, "DIGEST_INVALID"},
		{"a blob is pushed by an algorithm that is not registered", "POST", "/v2/good/repo/blobs/uploads/?digest=md5:d41d8cd98f00b204e9800998ecf8427e", nil, "x", 400, "DIGEST_INVALID"},
		{"an upload announces an algorithm that is not registered", "POST", "/v2/good/repo/blobs/uploads/?digest-algorithm=md5", nil, "", 400, "DIGEST_INVALID"},
		{"a blob is read by a digest that nothing has", "GET", "/v2/good/repo/blobs/{absent}", nil, "", 404, "BLOB_UNKNOWN"},
		{"a manifest is read by a digest that nothing has", "GET", "/v2/good/repo/manifests/{absent}", nil, "", 404, "MANIFEST_UNKNOWN"},
		{"a blob of another repository is read", "GET", "/v2/good/repo/blobs/{foreign}", nil, "", 404, "BLOB_UNKNOWN"},
		{"a blob is asked for after it was deleted", "HEAD", "/v2/good/repo/blobs/{gone}", nil, "", 404, ""},
		{"a blob is read after it was deleted", "GET", "/v2/good/repo/blobs/{gone}", nil, "", 404, "BLOB_UNKNOWN"},
	}
}
