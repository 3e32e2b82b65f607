-- What checkpoints and anchors of the audit trail are signed with (Ed25519). The seed is sealed like everything
-- that is secret; whoever has the database alone cannot sign.
CREATE TABLE audit_keys (
    id TEXT NOT NULL PRIMARY KEY,              -- auk_…
    public_key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    data_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX audit_keys_key ON audit_keys (data_key);

-- A head is signed with each append, so that nobody who has the database alone can append to a chain or hash it anew.
ALTER TABLE journals ADD COLUMN key_id TEXT;
ALTER TABLE journals ADD COLUMN signature BLOB;

-- Where a chain begins since its oldest records were cut away. Signed: a cut that nobody signed is a gap.
CREATE TABLE audit_anchors (
    writer TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,                    -- of the last record that was cut
    hash BLOB NOT NULL,
    records BIGINT NOT NULL,                   -- cut in all, those in batches too
    newest_at BIGINT NOT NULL,                 -- of the newest record that was cut
    cut_at BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    signature BLOB NOT NULL
);

-- Cutting finds a batch's entries by their row.
CREATE INDEX audit_batch_scopes_seq ON audit_batch_scopes (seq);

-- What happened to no project and no credential: for superusers.
CREATE INDEX audit_instance ON audit (seq) WHERE fact = 'event' AND project_id IS NULL AND credential_id IS NULL;
