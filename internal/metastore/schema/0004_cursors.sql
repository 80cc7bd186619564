-- How far followers have come: a cursor is a place in a log that is named, with
-- the running hash there. No released version had a follower, so nothing is lost.

DROP TABLE cursors;
CREATE TABLE cursors (
  name     TEXT    NOT NULL PRIMARY KEY,
  log      TEXT    NOT NULL,
  sequence INTEGER NOT NULL,
  chain    BLOB    NOT NULL              -- 32 bytes
) STRICT;
