-- Who owns a credential, and how that is handed on; keychains; scheduled checks; what people are told in the
-- browser; columns that lists are read from.

-- An offer of a credential to another person. Only a hash of its token is stored.
CREATE TABLE transfers (
    id TEXT NOT NULL PRIMARY KEY,              -- trf_…
    token_hash BLOB NOT NULL UNIQUE,           -- SHA-256 of 256 random bits
    credential_id TEXT NOT NULL REFERENCES credentials (id),
    from_user TEXT NOT NULL REFERENCES users (id),
    to_user TEXT NOT NULL REFERENCES users (id),
    ground BLOB NOT NULL,                      -- SHA-256 of what was offered: void when that is no longer so
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT                               -- accepted | cancelled | overtaken | void
);
CREATE INDEX transfers_credential ON transfers (credential_id, ended_at);
CREATE INDEX transfers_from ON transfers (from_user, ended_at);
CREATE INDEX transfers_to ON transfers (to_user, ended_at);

-- Names of fields that the owner may use and not read: they were set before the credential was given to them
-- without its owner (JSON list; NULL: none).
ALTER TABLE credential_values ADD COLUMN withheld TEXT;
ALTER TABLE credential_versions ADD COLUMN withheld TEXT;

-- When the values are to be checked next. Moving it is the lease. NULL: no time was chosen yet.
ALTER TABLE credential_values ADD COLUMN check_at BIGINT;
CREATE INDEX credential_values_check ON credential_values (check_at, credential_id, environment);

-- What is not going to be deleted is nearly everything: an index that holds it leads whoever leaves it out through all.
DROP INDEX credentials_deletes;
CREATE INDEX credentials_deletes ON credentials (deletes_at) WHERE deletes_at IS NOT NULL;

-- The earliest end of a certificate that stands in the values; 0: there is none; NULL: not looked at.
ALTER TABLE credential_values ADD COLUMN certificate_ends_at BIGINT;
CREATE INDEX credential_values_certificate ON credential_values (certificate_ends_at);
CREATE INDEX credentials_expires_on ON credentials (expires_on);

-- Which credential a call uses, chosen by data: `external_id` of the project's shares.
CREATE TABLE keychains (
    id TEXT NOT NULL PRIMARY KEY,              -- kch_…
    project_id TEXT NOT NULL REFERENCES projects (id),
    slug TEXT NOT NULL,                        -- in one namespace with the slugs of shares
    name TEXT NOT NULL,
    connector TEXT NOT NULL,                   -- uid: only its credentials are chosen
    chosen_by TEXT NOT NULL,                   -- template over `input`
    default_id TEXT,                           -- no reference: a credential that is gone is no longer chosen
    version BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, slug)
);
CREATE INDEX keychains_default ON keychains (default_id);

-- People to tell, where that does not follow from the credential (JSON list of usr_…).
ALTER TABLE notices ADD COLUMN recipients TEXT;

-- What somebody was told in the browser.
CREATE TABLE inbox (
    user_id TEXT NOT NULL REFERENCES users (id),
    notice_id TEXT NOT NULL REFERENCES notices (id),
    created_at BIGINT NOT NULL,
    read_at BIGINT,
    PRIMARY KEY (user_id, notice_id)
);
CREATE INDEX inbox_notice ON inbox (notice_id);

-- Statuses of a credential's environments, one bit each, so that lists need no look at each of them; what is
-- disabled or going to be deleted has the bit of `disabled` alone. Kept by the store; 0: by an older server.
ALTER TABLE credentials ADD COLUMN statuses BIGINT NOT NULL DEFAULT 0;
UPDATE credentials SET statuses = CASE WHEN disabled = 1 OR deletes_at IS NOT NULL THEN 32 ELSE
    (SELECT COALESCE(SUM(DISTINCT CASE v.status WHEN 'verified' THEN 1 WHEN 'unverified' THEN 2 WHEN 'failing' THEN 4
        WHEN 'needs_authorization' THEN 8 WHEN 'needs_reconnect' THEN 16 ELSE 0 END), 0)
     FROM credential_values v WHERE v.credential_id = credentials.id) END;
-- Everything that a list is narrowed by stands in the index: what does not fit is passed over without being read.
CREATE INDEX credentials_listed ON credentials (owner_type, owner_id, id, connector, statuses, name_folded);
CREATE INDEX shares_listed ON shares (project_id, credential_id);
