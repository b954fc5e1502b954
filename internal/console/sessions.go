package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

const (
	// LinkLasts is how long a link can be used.
	LinkLasts = 10 * time.Minute

	sessionLasts = 14 * 24 * time.Hour // without use
	maxSessions  = 64
	maxLinks     = 16
	noteUse      = time.Hour // how exactly it is kept when a session was used last
)

// session is what is kept of a session.
type session struct {
	Hash    string    `json:"hash"` // of its token: SHA-256, hex
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
}

// Sessions are those who may use the console. It is safe for concurrent use.
type Sessions struct {
	path string

	mu       sync.Mutex
	sessions []session            // guarded by mu
	links    map[string]time.Time // guarded by mu: hash of the code, and when it was made
	lives    map[string]life      // guarded by mu, by hash: of those that were asked for
}

// life is what ends with a session.
type life struct {
	ctx context.Context //nolint:containedctx // of the session: requests of it end with that
	end context.CancelFunc
}

// OpenSessions reads the sessions that are kept in a file. One that is not there holds none, and one that is damaged neither: who
// had one logs in again.
func OpenSessions(path string) (*Sessions, error) {
	s := &Sessions{path: path, links: map[string]time.Time{}, lives: map[string]life{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	if err := json.Unmarshal(text, &s.sessions); err != nil {
		s.sessions = nil
	}
	for i := range s.sessions { // a clock that was ahead makes no session last longer
		if one := &s.sessions[i]; time.Since(one.Used) < 0 {
			one.Used = time.Now()
		}
	}
	return s, nil
}

// NewLink makes a code that begins one session. Of too many the oldest gives way.
func (s *Sessions) NewLink() (code string, expires time.Time) {
	code = rand.Text()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.links) >= maxLinks {
		var oldest string
		for hash, at := range s.links {
			if oldest == "" || at.Before(s.links[oldest]) {
				oldest = hash
			}
		}
		delete(s.links, oldest)
	}
	s.links[hashOf(code)] = now
	return code, now.Add(LinkLasts)
}

// Redeem begins a session with the code of a link, which is of no use afterwards, and returns the session's token.
func (s *Sessions) Redeem(code string) (token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, ok := s.links[hashOf(code)]
	delete(s.links, hashOf(code))
	if !ok || time.Since(made) > LinkLasts {
		return "", fault.New(fault.CodeConsoleLink, "this link has been used, is too old, or never was one").
			Fix("run atoll console, which prints a new one")
	}
	token = rand.Text() + rand.Text()
	now := time.Now()
	keep := append(s.current(now), session{Hash: hashOf(token), Created: now, Used: now})
	slices.SortFunc(keep, func(a, b session) int { return cmp.Compare(b.Used.UnixNano(), a.Used.UnixNano()) })
	keep = keep[:min(len(keep), maxSessions)]
	if err := s.write(keep); err != nil {
		return "", err
	}
	s.keep(keep)
	return token, nil
}

// Session returns whether a token is that of a session, and what is done when that ends.
func (s *Sessions) Session(token string) (context.Context, bool) {
	hash, now := hashOf(token), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.sessions {
		// The hashes are compared, which nobody can choose: how long that takes says nothing of a token.
		if one := &s.sessions[i]; one.Hash == hash && now.Sub(one.Used) <= sessionLasts {
			if now.Sub(one.Used) > noteUse {
				one.Used = now
				_ = s.write(s.sessions) // it is noted again within the hour
			}
			l, ok := s.lives[hash]
			if !ok {
				l.ctx, l.end = context.WithCancel(context.Background())
				s.lives[hash] = l
			}
			return l.ctx, true
		}
	}
	return nil, false
}

// keep makes these the sessions that there are; the others end.
func (s *Sessions) keep(sessions []session) {
	s.sessions = sessions
	for hash, l := range s.lives {
		if !slices.ContainsFunc(sessions, func(one session) bool { return one.Hash == hash }) {
			l.end()
			delete(s.lives, hash)
		}
	}
}

// End ends the session of a token, if it is one.
func (s *Sessions) End(token string) error {
	hash := hashOf(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := slices.DeleteFunc(slices.Clone(s.sessions), func(one session) bool { return one.Hash == hash })
	if len(keep) == len(s.sessions) {
		return nil
	}
	if err := s.write(keep); err != nil {
		return err
	}
	s.keep(keep)
	return nil
}

// current are the sessions that have not ended.
func (s *Sessions) current(now time.Time) []session {
	var keep []session
	for _, one := range s.sessions {
		if now.Sub(one.Used) <= sessionLasts {
			keep = append(keep, one)
		}
	}
	return keep
}

// write puts the file in place, whole or not at all.
func (s *Sessions) write(sessions []session) error {
	text, err := json.MarshalIndent(sessions, "", "  ")
	if err != nil {
		return fmt.Errorf("encode sessions: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("make folder of sessions: %w", err)
	}
	temp := s.path + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return fmt.Errorf("write sessions: %w", err)
	}
	if err := os.Rename(temp, s.path); err != nil {
		return fmt.Errorf("put sessions in place: %w", err)
	}
	return nil
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
