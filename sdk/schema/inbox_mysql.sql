-- The inbox: which events had their effect. Its row is inserted in the transaction that makes the effect.
-- The key is bytes, since the order of a character set may take two ids for one.
CREATE TABLE IF NOT EXISTS atoll_inbox (
	source   VARBINARY(1024) NOT NULL,
	event_id VARBINARY(1024) NOT NULL,
	seen_at  TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
	PRIMARY KEY (source, event_id),
	INDEX atoll_inbox_seen_at (seen_at)
) ENGINE = InnoDB;
