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

CREATE TABLE commits (
  node TEXT    NOT NULL PRIMARY KEY,
  mark TEXT    NOT NULL,
  time INTEGER NOT NULL
) STRICT;
