-- One text for both databases. `dialect.rs` rewrites the type words for PostgreSQL
-- (TEXT → TEXT COLLATE "C", BLOB → BYTEA) and SEQUENCE_KEY for both; nothing else differs.
-- Times are Unix milliseconds. Flags are 0/1. JSON is TEXT. `*_folded` columns are lower-cased for search.

-- What a cached decision depends on. Every write begins by raising an epoch here, which is also
-- the portable lock (SQLite is serial, PostgreSQL locks the row). `changed_at` is the database's clock.
CREATE TABLE scopes (
    id TEXT NOT NULL PRIMARY KEY,              -- usr_…, prj_…, crd_…, connector uid, 'instance'
    epoch BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX scopes_changed ON scopes (changed_at);

CREATE TABLE instance (
    name TEXT NOT NULL PRIMARY KEY,            -- 'key_check', 'setup', 'audit_order', …
    value TEXT NOT NULL
);

-- Data keys: generations, each wrapped by a root key.
CREATE TABLE data_keys (
    id TEXT NOT NULL PRIMARY KEY,
    root_key TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    active BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE servers (
    id TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    root_keys TEXT NOT NULL                    -- JSON list of the root key ids it holds
);

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    email_folded TEXT NOT NULL UNIQUE,
    username TEXT,
    name TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    password_hash TEXT,
    superuser BIGINT NOT NULL,
    active BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    token_hash BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL,              -- last time the password was given
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- An environment that is removed and made again is another one: grants point at the id.
CREATE TABLE environments (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    position BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE members (
    project_id TEXT NOT NULL REFERENCES projects (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,                        -- personal | service
    user_id TEXT REFERENCES users (id),        -- whose (personal)
    project_id TEXT REFERENCES projects (id),  -- which (service)
    environment_id TEXT,                       -- no reference: a removed environment leaves ended keys behind
    name TEXT NOT NULL,
    scope TEXT NOT NULL,                       -- call | manage
    secret_hash BLOB NOT NULL UNIQUE,          -- SHA-256 of the whole key (256 random bits: no salt needed)
    hint TEXT NOT NULL,                        -- its last four characters
    limits TEXT NOT NULL,                      -- JSON: credentials, operations_only, methods, path_prefixes, networks, may_act_for
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    used_at BIGINT,
    ended_at BIGINT
);
CREATE INDEX api_keys_user ON api_keys (user_id);
CREATE INDEX api_keys_project ON api_keys (project_id);
CREATE INDEX api_keys_environment ON api_keys (environment_id);

-- Connectors of a project; built-in ones live in the binary.
CREATE TABLE connectors (
    uid TEXT NOT NULL PRIMARY KEY,             -- <project id>/<connector id>
    project_id TEXT NOT NULL REFERENCES projects (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,                      -- the definition as it was given
    digest TEXT NOT NULL,                      -- of all that decides where values go
    version BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, id)
);

CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    owner_type TEXT NOT NULL,                  -- user | project
    owner_id TEXT NOT NULL,
    connector TEXT NOT NULL,                   -- builtin/<id> or <project id>/<id>
    auth_method TEXT NOT NULL,
    digest TEXT NOT NULL,                      -- of the definition, as the owner approved it
    oauth_client_id TEXT,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    note TEXT,
    acts_as TEXT,
    disabled BIGINT NOT NULL,
    expires_on BIGINT,
    deletes_at BIGINT,
    version BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX credentials_owner ON credentials (owner_type, owner_id);
CREATE INDEX credentials_connector ON credentials (connector);
CREATE INDEX credentials_deletes ON credentials (deletes_at);

-- The current values per environment of the credential.
CREATE TABLE credential_values (
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    environment TEXT NOT NULL,
    version BIGINT NOT NULL,
    sealed BLOB NOT NULL,
    data_key TEXT NOT NULL,
    secret_fields TEXT NOT NULL,               -- JSON list of names; secrecy only rises
    pins TEXT NOT NULL,                        -- JSON list of Pin
    status TEXT NOT NULL,
    verified_at BIGINT,
    checked_at BIGINT,
    check_error TEXT,
    account TEXT,
    scopes TEXT,
    set_by TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (credential_id, environment)
);
CREATE INDEX credential_values_key ON credential_values (data_key);

CREATE TABLE credential_versions (
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    environment TEXT NOT NULL,
    version BIGINT NOT NULL,
    sealed BLOB,                               -- NULL once wiped
    data_key TEXT,
    secret_fields TEXT NOT NULL,
    changed_fields TEXT NOT NULL,              -- JSON list of names, never values
    set_by TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (credential_id, environment, version)
);
CREATE INDEX credential_versions_key ON credential_versions (data_key);

CREATE TABLE shares (
    id TEXT NOT NULL PRIMARY KEY,
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    slug TEXT NOT NULL,
    external_id TEXT,
    suspended BIGINT NOT NULL,                 -- a new origin waits for a project admin
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project_id, slug),
    UNIQUE (project_id, external_id),
    UNIQUE (credential_id, project_id)
);

-- Which of the credential's values each of the project's environments may use. No row, no use.
CREATE TABLE grants (
    share_id TEXT NOT NULL REFERENCES shares (id),
    environment_id TEXT NOT NULL REFERENCES environments (id),
    credential_environment TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (share_id, environment_id)
);
CREATE INDEX grants_environment ON grants (environment_id);

-- A slug or external id that a credential once had here: another one may claim it only through an admin.
CREATE TABLE claimed_names (
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,                        -- slug | external_id
    name TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    PRIMARY KEY (project_id, kind, name)
);

-- Secrets and variables of a project's environment, for templates.
CREATE TABLE secrets (
    environment_id TEXT NOT NULL REFERENCES environments (id),
    kind TEXT NOT NULL,                        -- secret | variable
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    sealed BLOB NOT NULL,
    data_key TEXT NOT NULL,
    hosts TEXT NOT NULL,                       -- JSON list; empty: wherever a template may send it
    set_by TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (environment_id, kind, name)
);
CREATE INDEX secrets_key ON secrets (data_key);

-- What a scheme obtained. `id` is a digest of everything the token depends on.
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    environment TEXT NOT NULL,
    values_version BIGINT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,                   -- compare-and-swap
    state TEXT NOT NULL,                       -- empty | live | needs_reconnect
    sealed BLOB,
    data_key TEXT,
    obtained_at BIGINT,
    fresh_until BIGINT,                        -- the end less the margin: from then on it is refreshed
    expires_at BIGINT,
    grant_expires_at BIGINT,
    -- From here to forced_at all times are the database's clock.
    lease_owner TEXT,
    lease_fence BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,               -- 0: nobody's
    intent TEXT,                               -- prepared | sent
    intent_fence BIGINT,
    intent_until BIGINT,                       -- a sent request has ended by then
    failures BIGINT NOT NULL,
    retry_at BIGINT,
    forced_at BIGINT,
    last_error TEXT,
    updated_at BIGINT NOT NULL
);
CREATE INDEX tokens_credential ON tokens (credential_id);
CREATE INDEX tokens_fresh ON tokens (state, fresh_until);
CREATE INDEX tokens_obtained ON tokens (state, obtained_at);
CREATE INDEX tokens_key ON tokens (data_key);

-- The audit trail. A chain per writer (server start); `seq` is a cursor, not a proof. A batch is one row with
-- the intents and results of many calls, a line each, as their journal had them: a row per fact would cost
-- more than the calls themselves.
CREATE TABLE audit (
    seq SEQUENCE_KEY,
    writer TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    fact TEXT NOT NULL,                        -- event | intent | result | batch
    call_id TEXT,
    project_id TEXT,
    credential_id TEXT,
    actor_type TEXT NOT NULL,                  -- user | key | server | anonymous
    actor_id TEXT,
    actor_email TEXT,
    action TEXT NOT NULL,
    target TEXT,
    environment TEXT,
    outcome TEXT NOT NULL,
    body TEXT NOT NULL,                        -- the canonical JSON that is hashed
    previous BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (writer, number)
);
CREATE INDEX audit_project ON audit (project_id, seq);
CREATE INDEX audit_credential ON audit (credential_id, seq);
CREATE INDEX audit_call ON audit (call_id);

-- The projects and credentials that occur in a batch. It follows from the batch's body.
CREATE TABLE audit_batch_scopes (
    scope_id TEXT NOT NULL,                    -- prj_…, crd_…
    seq BIGINT NOT NULL,
    PRIMARY KEY (scope_id, seq)
);

-- The head of each writer's chain, and how far its journal has been shipped: moved in the transaction
-- that inserts its records.
CREATE TABLE journals (
    writer TEXT NOT NULL PRIMARY KEY,
    segment BIGINT NOT NULL,
    shipped BIGINT NOT NULL,                   -- bytes of that segment
    number BIGINT NOT NULL,
    head BLOB NOT NULL
);

CREATE TABLE idempotency (
    actor TEXT NOT NULL,
    name TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    status BIGINT NOT NULL,
    body TEXT NOT NULL,                        -- never a key or another thing that is shown once
    created_at BIGINT NOT NULL,
    PRIMARY KEY (actor, name)
);
CREATE INDEX idempotency_age ON idempotency (created_at);
