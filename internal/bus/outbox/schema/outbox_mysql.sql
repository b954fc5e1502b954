-- The outbox: what a transaction puts here is published when it has committed. A row needs a topic; all else has a default.
CREATE TABLE IF NOT EXISTS atoll_outbox (
	id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	topic        VARCHAR(1024) NOT NULL,
	data         LONGTEXT,                                     -- text, such as JSON
	data_binary  LONGBLOB,                                     -- or bytes; not both
	ordering_key VARCHAR(1024),                                -- events of one key are delivered one after the other
	event_id     VARCHAR(1024) NOT NULL DEFAULT (UUID()),
	type         VARCHAR(1024),                                -- default: the topic
	source       VARCHAR(1024),                                -- default: /services/ and the service's name
	subject      VARCHAR(1024),
	content_type VARCHAR(255),                                 -- default: what the data look like
	time         TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
	extensions   JSON,                                         -- {"traceparent": "00-…"}
	deliver_at   TIMESTAMP(6) NULL DEFAULT NULL                -- not before
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- What the bus refused for good, with its reason.
CREATE TABLE IF NOT EXISTS atoll_outbox_refused (
	id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	topic        VARCHAR(1024) NOT NULL,
	data         LONGTEXT,
	data_binary  LONGBLOB,
	ordering_key VARCHAR(1024),
	event_id     VARCHAR(1024) NOT NULL,
	type         VARCHAR(1024),
	source       VARCHAR(1024),
	subject      VARCHAR(1024),
	content_type VARCHAR(255),
	time         TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
	extensions   JSON,
	deliver_at   TIMESTAMP(6) NULL DEFAULT NULL,
	refused_at   TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
	code         VARCHAR(255) NOT NULL,
	reason       TEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
