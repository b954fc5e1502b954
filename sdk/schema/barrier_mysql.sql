-- The barrier: which calls of sagas had their effect. Its rows are written in the transaction that makes the effect.
-- The key is bytes, since the order of a character set may take two keys for one.
CREATE TABLE IF NOT EXISTS atoll_barrier (
	branch   VARBINARY(1024) NOT NULL,                           -- the Idempotency-Key without its operation: a step of one instance
	op       VARBINARY(32) NOT NULL,                             -- the operation: do, undo, do/alt1, undo/alt1; each branch has a row of do
	state    VARCHAR(16) CHARACTER SET ascii NOT NULL,           -- of the operation: done, refused, or barred: it came too late
	effect   VARCHAR(16) CHARACTER SET ascii NULL,               -- in the row of do: what stands of the step: none, done or undone
	answer   MEDIUMTEXT CHARACTER SET utf8mb4 NULL,              -- JSON; of what was refused, the problem document
	asked    BIGINT NOT NULL DEFAULT 1,                          -- in the row of do: how many calls of the branch came
	asked_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), -- and when the last one came
	PRIMARY KEY (branch, op),
	INDEX atoll_barrier_asked_at (op, asked_at)
) ENGINE = InnoDB;
