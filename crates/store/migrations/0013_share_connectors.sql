-- The connector of what is shared, so that a project's credentials are counted by connector from an index alone. It
-- never changes. Empty in rows of a version that does not know the column: those are looked up.
ALTER TABLE shares ADD COLUMN connector TEXT NOT NULL DEFAULT '';
UPDATE shares SET connector = (SELECT c.connector FROM credentials c WHERE c.id = shares.credential_id);
CREATE INDEX shares_by_connector ON shares (project_id, connector);
