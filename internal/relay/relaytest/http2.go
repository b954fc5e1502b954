//nolint:thelper,bodyclose // these are tests, not helpers; bodies end with their connections
package relaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

func http2Tests() map[string]func(*testing.T, relay.Driver) {
	return map[string]func(*testing.T, relay.Driver){
		"prior knowledge is understood":             testPriorKnowledge,
		"gRPC of all four kinds, with trailers":     testGRPC,
		"a refusal is a gRPC status":                testGRPCRefusal,
		"a path without a slash reaches no service": testPathWithoutSlash,
	}
}

func testPriorKnowledge(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, r.RequestURI, r.Host)
	})})
	res, text := rig.do(t, client(t, true), http.MethodGet, "/p?q=1", nil)
	if res.ProtoMajor != 2 || text != "HTTP/1.1/p?q=1"+rig.Addr {
		t.Fatalf("%s, the service saw %s", res.Proto, text)
	}
}

// grpcService answers in each of the four ways of gRPC.
type grpcService struct {
	grpc_testing.UnimplementedTestServiceServer
}

func payload(s string) *grpc_testing.Payload { return &grpc_testing.Payload{Body: []byte(s)} }

func (grpcService) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", strings.Join(md.Get("x-sent"), ","), "x-bin-bin", "\x00\xff")); err != nil {
		return nil, err
	}
	if s := in.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage()) //nolint:gosec // a code of the test's own
	}
	return &grpc_testing.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (grpcService) StreamingOutputCall(in *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for _, p := range in.GetResponseParameters() {
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: payload(strings.Repeat("x", int(p.GetSize())))}); err != nil {
			return err
		}
	}
	return nil
}

func (grpcService) StreamingInputCall(s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	var sum int32
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: sum})
		}
		if err != nil {
			return err
		}
		sum += int32(len(in.GetPayload().GetBody())) //nolint:gosec // small
	}
}

func (grpcService) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.DataLoss, "the end: 100%")
		}
		if err != nil {
			return err
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

// grpcRig is a client of a rig before a gRPC service.
func grpcRig(t *testing.T, d relay.Driver, decide func(*relay.Request, *relay.Decision)) grpc_testing.TestServiceClient {
	t.Helper()
	rig := NewRig(t, d, Settings{Protocol: manifest.ProtocolGRPC, Decide: decide})
	ln := listen(t)
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, grpcService{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-done
	})
	rig.Up.Set(service, []relay.Endpoint{Endpoint("a", ln.Addr().String())})
	conn, err := grpc.NewClient("passthrough:///"+rig.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpc_testing.NewTestServiceClient(conn)
}

func testGRPC(t *testing.T, d relay.Driver) {
	c := grpcRig(t, d, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	var trailer metadata.MD
	res, err := c.UnaryCall(metadata.AppendToOutgoingContext(ctx, "x-sent", "1"),
		&grpc_testing.SimpleRequest{Payload: payload(strings.Repeat("p", 100_000))}, grpc.Trailer(&trailer))
	if err != nil || len(res.GetPayload().GetBody()) != 100_000 || trailer.Get("x-trailer")[0] != "1" || trailer.Get("x-bin-bin")[0] != "\x00\xff" {
		t.Errorf("unary: %v, trailer %v", err, trailer)
	}
	_, err = c.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: 9, Message: "µ%"}})
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "µ%" {
		t.Errorf("a status: %v", err)
	}

	out, err := c.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{ResponseParameters: []*grpc_testing.ResponseParameters{{Size: 1}, {Size: 70_000}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 70_000} {
		if m, err := out.Recv(); err != nil || len(m.GetPayload().GetBody()) != size {
			t.Errorf("server stream: %v", err)
		}
	}
	if _, err := out.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("server stream ends with %v", err)
	}

	in, err := c.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := in.Send(&grpc_testing.StreamingInputCallRequest{Payload: payload("12345")}); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := in.CloseAndRecv(); err != nil || m.GetAggregatedPayloadSize() != 15 {
		t.Errorf("client stream: %v, %v", m, err)
	}
	pingPong(ctx, t, c)
}

// pingPong exchanges messages in turn, which fails if any part holds one back.
func pingPong(ctx context.Context, t *testing.T, c grpc_testing.TestServiceClient) {
	t.Helper()
	both, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		word := fmt.Sprint("ping ", i)
		if err := both.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload(word)}); err != nil {
			t.Fatal(err)
		}
		if m, err := both.Recv(); err != nil || string(m.GetPayload().GetBody()) != word {
			t.Fatalf("both ways: %v, %v", m, err)
		}
	}
	if err := both.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := both.Recv(); status.Code(err) != codes.DataLoss || !strings.Contains(err.Error(), "100%") {
		t.Errorf("both ways end with %v", err)
	}
}

func testGRPCRefusal(t *testing.T, d relay.Driver) {
	c := grpcRig(t, d, func(_ *relay.Request, d *relay.Decision) {
		d.Reply = relay.Refuse(403, fault.New(fault.CodeCallUndeclared, "not “declared”"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != "not “declared”" {
		t.Errorf("status %v", err)
	}
}

func testPathWithoutSlash(t *testing.T, d relay.Driver) {
	reached := make(chan string, 1)
	rig := NewRig(t, d, Settings{Decide: func(r *relay.Request, d *relay.Decision) {
		if _, err := relay.CleanPath(r.RawPath); err != nil {
			d.Reply = relay.Refuse(400, fault.New(fault.CodePathRefused, "no"))
		}
	}})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(_ http.ResponseWriter, r *http.Request) { reached <- r.RequestURI })})
	c, _ := rig.send(t, http2.ClientPreface)
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "svc.Admin/Delete"}, {"content-type", "application/grpc"}} {
		if err := enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for { // the stream is answered or reset, or the connection closed
		f, err := framer.ReadFrame()
		if err != nil || f.Header().StreamID == 1 {
			break
		}
	}
	select {
	case uri := <-reached:
		t.Errorf("the service saw %q", uri)
	default:
	}
}
