// Package memory is the driver of alert.Store that keeps state in memory, as JSON, so that what comes back is what a file would give back.
// Nothing survives the process.
package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/atollhq/atoll/internal/alert"
)

// Store keeps the newest snapshot. The zero value is empty and ready.
type Store struct {
	mu   sync.Mutex // guards text
	text []byte
}

var _ alert.Store = (*Store)(nil)

// Load returns what was saved last.
func (s *Store) Load(context.Context) (*alert.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == nil {
		return nil, nil
	}
	out := &alert.Snapshot{}
	if err := json.Unmarshal(s.text, out); err != nil {
		return nil, fmt.Errorf("decode snapshot of alerts: %w", err)
	}
	return out, nil
}

// Save replaces what is kept.
func (s *Store) Save(_ context.Context, snapshot *alert.Snapshot) error {
	text, err := json.Marshal(snapshot)
	if err != nil {
		return fmt.Errorf("encode snapshot of alerts: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
	return nil
}
