-- The inbox: which events had their effect. Its row is inserted in the transaction that makes the effect.
CREATE TABLE IF NOT EXISTS atoll_inbox (
	source   text NOT NULL,
	event_id text NOT NULL,
	seen_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (source, event_id)
);

CREATE INDEX IF NOT EXISTS atoll_inbox_seen_at ON atoll_inbox (seen_at);
