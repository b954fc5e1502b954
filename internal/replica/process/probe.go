package process

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/atollhq/atoll/internal/manifest"
)

// maxProbeBody is the most that is read of a probe's answer.
const maxProbeBody = 64 << 10

func probeTCP(ctx context.Context, p *process) error {
	conn, err := p.Dial(ctx)
	if err != nil {
		return notListening(p)
	}
	return conn.Close()
}

func notListening(p *process) error { return fmt.Errorf("nothing listens on %s", p.Addr()) }

// probeClient sends one request to p. HTTP/2 is spoken with prior knowledge.
func probeClient(p *process, http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{
		Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return p.Dial(ctx) },
			DisableKeepAlives: true,
			Protocols:         protocols,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what came back of a probe.
type answer struct {
	status int
	grpc   string // the gRPC status, "" without one
	body   []byte
}

// roundTrip sends a probe and names what went wrong for users.
func roundTrip(ctx context.Context, p *process, http2 bool, req *http.Request, what string) (answer, error) {
	req.Header.Set("User-Agent", "atoll-ready")
	client := probeClient(p, http2)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		if opErr, ok := errors.AsType[*net.OpError](err); ok && opErr.Op == "dial" {
			return answer{}, notListening(p)
		}
		if ctx.Err() != nil {
			return answer{}, fmt.Errorf("%s did not answer in time", what)
		}
		return answer{}, fmt.Errorf("%s was not answered properly", what)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeBody))
	if err != nil {
		return answer{}, fmt.Errorf("the answer to %s broke off", what)
	}
	grpc := resp.Trailer.Get("Grpc-Status")
	if grpc == "" {
		grpc = resp.Header.Get("Grpc-Status") // an answer of trailers only
	}
	return answer{status: resp.StatusCode, grpc: grpc, body: body}, nil
}

func probeHTTP(ctx context.Context, p *process) error {
	what := "GET " + p.spec.Ready.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr()+p.spec.Ready.Path, nil)
	if err != nil {
		return fmt.Errorf("%s is no proper path", p.spec.Ready.Path)
	}
	got, err := roundTrip(ctx, p, p.spec.Protocol == manifest.ProtocolGRPC, req, what)
	if err != nil {
		return err
	}
	if got.status/100 != 2 {
		return fmt.Errorf("%s answered %d", what, got.status)
	}
	return nil
}

// probeGRPC calls grpc.health.v1.Health/Check for the whole server (empty service name) after
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md. One unary call needs no more of gRPC
// than this (doc/PROTOCOL-HTTP2.md): an empty message is five zero bytes, and SERVING is field 1, varint 1.
func probeGRPC(ctx context.Context, p *process) error {
	const what = "the gRPC health check"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.Addr()+"/grpc.health.v1.Health/Check",
		bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	got, err := roundTrip(ctx, p, true, req, what)
	if err != nil {
		return err
	}
	switch {
	case got.status != http.StatusOK:
		return fmt.Errorf("%s answered HTTP %d", what, got.status)
	case got.grpc == "12":
		return errors.New("the program does not have the gRPC health service (grpc.health.v1.Health)")
	case got.grpc != "0":
		return fmt.Errorf("%s answered gRPC status %q", what, got.grpc)
	case !serving(got.body):
		return fmt.Errorf("%s does not say SERVING", what)
	default:
		return nil
	}
}

// serving reads one gRPC message, and in it the varint field 1 of a HealthCheckResponse.
func serving(body []byte) bool {
	if len(body) < 5 || body[0] != 0 {
		return false
	}
	message := body[5:]
	if uint64(binary.BigEndian.Uint32(body[1:5])) != uint64(len(message)) || len(message) == 0 || message[0] != 1<<3 {
		return false
	}
	status, n := binary.Uvarint(message[1:])
	return n > 0 && status == 1
}
