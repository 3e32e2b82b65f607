-- What `latchstring apply` has made in a project, so that it removes nothing else. A mark goes with its thing: what
-- is made anew by hand under the same name is not apply's.
CREATE TABLE applied (
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,                        -- environment | member | connector | variable | secret | credential | keychain | webhook
    environment TEXT NOT NULL,                 -- of a variable or secret; else empty
    name TEXT NOT NULL,                        -- an id where there is one, so that it never means another thing
    marked_by TEXT NOT NULL,
    marked_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, kind, environment, name)
);
