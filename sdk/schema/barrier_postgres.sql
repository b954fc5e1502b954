-- The barrier: which calls of sagas had their effect. Its rows are written in the transaction that makes the effect.
CREATE TABLE IF NOT EXISTS atoll_barrier (
	branch   text NOT NULL,                      -- the Idempotency-Key without its operation: a step of one instance
	op       text NOT NULL,                      -- the operation: do, undo, do/alt1, undo/alt1; each branch has a row of do
	state    text NOT NULL,                      -- of the operation: done, refused, or barred: it came too late
	effect   text,                               -- in the row of do: what stands of the step: none, done or undone
	answer   text,                               -- JSON; of what was refused, the problem document
	asked    bigint NOT NULL DEFAULT 1,          -- in the row of do: how many calls of the branch came
	asked_at timestamptz NOT NULL DEFAULT now(), -- and when the last one came
	PRIMARY KEY (branch, op)
);

CREATE INDEX IF NOT EXISTS atoll_barrier_asked_at ON atoll_barrier (op, asked_at);
