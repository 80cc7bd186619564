-- Whether anything names an object of a store.

CREATE INDEX blobs_locator ON blobs (locator) WHERE locator <> '';
CREATE INDEX erasures_locator ON erasures (locator);
