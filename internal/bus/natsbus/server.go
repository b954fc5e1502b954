package natsbus

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	startLimit = 30 * time.Second
	maxPayload = 8 << 20 // bytes of a message: an event and what is noted about it
	owner      = "ATOLL" // the account and the user that Atoll itself uses; services have names in lower case
)

// Server is a NATS server inside this process.
type Server struct {
	s        *server.Server
	account  *server.Account
	auth     *authority
	password string
	dir      string // where JetStream keeps what it stores
}

// ServerOptions are settings whose zero values are usable.
type ServerOptions struct {
	Dir    string       // where JetStream keeps what it stores; "" for a server without storage
	Logger *slog.Logger // for operators
}

// StartServer starts a server that listens on a port of the loopback interface. Nobody but Atoll gets in before Admit.
func StartServer(ctx context.Context, opts *ServerOptions) (*Server, error) {
	var o ServerOptions
	if opts != nil {
		o = *opts
	}
	out := &Server{auth: &authority{users: map[string]user{}}, password: newPassword(), dir: o.Dir}
	s, err := server.NewServer(&server.Options{
		ServerName: "atoll", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, MaxPayload: maxPayload,
		JetStream: o.Dir != "", StoreDir: o.Dir, SyncAlways: true, CustomClientAuthentication: out.auth,
		WriteDeadline: 10 * time.Second, DisableShortFirstPing: true,
	})
	if err != nil {
		return nil, fmt.Errorf("start event server: %w", err)
	}
	out.s = s
	s.SetLoggerV2(logger{cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}, false, false, false)
	if out.account, err = s.RegisterAccount(owner); err != nil {
		return nil, fmt.Errorf("start event server: %w", err)
	}
	out.auth.add(owner, user{out.password, out.account})
	s.Start()
	wait := startLimit
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline)
	}
	if !s.ReadyForConnections(wait) {
		s.Shutdown()
		return nil, errors.New("start event server: it does not become ready")
	}
	if o.Dir != "" {
		if err := out.account.EnableJetStream(nil, nil); err != nil {
			s.Shutdown()
			return nil, fmt.Errorf("start event server: %w", err)
		}
	}
	return out, nil
}

// Connect opens Atoll's own connection, without the network.
func (s *Server) Connect() (*nats.Conn, error) {
	nc, err := nats.Connect("", nats.InProcessServer(s.s), nats.UserInfo(owner, s.password), nats.MaxReconnects(-1), nats.Name("atoll"))
	if err != nil {
		return nil, fmt.Errorf("connect to event server: %w", err)
	}
	return nc, nil
}

// streams is the folder of the streams, or "" for a server without storage.
func (s *Server) streams() string {
	if s.dir == "" {
		return ""
	}
	return filepath.Join(s.dir, "jetstream", owner, "streams")
}

// Close ends the server; what it has acknowledged is on disk.
func (s *Server) Close() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}

func newPassword() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("natsbus: the system has no random numbers: " + err.Error())
	}
	return hex.EncodeToString(b[:])
}

// logger hands what the server says to operators. Its own levels are theirs; notices are of no use to them.
type logger struct{ l *slog.Logger }

func (l logger) Noticef(format string, v ...any) {
	l.l.Debug(fmt.Sprintf(format, v...), "part", "nats")
}

func (l logger) Warnf(format string, v ...any) { l.l.Warn(fmt.Sprintf(format, v...), "part", "nats") }

func (l logger) Fatalf(format string, v ...any) { l.l.Error(fmt.Sprintf(format, v...), "part", "nats") }

func (l logger) Errorf(format string, v ...any) { l.l.Error(fmt.Sprintf(format, v...), "part", "nats") }

func (l logger) Debugf(format string, v ...any) { l.l.Debug(fmt.Sprintf(format, v...), "part", "nats") }

func (l logger) Tracef(format string, v ...any) { l.l.Debug(fmt.Sprintf(format, v...), "part", "nats") }

// Dial connects to a cluster. Credentials are user:password, a token, the text of a .creds file, or empty.
func Dial(url, credentials string) (*nats.Conn, error) {
	opts := []nats.Option{nats.MaxReconnects(-1), nats.Name("atoll"), nats.Timeout(5 * time.Second)}
	user, password, isPair := strings.Cut(credentials, ":")
	switch {
	case strings.Contains(credentials, "-----BEGIN NATS USER JWT-----"):
		opts = append(opts, nats.UserCredentialBytes([]byte(credentials)))
	case isPair:
		opts = append(opts, nats.UserInfo(user, password))
	case credentials != "":
		opts = append(opts, nats.Token(credentials))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to event server: %w", err)
	}
	return nc, nil
}
