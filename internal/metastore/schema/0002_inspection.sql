-- What operators ask: in which repositories a byte sequence is a manifest, of
-- which manifests it is the native form, and which uploads are not finished.

CREATE INDEX manifests_blob ON manifests (blob_id, repository_id);
CREATE INDEX manifests_native ON manifests (native, id);
CREATE INDEX uploads_open ON uploads (id) WHERE state = 'open';
