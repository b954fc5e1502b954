package sqlitesaga

// schemas are the steps that bring a file up to date, by the number in its header. One that was ever released is never changed.
//
// An instance has a number of its own, by which all that belongs to it is found; instances are kept in the order in which they were
// created, so that those that are under way lie together. Its newest history is kept in its row, which is written with each change
// anyway, and moves to history in pieces when the row gets too large for its page. Of the indexes only two are written for each
// instance at its creation alone; the others hold the few rows that somebody looks for: those that are not over, that belong to
// another, that went wrong, that are to go.
func schemas() [][]string {
	return [][]string{{
		`CREATE TABLE instances (
			n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, saga TEXT NOT NULL, hash TEXT NOT NULL, key TEXT NOT NULL, shard INTEGER NOT NULL,
			parent TEXT NOT NULL, started INTEGER NOT NULL, idem TEXT, print TEXT NOT NULL,
			phase INTEGER NOT NULL, step TEXT NOT NULL, error TEXT NOT NULL, wake INTEGER NOT NULL, ended INTEGER NOT NULL, purge INTEGER NOT NULL,
			rev INTEGER NOT NULL, state BLOB NOT NULL, tail BLOB NOT NULL)`,
		`CREATE UNIQUE INDEX instances_idem ON instances (saga, idem) WHERE idem IS NOT NULL`,
		`CREATE INDEX instances_saga ON instances (saga, id)`,
		`CREATE INDEX instances_key ON instances (key, id) WHERE key <> ''`,
		`CREATE INDEX instances_parent ON instances (parent, id) WHERE parent <> ''`,
		`CREATE INDEX instances_phase ON instances (phase, id) WHERE phase < 4`,
		`CREATE INDEX instances_wake ON instances (wake, id) WHERE wake < 9223372036854775807`,
		`CREATE INDEX instances_step ON instances (step, id) WHERE step <> ''`,
		`CREATE INDEX instances_error ON instances (id) WHERE error <> ''`,
		`CREATE INDEX instances_purge ON instances (purge) WHERE purge > 0`,
		`CREATE TABLE history (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, records BLOB NOT NULL)`,
		`CREATE INDEX history_n ON history (n, seq)`,
		`CREATE TABLE counts (saga TEXT NOT NULL, phase INTEGER NOT NULL, instances INTEGER NOT NULL, PRIMARY KEY (saga, phase)) WITHOUT ROWID`,
		`CREATE TABLE locks (name TEXT NOT NULL, place INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (name, place)) WITHOUT ROWID`,
		`CREATE UNIQUE INDEX locks_n ON locks (n, name)`,
		`CREATE TABLE waiters (n INTEGER NOT NULL, task TEXT NOT NULL, channel TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (n, task)) WITHOUT ROWID`,
		`CREATE INDEX waiters_address ON waiters (channel, key)`,
		`CREATE TABLE mail (seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, event BLOB NOT NULL)`,
		`CREATE UNIQUE INDEX mail_address ON mail (channel, key, id)`,
		`CREATE INDEX mail_at ON mail (at)`,
		`CREATE TABLE signals (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, task TEXT NOT NULL, event BLOB NOT NULL)`,
		`CREATE TABLE plans (hash TEXT PRIMARY KEY, saga TEXT NOT NULL, source BLOB NOT NULL) WITHOUT ROWID`,
		`CREATE TABLE marks (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID`,
	}}
}
