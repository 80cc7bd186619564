-- What operators ask by digest: in which repositories a byte sequence is a
-- manifest, and of which manifests it is the native form.

CREATE INDEX manifests_blob ON manifests (blob_id, repository_id);
CREATE INDEX manifests_native ON manifests (native, id);
