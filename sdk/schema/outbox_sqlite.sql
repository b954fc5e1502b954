-- The outbox: what a transaction puts here is published when it has committed. A row needs a topic; all else has a default.
CREATE TABLE IF NOT EXISTS atoll_outbox (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	topic        TEXT NOT NULL,
	data         TEXT,                                         -- text, such as JSON
	data_binary  BLOB,                                         -- or bytes; not both
	ordering_key TEXT,                                         -- events of one key are delivered one after the other
	event_id     TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
	type         TEXT,                                         -- default: the topic
	source       TEXT,                                         -- default: /services/ and the service's name
	subject      TEXT,
	content_type TEXT,                                         -- default: what the data look like
	time         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
	extensions   TEXT,                                         -- {"traceparent": "00-…"}
	deliver_at   TEXT                                          -- not before, RFC 3339
);

-- What the bus refused for good, with its reason.
CREATE TABLE IF NOT EXISTS atoll_outbox_refused (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	topic        TEXT NOT NULL,
	data         TEXT,
	data_binary  BLOB,
	ordering_key TEXT,
	event_id     TEXT NOT NULL,
	type         TEXT,
	source       TEXT,
	subject      TEXT,
	content_type TEXT,
	time         TEXT NOT NULL,
	extensions   TEXT,
	deliver_at   TEXT,
	refused_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
	code         TEXT NOT NULL,
	reason       TEXT NOT NULL
);
