package pgsaga

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// schemas are the steps that bring the tables up to date. One that was ever released is never changed. Ids are compared as bytes, so
// that their order is the same everywhere. Pages of instances are kept half empty, so that a row is changed in its page and no index
// is written, as long as its phase and wake stay.
func schemas() []string {
	return []string{
		`
		CREATE TABLE engines (id TEXT PRIMARY KEY, seen TIMESTAMPTZ NOT NULL, lined BOOLEAN NOT NULL);
		CREATE TABLE shards (shard INT PRIMARY KEY, owner TEXT, epoch BIGINT NOT NULL, until TIMESTAMPTZ NOT NULL);
		INSERT INTO shards SELECT n, NULL, 0, '-infinity' FROM generate_series(0, 255) n;
		CREATE TABLE instances (
			id TEXT COLLATE "C" PRIMARY KEY, saga TEXT NOT NULL, hash TEXT NOT NULL, key TEXT NOT NULL, shard INT NOT NULL,
			parent TEXT COLLATE "C" NOT NULL, started BIGINT NOT NULL, idem TEXT, print TEXT NOT NULL,
			phase SMALLINT NOT NULL, step TEXT NOT NULL, error TEXT NOT NULL, wake BIGINT NOT NULL, ended BIGINT NOT NULL, purge BIGINT NOT NULL,
			rev BIGINT NOT NULL, state BYTEA NOT NULL
		) WITH (fillfactor = 50);
		CREATE UNIQUE INDEX instances_idem ON instances (saga, idem) WHERE idem IS NOT NULL;
		CREATE INDEX instances_saga ON instances (saga, id);
		CREATE INDEX instances_count ON instances (saga, phase);
		CREATE INDEX instances_key ON instances (key, id) WHERE key <> '';
		CREATE INDEX instances_parent ON instances (parent, id) WHERE parent <> '';
		CREATE INDEX instances_phase ON instances (phase, id) WHERE phase < 4;
		CREATE INDEX instances_wake ON instances (wake, id) WHERE wake < 9223372036854775807;
		CREATE INDEX instances_step ON instances (step, id) WHERE step <> '';
		CREATE INDEX instances_error ON instances (id) WHERE error <> '';
		CREATE INDEX instances_purge ON instances (purge) WHERE purge > 0;
		CREATE TABLE history (instance TEXT COLLATE "C" NOT NULL, rev BIGINT NOT NULL, records BYTEA NOT NULL, PRIMARY KEY (instance, rev));
		CREATE TABLE locks (name TEXT NOT NULL, instance TEXT COLLATE "C" NOT NULL, place BIGINT GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (name, instance));
		CREATE INDEX locks_place ON locks (name, place);
		CREATE INDEX locks_instance ON locks (instance);
		CREATE TABLE waiters (instance TEXT COLLATE "C" NOT NULL, task TEXT NOT NULL, channel TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (instance, task));
		CREATE INDEX waiters_address ON waiters (channel, key);
		CREATE TABLE mail (seq BIGINT GENERATED ALWAYS AS IDENTITY, channel TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, at BIGINT NOT NULL,
			event BYTEA NOT NULL, PRIMARY KEY (channel, key, id));
		CREATE INDEX mail_at ON mail (at);
		CREATE SEQUENCE signal_ids;
		CREATE TABLE signals (id BIGINT PRIMARY KEY DEFAULT nextval('signal_ids'), instance TEXT COLLATE "C" NOT NULL, shard INT NOT NULL, task TEXT NOT NULL,
			event BYTEA NOT NULL);
		CREATE INDEX signals_instance ON signals (instance);
		CREATE TABLE plans (hash TEXT PRIMARY KEY, saga TEXT NOT NULL, source BYTEA NOT NULL);
		CREATE TABLE marks (name TEXT PRIMARY KEY, at BIGINT NOT NULL);`,
	}
}

// migrate makes or updates the tables, one engine after the other.
func (s *Store) migrate(ctx context.Context) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", hash(s.schema, "migrate")); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL", s.schema).Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+s.schema); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS migrations (version INT PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now())")
		if err != nil {
			return err
		}
		var version int
		if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM migrations").Scan(&version); err != nil {
			return err
		}
		if version > len(schemas()) {
			return fmt.Errorf("the tables have version %d, this program knows %d", version, len(schemas()))
		}
		for i, script := range schemas()[version:] {
			if _, err := tx.Exec(ctx, script, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO migrations (version) VALUES ($1)", version+i+1); err != nil {
				return err
			}
		}
		return nil
	})
}
