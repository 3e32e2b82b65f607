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
    oauth_clients TEXT NOT NULL,               -- JSON list of ids: which to consent to, where there are several
    return_origin TEXT NOT NULL,               -- the one origin that is told the result
    browser_hash BLOB,                         -- SHA-256 of the cookie of the browser that opened it first
    tries BIGINT NOT NULL,                     -- how often the form was sent
    -- What was made, or what waits for the end user, who is at the provider; no reference: it may be gone.
    credential_id TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX connect_sessions_project ON connect_sessions (project_id);
CREATE INDEX connect_sessions_expiry ON connect_sessions (expires_at);
CREATE INDEX connect_sessions_left ON connect_sessions (expires_at) WHERE ended_at IS NULL AND credential_id IS NOT NULL;

-- A consent is a person's or an end user's. No table can be told so in both databases, so it is made anew, with what
-- is under way.
CREATE TABLE consents_anew (
    id TEXT NOT NULL PRIMARY KEY,
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    environment TEXT NOT NULL,
    values_version BIGINT NOT NULL,
    -- Who began, and who alone may go on: one of the two.
    user_id TEXT REFERENCES users (id),
    connect_session_id TEXT REFERENCES connect_sessions (id) ON DELETE CASCADE,
    oauth_client_id TEXT,                      -- whose redirect URI the answer comes to
    client_digest TEXT,                        -- of what the grant will be bound to
    kind TEXT NOT NULL,                        -- browser | device
    state TEXT NOT NULL,                       -- begun | at_provider | exchanging | done | failed
    start_hash BLOB UNIQUE,                    -- SHA-256 of the start link's token (256 random bits)
    state_hash BLOB UNIQUE,                    -- SHA-256 of `state` (256 random bits), used once
    browser_hash BLOB,                         -- SHA-256 of the flow's cookie
    sealed BLOB,                               -- PKCE verifier, or the device code
    -- A reference, as of `oauth_clients`: an older server would forget a data key that is still needed here.
    data_key TEXT REFERENCES data_keys (id),
    sealed_version BIGINT NOT NULL,
    scopes TEXT NOT NULL,                      -- JSON list, as asked for
    return_to TEXT,
    outcome TEXT,                              -- a problem's code, or `ok`
    detail TEXT,                               -- for people, masked
    hint TEXT,
    -- Of a device flow: when it is asked about next, by the database's clock. Moving it is the lease.
    poll_at BIGINT,
    poll_every BIGINT,                         -- milliseconds
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
INSERT INTO consents_anew
    SELECT id, credential_id, environment, values_version, user_id, NULL, oauth_client_id, client_digest, kind, state,
        start_hash, state_hash, browser_hash, sealed, data_key, sealed_version, scopes, return_to, outcome, detail,
        hint, poll_at, poll_every, created_at, expires_at, ended_at
    FROM consents;
DROP TABLE consents;
ALTER TABLE consents_anew RENAME TO consents;
CREATE INDEX consents_credential ON consents (credential_id, created_at);
CREATE INDEX consents_expiry ON consents (expires_at);
CREATE INDEX consents_poll ON consents (state, poll_at);
CREATE INDEX consents_key ON consents (data_key);
CREATE INDEX consents_session ON consents (connect_session_id);
