-- Who references a digest, in order: the other columns come with the index on
-- SQLite, and have to be named for other databases.

DROP INDEX manifest_references_digest;
CREATE INDEX manifest_references_digest ON manifest_references (digest, repository_id, manifest_id, ordinal);
