-- What has to be told to people and programs, and how far that has got.

-- The outbox: a row is written in the transaction of the change that it tells of.
CREATE TABLE notices (
    id TEXT NOT NULL PRIMARY KEY,              -- evt_…
    event TEXT NOT NULL,
    sameness TEXT NOT NULL UNIQUE,             -- what makes two of them the same event: it is told once
    credential_id TEXT,                        -- no reference: also told of what is gone
    environment TEXT,
    project_id TEXT,                           -- told to this project alone; NULL: to all that it concerns
    data TEXT NOT NULL,                        -- JSON; never a value of a credential
    at BIGINT NOT NULL,
    addressed_at BIGINT                        -- since then its deliveries exist
);
CREATE INDEX notices_open ON notices (addressed_at, id);
CREATE INDEX notices_credential ON notices (credential_id, at);

-- One notice on its way to one mailbox or endpoint.
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,              -- dlv_…
    notice_id TEXT NOT NULL REFERENCES notices (id),
    channel TEXT NOT NULL,                     -- mail | webhook
    target TEXT NOT NULL,                      -- usr_… | whk_…
    state TEXT NOT NULL,                       -- waiting | handing_over | done | failed | unknown
    attempts BIGINT NOT NULL,                  -- since it was last put into the queue
    next_at BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,               -- the database's clock; 0: nobody is at it
    tries TEXT NOT NULL,                       -- JSON list of the last ones
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    UNIQUE (notice_id, channel, target)
);
CREATE INDEX deliveries_due ON deliveries (state, next_at);
CREATE INDEX deliveries_target ON deliveries (target, id);

CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,              -- whk_…
    project_id TEXT NOT NULL REFERENCES projects (id),
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events TEXT NOT NULL,                      -- JSON list; empty: all
    sealed BLOB NOT NULL,                      -- JSON: the secret, and the one before it
    -- A reference, as of `oauth_clients`: an older server would forget a data key that is still needed here.
    data_key TEXT NOT NULL REFERENCES data_keys (id),
    secret_version BIGINT NOT NULL,
    old_until BIGINT,                          -- until then the secret before it signs too
    disabled BIGINT NOT NULL,
    disabled_why TEXT,
    failing_since BIGINT,                      -- no delivery has succeeded since
    version BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX webhooks_project ON webhooks (project_id);
CREATE INDEX webhooks_key ON webhooks (data_key);

CREATE INDEX tokens_grant ON tokens (state, grant_expires_at);
