-- The barrier: which calls of sagas had their effect. Its rows are written in the transaction that makes the effect.
CREATE TABLE IF NOT EXISTS atoll_barrier (
	branch   TEXT NOT NULL,              -- the Idempotency-Key without its operation: a step of one instance
	op       TEXT NOT NULL,              -- the operation: do, undo, do/alt1, undo/alt1; each branch has a row of do
	state    TEXT NOT NULL,              -- of the operation: done, refused, or barred: it came too late
	effect   TEXT,                       -- in the row of do: what stands of the step: none, done or undone
	answer   TEXT,                       -- JSON; of what was refused, the problem document
	asked    INTEGER NOT NULL DEFAULT 1, -- in the row of do: how many calls of the branch came
	asked_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- and when the last one came
	PRIMARY KEY (branch, op)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS atoll_barrier_asked_at ON atoll_barrier (op, asked_at);
