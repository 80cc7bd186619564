-- refill format 3
--
-- Life and death: what is deleted, expired, held, condemned and forgotten.

ALTER TABLE repositories ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;   -- how many are on it or in it
ALTER TABLE repositories ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0; -- when; 0: it is not
ALTER TABLE repositories ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;    -- how many tags were deleted in it
CREATE INDEX repositories_deleted ON repositories (id) WHERE deleted <> 0;

ALTER TABLE blobs ADD COLUMN due INTEGER NOT NULL DEFAULT 0;      -- condemned until then, as no repository holds it
ALTER TABLE blobs ADD COLUMN verified INTEGER NOT NULL DEFAULT 0; -- when its bytes were last read and found right
ALTER TABLE blobs ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;  -- sequence of v1.storage.location_damaged
CREATE INDEX blobs_damaged ON blobs (id) WHERE damaged <> 0;

ALTER TABLE links ADD COLUMN linked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE links ADD COLUMN due INTEGER NOT NULL DEFAULT 0;      -- condemned until then, as nothing uses it

ALTER TABLE manifests ADD COLUMN rule TEXT NOT NULL DEFAULT '';         -- that gave the class; empty: the shipped default
ALTER TABLE manifests ADD COLUMN chosen INTEGER NOT NULL DEFAULT 0;     -- 1: for this very manifest
ALTER TABLE manifests ADD COLUMN extended INTEGER NOT NULL DEFAULT 0;   -- 1: its end was put off
ALTER TABLE manifests ADD COLUMN marked INTEGER NOT NULL DEFAULT 0;     -- when it expired
ALTER TABLE manifests ADD COLUMN pulled INTEGER NOT NULL DEFAULT 0;     -- the last day
ALTER TABLE manifests ADD COLUMN untagged INTEGER NOT NULL DEFAULT 0;   -- when a tag last left it

CREATE INDEX manifests_permanent ON manifests (repository_id, id) WHERE class = 'permanent-record' AND rule <> '';
CREATE INDEX manifests_ending ON manifests (repository_id, id) WHERE expires <> 0 OR marked <> 0;

-- Who references something is listed in pages, in this order.
DROP INDEX manifest_references_digest;
CREATE INDEX manifest_references_digest ON manifest_references (digest, repository_id, manifest_id, ordinal);

-- Deleted manifests, as they were. Their references stay until they are forgotten.
CREATE TABLE graves (
  repository_id INTEGER NOT NULL,
  blob_id       INTEGER NOT NULL,
  id            INTEGER NOT NULL UNIQUE,
  native        TEXT    NOT NULL,
  digest        TEXT    NOT NULL,
  media_type    TEXT    NOT NULL,
  artifact_type TEXT    NOT NULL,
  subject       TEXT,
  size          INTEGER NOT NULL,
  class         TEXT    NOT NULL,
  expires       INTEGER NOT NULL,
  created       INTEGER NOT NULL,
  rule          TEXT    NOT NULL,
  chosen        INTEGER NOT NULL,
  extended      INTEGER NOT NULL,
  marked        INTEGER NOT NULL,
  pulled        INTEGER NOT NULL,
  untagged      INTEGER NOT NULL,
  deleted       INTEGER NOT NULL,        -- when
  event         INTEGER NOT NULL,        -- sequence of v1.manifest.deleted
  PRIMARY KEY (repository_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX graves_blob ON graves (blob_id);
CREATE INDEX graves_native ON graves (native);
CREATE INDEX graves_newest ON graves (repository_id, id);

CREATE TABLE holds (
  repository_id INTEGER NOT NULL,
  target        TEXT    NOT NULL,        -- "" the repository, ":tag", "@digest"
  name          TEXT    NOT NULL,
  id            INTEGER NOT NULL,        -- sequence of v1.hold.placed
  until         INTEGER NOT NULL,        -- 0: until it is released
  placed        INTEGER NOT NULL,
  actor         TEXT    NOT NULL,
  PRIMARY KEY (repository_id, target, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_name ON holds (name, repository_id, target);

CREATE TABLE policies (
  source   TEXT    NOT NULL PRIMARY KEY,
  document TEXT    NOT NULL,             -- JSON
  sequence INTEGER NOT NULL,
  time     INTEGER NOT NULL
) STRICT;

-- Objects to be deleted from their store.
CREATE TABLE erasures (
  id      INTEGER NOT NULL PRIMARY KEY,  -- sequence of the event that gave it up
  digest  TEXT    NOT NULL,
  store   TEXT    NOT NULL,
  locator TEXT    NOT NULL,
  size    INTEGER NOT NULL,
  time    INTEGER NOT NULL
) STRICT;
CREATE INDEX erasures_time ON erasures (time, id);
CREATE INDEX erasures_digest ON erasures (digest);

-- The jump of the clock that nobody has confirmed.
CREATE TABLE clock (
  one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  since    INTEGER NOT NULL,
  until    INTEGER NOT NULL,
  sequence INTEGER NOT NULL
) STRICT;

-- Working state: how far passes over the tables have come, and plans.

CREATE TABLE passes (
  name  TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL                    -- JSON
) STRICT;

CREATE TABLE plans (
  id       TEXT    NOT NULL PRIMARY KEY,
  sequence INTEGER NOT NULL,             -- of the log, when it was made
  created  INTEGER NOT NULL,
  state    TEXT    NOT NULL,
  summary  TEXT    NOT NULL              -- JSON
) STRICT;
CREATE INDEX plans_created ON plans (created, id);

CREATE TABLE plan_items (
  plan       TEXT    NOT NULL,
  ordinal    INTEGER NOT NULL,
  repository TEXT    NOT NULL,
  manifest   TEXT    NOT NULL,
  action     TEXT    NOT NULL,
  item       TEXT    NOT NULL,           -- JSON
  PRIMARY KEY (plan, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX plan_items_manifest ON plan_items (plan, repository, manifest);
