-- A consent under way: from the moment somebody asks for it until the provider's answer is saved or refused.
-- Rows stay for a day, so that their outcome can be told; what is secret goes when the flow ends.
CREATE TABLE consents (
    id TEXT NOT NULL PRIMARY KEY,
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    environment TEXT NOT NULL,
    values_version BIGINT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),  -- who began, and who alone may go on
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
CREATE INDEX consents_credential ON consents (credential_id, created_at);
CREATE INDEX consents_expiry ON consents (expires_at);
CREATE INDEX consents_poll ON consents (state, poll_at);
CREATE INDEX consents_key ON consents (data_key);
