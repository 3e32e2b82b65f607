-- How an OAuth client proves itself beyond a secret, and what its tokens are bound to and for.
ALTER TABLE oauth_clients ADD COLUMN certificate TEXT;                 -- PEM, of mutual TLS (RFC 8705); its key is sealed
ALTER TABLE oauth_clients ADD COLUMN dpop_jkt TEXT;                    -- thumbprint of the sealed DPoP key (RFC 9449)
ALTER TABLE oauth_clients ADD COLUMN resource TEXT NOT NULL DEFAULT '[]';  -- JSON list (RFC 8707)
