-- People: second factors, sign-in at a provider (OpenID Connect), password resets, roles that come from groups.

ALTER TABLE users ADD COLUMN frozen_until BIGINT;      -- owner rights rest until then: the password was reset
ALTER TABLE sessions ADD COLUMN second_factor BIGINT NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN require_second_factor BIGINT NOT NULL DEFAULT 0;

-- Time-based one-time codes (RFC 6238), one secret for each person.
CREATE TABLE second_factors (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    sealed BLOB NOT NULL,
    data_key TEXT NOT NULL REFERENCES data_keys (id),
    secret_version BIGINT NOT NULL,
    last_step BIGINT NOT NULL,                 -- of the last code that was taken: it and older ones are used up
    created_at BIGINT NOT NULL,
    confirmed_at BIGINT                        -- NULL: the person has not shown yet that it works
);
CREATE INDEX second_factors_key ON second_factors (data_key);

CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    code_hash BLOB NOT NULL,                   -- SHA-256 with the person's id (80 random bits)
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (user_id, code_hash)
);

-- Who a person is at a provider. Never found by e-mail address.
CREATE TABLE identities (
    id TEXT NOT NULL PRIMARY KEY,              -- idn_…
    user_id TEXT NOT NULL REFERENCES users (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,                                -- as the provider gave it last, for display
    linked_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    UNIQUE (issuer, subject),
    UNIQUE (user_id, issuer)
);

-- Sign-ins under way: at a provider, or with a code that is still to come.
CREATE TABLE sign_ins (
    id TEXT NOT NULL PRIMARY KEY,              -- sgn_…
    purpose TEXT NOT NULL,                     -- sign_in | link | confirm | invite
    state TEXT NOT NULL,                       -- begun | at_provider | exchanging | code_wanted | done
    start_hash BLOB UNIQUE,                    -- of the link that begins it
    state_hash BLOB UNIQUE,                    -- of `state`
    browser_hash BLOB,                         -- of the flow's cookie
    sealed BLOB,                               -- JSON: PKCE verifier, nonce
    data_key TEXT REFERENCES data_keys (id),
    user_id TEXT,                              -- whose; NULL until it is known
    session_id TEXT,                           -- link, confirm: in which session it was begun
    return_to TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_user ON sign_ins (user_id);
CREATE INDEX sign_ins_expiry ON sign_ins (expires_at);
CREATE INDEX sign_ins_key ON sign_ins (data_key);

-- One link each; a new one makes the one before it void.
CREATE TABLE password_resets (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    token_hash BLOB NOT NULL UNIQUE,
    sealed BLOB,                               -- the token, until its mail is on its way
    data_key TEXT REFERENCES data_keys (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX password_resets_key ON password_resets (data_key);

-- What a provider's groups have given to a person, and what the person had besides.
CREATE TABLE group_roles (
    user_id TEXT NOT NULL REFERENCES users (id),
    place TEXT NOT NULL,                       -- prj_…, or 'instance'
    role TEXT NOT NULL,                        -- a role, or 'superuser'
    by_hand TEXT,                              -- the role that somebody gave; NULL: none
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, place)
);
CREATE INDEX group_roles_place ON group_roles (place);
