package sqlitesaga

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// Purge implements saga.Store.
func (s *Store) Purge(ctx context.Context, now, mailBefore time.Time, limit int) (gone int, err error) {
	var sent []saga.Signal
	err = s.change(ctx, "purge sagas", func(ctx context.Context) error {
		numbers, err := s.going(ctx, now, limit)
		if err != nil {
			return err
		}
		if gone = len(numbers); gone > 0 {
			if err := s.remove(ctx, list(numbers), &sent); err != nil {
				return err
			}
		}
		_, err = s.write.exec(ctx, "DELETE FROM mail WHERE seq IN (SELECT seq FROM mail WHERE at < ? ORDER BY at LIMIT ?)", micros(mailBefore), int64(limit))
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(sent) > 0 {
		select {
		case s.notify <- struct{}{}:
		default:
		}
	}
	return gone, s.shrink(ctx)
}

// going are the instances that may go, with their children.
func (s *Store) going(ctx context.Context, now time.Time, limit int) (numbers []int64, err error) {
	err = s.write.query(ctx, `WITH RECURSIVE gone (n, id, saga, phase) AS (
			SELECT n, id, saga, phase FROM (SELECT n, id, saga, phase FROM instances WHERE purge > 0 AND purge <= ? ORDER BY purge LIMIT ?)
			UNION SELECT c.n, c.id, c.saga, c.phase FROM gone g JOIN instances c ON c.parent = g.id AND c.parent <> '')
		SELECT n, id, saga, phase FROM gone`, []any{micros(now), int64(max(0, limit))}, func(v []driver.Value) error {
		numbers = append(numbers, number(v[0]))
		delete(s.hot, text(v[1]))
		s.counted[tally{text(v[2]), number(v[3])}]--
		return nil
	})
	return numbers, err
}

// remove removes instances, given by their numbers as a list in JSON, with all that belongs to them.
func (s *Store) remove(ctx context.Context, numbers string, sent *[]saga.Signal) error {
	type held struct {
		n    int64
		name string
	}
	var locks []held // which they should have released
	err := s.write.query(ctx, "SELECT n, name FROM locks WHERE n IN (SELECT value FROM json_each(?)) ORDER BY name, place", []any{numbers}, func(v []driver.Value) error {
		locks = append(locks, held{number(v[0]), text(v[1])})
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range locks {
		if err := s.release(ctx, l.n, l.name, sent); err != nil {
			return err
		}
	}
	for _, table := range []string{"history", "waiters", "signals", "instances"} {
		if _, err := s.write.exec(ctx, "DELETE FROM "+table+" WHERE n IN (SELECT value FROM json_each(?))", numbers); err != nil {
			return err
		}
	}
	return nil
}

// The file shrinks when more than half of it is free, by so many pages at once.
const shrinkPages = 500

func (s *Store) shrink(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	free, err := s.write.number(ctx, "PRAGMA freelist_count")
	if err != nil {
		return s.fail("shrink sagas", err)
	}
	all, err := s.write.number(ctx, "PRAGMA page_count")
	if err != nil {
		return s.fail("shrink sagas", err)
	}
	if free < shrinkPages || free < all/2 {
		return nil
	}
	if err := s.write.query(ctx, "PRAGMA incremental_vacuum(500)", nil, nothing); err != nil {
		return s.fail("shrink sagas", err)
	}
	return nil
}
