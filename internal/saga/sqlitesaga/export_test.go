package sqlitesaga

import (
	"context"
	"fmt"
)

// LimitPages makes the disk full when the file has so many pages more.
func (s *Store) LimitPages(ctx context.Context, more int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	pages, err := s.write.number(ctx, "PRAGMA page_count")
	if err != nil {
		return err
	}
	return s.write.query(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages+more), nil, nothing)
}
