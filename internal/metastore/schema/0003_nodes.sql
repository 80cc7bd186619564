-- Several processes on one database. All of it is working state: who is there,
-- who does what only one does at a time, and the mark of each node's last commit,
-- by which a commit that lost its answer is found.

CREATE TABLE nodes (
  id      TEXT    NOT NULL PRIMARY KEY,
  name    TEXT    NOT NULL,
  version TEXT    NOT NULL,
  rules   TEXT    NOT NULL,          -- JSON
  files   TEXT    NOT NULL,          -- the folder that has the objects, or empty
  started INTEGER NOT NULL,
  seen    INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
  name    TEXT    NOT NULL PRIMARY KEY,
  holder  TEXT    NOT NULL,
  fence   INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT;

-- Each commit has a row of its own, and removes that of the one before: a row
-- that is changed again and again would leave a trail of dead versions to walk,
-- for as long as anybody looks at an older state.
CREATE TABLE commits (
  mark TEXT    NOT NULL PRIMARY KEY,
  node TEXT    NOT NULL,
  time INTEGER NOT NULL
) STRICT;
CREATE INDEX commits_time ON commits (time);

-- The same trail of the head's one row is passed over by its end.
CREATE INDEX head_sequence ON head (sequence);
