-- The inbox: which events had their effect. Its row is inserted in the transaction that makes the effect.
CREATE TABLE IF NOT EXISTS atoll_inbox (
	source   TEXT NOT NULL,
	event_id TEXT NOT NULL,
	seen_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
	PRIMARY KEY (source, event_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS atoll_inbox_seen_at ON atoll_inbox (seen_at);
