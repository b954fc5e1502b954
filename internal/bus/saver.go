package bus

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const saveEvery = 100 * time.Millisecond

// saver writes documents that change often, all of them together and at most every saveEvery. Of one that changes more often the
// latest form is written. It is safe for concurrent use.
type saver struct {
	log    Log
	logger *slog.Logger
	wake   chan struct{} // holds one

	saving chan struct{} // holds one while documents are written, so that none is overwritten by an older form of it

	mu   sync.Mutex
	docs map[string][]byte // guarded by mu: not written yet
}

func newSaver(log Log, logger *slog.Logger) *saver {
	return &saver{log: log, logger: logger, wake: make(chan struct{}, 1), saving: make(chan struct{}, 1), docs: map[string][]byte{}}
}

// put takes a document to be written soon.
func (s *saver) put(name string, doc []byte) {
	s.mu.Lock()
	s.docs[name] = doc
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// flush writes what has not been written. What could not be is kept for another time.
func (s *saver) flush(ctx context.Context) error {
	select {
	case s.saving <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.saving }()
	s.mu.Lock()
	docs := s.docs
	s.docs = map[string][]byte{}
	s.mu.Unlock()
	if len(docs) == 0 {
		return nil
	}
	err := s.log.Save(ctx, docs)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, doc := range docs {
		if _, newer := s.docs[name]; !newer {
			s.docs[name] = doc
		}
	}
	return err
}

// run writes until ctx ends.
func (s *saver) run(ctx context.Context) {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.logger.Error("places of subscriptions not saved", "error", err)
			select {
			case s.wake <- struct{}{}:
			default:
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
