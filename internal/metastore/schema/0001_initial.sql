-- The first schema. There are four kinds of tables: the log, which is the only
-- truth; content, small bytes that live with their facts; views, which are
-- dropped and refilled from the log; and working state.
--
-- Text compares by bytes, times are microseconds since 1970 UTC, digests are
-- "algorithm:hex". On another database INTEGER is its 64-bit integer, BLOB its
-- byte string; STRICT and WITHOUT ROWID are SQLite's.

-- Log.

CREATE TABLE events (
  sequence       INTEGER NOT NULL PRIMARY KEY,
  id             TEXT    NOT NULL,
  time           INTEGER NOT NULL,
  kind           TEXT    NOT NULL,
  subject        TEXT    NOT NULL,
  actor          TEXT    NOT NULL,
  request        TEXT    NOT NULL,
  payload        BLOB    NOT NULL,
  payload_digest TEXT    NOT NULL,
  private        BLOB,             -- NULL once it was erased
  private_digest TEXT    NOT NULL,
  chain          BLOB    NOT NULL  -- 32 bytes
) STRICT;

CREATE TABLE head (
  one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  log      TEXT    NOT NULL,
  sequence INTEGER NOT NULL,
  time     INTEGER NOT NULL,
  chain    BLOB    NOT NULL,
  format   INTEGER NOT NULL        -- oldest format of records that a writer must know
) STRICT;

-- Content.

CREATE TABLE objects (
  sequence INTEGER NOT NULL PRIMARY KEY, -- of the event that stored the bytes
  bytes    BLOB    NOT NULL
) STRICT;

-- Views. The first columns of each are its key.

CREATE TABLE repositories (
  id      INTEGER NOT NULL PRIMARY KEY,  -- sequence of v1.repository.created
  name    TEXT    NOT NULL UNIQUE,
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE blobs (
  id      INTEGER NOT NULL PRIMARY KEY,  -- sequence of v1.blob.stored
  blake3  TEXT    NOT NULL UNIQUE,
  sha256  TEXT    NOT NULL UNIQUE,
  sha512  TEXT    UNIQUE,
  size    INTEGER NOT NULL,
  store   TEXT    NOT NULL,
  locator TEXT    NOT NULL,
  content INTEGER,                       -- sequence of the content row, if store is "content"
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE links (
  repository_id INTEGER NOT NULL,
  blob_id       INTEGER NOT NULL,
  PRIMARY KEY (repository_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_blob ON links (blob_id, repository_id);

CREATE TABLE manifests (
  repository_id INTEGER NOT NULL,
  blob_id       INTEGER NOT NULL,        -- the pushed bytes
  id            INTEGER NOT NULL UNIQUE, -- sequence of v1.manifest.put
  native        TEXT    NOT NULL,
  digest        TEXT    NOT NULL,        -- by which it was pushed
  media_type    TEXT    NOT NULL,
  artifact_type TEXT    NOT NULL,
  subject       TEXT,                    -- as written
  size          INTEGER NOT NULL,
  class         TEXT    NOT NULL,
  expires       INTEGER NOT NULL,
  created       INTEGER NOT NULL,
  PRIMARY KEY (repository_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifests_newest ON manifests (repository_id, id);

-- The view "references"; the word alone is a keyword of SQL.
CREATE TABLE manifest_references (
  manifest_id   INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  repository_id INTEGER NOT NULL,
  role          TEXT    NOT NULL,
  digest        TEXT    NOT NULL,        -- as written
  target        TEXT,                    -- primary digest of the bytes, if they were there
  size          INTEGER NOT NULL,
  media_type    TEXT    NOT NULL,
  PRIMARY KEY (manifest_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_references_digest ON manifest_references (digest, repository_id);

CREATE TABLE referrers (
  repository_id INTEGER NOT NULL,
  subject       TEXT    NOT NULL,        -- as written
  manifest_id   INTEGER NOT NULL,        -- its content row is the descriptor
  artifact_type TEXT    NOT NULL,
  PRIMARY KEY (repository_id, subject, manifest_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX referrers_type ON referrers (repository_id, subject, artifact_type, manifest_id);

CREATE TABLE tags (
  repository_id INTEGER NOT NULL,
  name          TEXT    NOT NULL,
  blob_id       INTEGER NOT NULL,        -- the pushed bytes of the manifest
  digest        TEXT    NOT NULL,        -- that the tag answers with
  moved         INTEGER NOT NULL,        -- sequence of the last v1.tag.moved
  PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_blob ON tags (repository_id, blob_id, name);

CREATE TABLE tag_history (
  repository_id INTEGER NOT NULL,
  name          TEXT    NOT NULL,
  sequence      INTEGER NOT NULL,
  from_digest   TEXT,                    -- primary digests of the pushed bytes
  to_digest     TEXT,                    -- NULL: deleted
  actor         TEXT    NOT NULL,
  time          INTEGER NOT NULL,
  PRIMARY KEY (repository_id, name, sequence)
) STRICT, WITHOUT ROWID;

-- Working state.

CREATE TABLE uploads (
  id         TEXT    NOT NULL PRIMARY KEY,
  repository TEXT    NOT NULL,
  actor      TEXT    NOT NULL,
  state      TEXT    NOT NULL,
  generation INTEGER NOT NULL,
  staged     BLOB    NOT NULL,           -- canonical CBOR
  result     TEXT,
  expires    INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_expires ON uploads (expires, id);

CREATE TABLE cursors (
  name TEXT    NOT NULL PRIMARY KEY,
  done INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
  name  TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT;

-- State of the store itself: "clean" while no process has it open, "rebuild"
-- with the last sequence that an unfinished rebuild has replayed.
CREATE TABLE state (
  name  TEXT    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;
