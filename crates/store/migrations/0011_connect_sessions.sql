-- A page on which an end user of somebody's product connects an account without an account here: once, within half an
-- hour, in the browser that opened it first. Only a hash of the link's token is stored.
CREATE TABLE connect_sessions (
    id TEXT NOT NULL PRIMARY KEY,              -- cns_…
    token_hash BLOB NOT NULL UNIQUE,           -- SHA-256 of 256 random bits
    project_id TEXT NOT NULL REFERENCES projects (id),
    connectors TEXT NOT NULL,                  -- JSON list of uids that may be chosen
    environments TEXT NOT NULL,                -- JSON list: of the project, that get the values
    end_user TEXT NOT NULL,                    -- JSON: the product's own id of the person, and tags
    external_id TEXT,                          -- of the credential, in the project
    return_origin TEXT NOT NULL,               -- the one origin that is told the result
    browser_hash BLOB,                         -- SHA-256 of the cookie of the browser that opened it first
    tries BIGINT NOT NULL,                     -- how often the form was sent
    credential_id TEXT,                        -- what was made; no reference: it may be gone
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX connect_sessions_project ON connect_sessions (project_id);
CREATE INDEX connect_sessions_expiry ON connect_sessions (expires_at);
