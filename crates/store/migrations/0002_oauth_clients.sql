-- Our registrations with providers. What is secret of one (client secret, private key, token parameters) is
-- sealed as one JSON object; `sealed_version` counts how often it was.
CREATE TABLE oauth_clients (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    owner_id TEXT NOT NULL REFERENCES users (id),   -- whom people ask about it
    connector TEXT,                            -- uid; NULL: serves `http`, within its own hosts
    connector_digest TEXT,                     -- of a project's connector, as a superuser accepted it
    client_id TEXT,                            -- NULL: a draft
    client_auth TEXT NOT NULL,
    -- A reference, unlike the other sealed tables': a server of an older version knows nothing of this one
    -- and would forget a data key that it still needs.
    data_key TEXT REFERENCES data_keys (id),
    sealed BLOB,
    sealed_version BIGINT NOT NULL,
    secret_fields TEXT NOT NULL,               -- JSON list of what is in `sealed`
    key_algorithm TEXT,                        -- of the private key
    key_id TEXT,                               -- `kid` of its assertions
    public_key TEXT,                           -- its public half, a JWK
    issuer TEXT,
    issuer_in_callback BIGINT NOT NULL,        -- the provider announces `iss` (RFC 9207)
    endpoints TEXT NOT NULL,                   -- JSON: name → {url, from: request | issuer}
    mandatory_scopes TEXT NOT NULL,            -- JSON lists, in the order in which they are asked for
    optional_scopes TEXT NOT NULL,
    scopes_doc_url TEXT,
    authorize_params TEXT NOT NULL,            -- JSON: name → value; anybody's browser shows them
    hosts TEXT NOT NULL,                       -- JSON list of host patterns
    pkce BIGINT NOT NULL,
    is_global BIGINT NOT NULL,
    digest TEXT NOT NULL,                      -- of what grants are bound to
    version BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX oauth_clients_key ON oauth_clients (data_key);
CREATE INDEX oauth_clients_connector ON oauth_clients (connector);

CREATE TABLE oauth_client_projects (
    client_id TEXT NOT NULL REFERENCES oauth_clients (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    PRIMARY KEY (client_id, project_id)
);
CREATE INDEX oauth_client_projects_project ON oauth_client_projects (project_id);

CREATE INDEX credentials_oauth_client ON credentials (oauth_client_id);
