package otlp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // gzip is what most senders compress with
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// services are the names of the services of OTLP over gRPC; each has the method Export.
func services() map[string]Signal {
	return map[string]Signal{
		"opentelemetry.proto.collector.trace.v1.TraceService":     Traces,
		"opentelemetry.proto.collector.logs.v1.LogsService":       Logs,
		"opentelemetry.proto.collector.metrics.v1.MetricsService": Metrics,
	}
}

// RunGRPC serves OTLP over gRPC on l until ctx ends. Then it takes no more requests, lets those that came go on for the
// time of grace, and returns when all its goroutines ended.
func (r *Receiver) RunGRPC(ctx context.Context, l net.Listener) error {
	var receiving sync.WaitGroup
	defer receiving.Wait()
	srv := r.grpcServer(&receiving) //nolint:contextcheck // A stream has its own context.
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(netutil.LimitListener(l, r.opts.Connections)) }()
	select {
	case err := <-ended:
		srv.Stop()
		return fmt.Errorf("serve OTLP over gRPC: %w", err)
	case <-ctx.Done():
	}
	stopped := make(chan struct{})
	go func() {
		srv.GracefulStop()
		close(stopped)
	}()
	timer := time.NewTimer(r.opts.Grace)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		srv.Stop()
		<-stopped
	}
	if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve OTLP over gRPC: %w", err)
	}
	return nil
}

func (r *Receiver) grpcServer(receiving *sync.WaitGroup) *grpc.Server {
	srv := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{r.messages}),
		grpc.RPCDecompressor(&zstdDecompressor{r}), //nolint:staticcheck // The other way is to change a global of grpc.
		grpc.UnknownServiceHandler(unknown),
		grpc.MaxRecvMsgSize(int(r.opts.Limits.Request)),
		grpc.MaxConcurrentStreams(128),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.InitialWindowSize(1<<20),
		grpc.InitialConnWindowSize(4<<20),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 15 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	for name, s := range services() {
		srv.RegisterService(&grpc.ServiceDesc{
			ServiceName: name,
			HandlerType: (*any)(nil),
			// On the wire a method with one request and one answer is a stream of one each. As a stream it is asked
			// before its request is read, so that reading waits for its turn.
			Streams: []grpc.StreamDesc{{
				StreamName: "Export", ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, stream grpc.ServerStream) error { return r.stream(s, stream, receiving) },
			}},
		}, r)
	}
	return srv
}

func unknown(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return status.Errorf(codes.Unimplemented, "there is no method %.200s here: this is OTLP, which has Export of the "+
		"TraceService, the LogsService and the MetricsService", method)
}

// stream serves one export.
func (r *Receiver) stream(s Signal, stream grpc.ServerStream, receiving *sync.WaitGroup) error {
	ctx := stream.Context()
	held := &lease{m: &r.memory}
	defer held.end()
	msg, err := r.recv(ctx, stream, receiving, held)
	if err != nil {
		if _, ok := status.FromError(err); ok {
			r.count[s].malformed.Add(1)
			return err
		}
		return r.grpcError(ctx, s, err)
	}
	defer msg.buf.Free()
	body := msg.buf.ReadOnlyData()
	partial, err := r.export(ctx, s, formBinary, body, held)
	if err = r.grpcError(ctx, s, err); err != nil {
		return err
	}
	return stream.SendMsg(&frame{out: reply(partial)})
}

// recv reads the one request of a stream. How large it is can be told only when all of it is there, so the memory for
// the largest is leased until then. Errors of gRPC itself have a status.
func (r *Receiver) recv(ctx context.Context, stream grpc.ServerStream, receiving *sync.WaitGroup, held *lease) (*frame, error) {
	if err := r.wholes.enter(ctx); err != nil {
		return nil, err
	}
	defer r.wholes.leave()
	if err := held.more(r.opts.Limits.Request); err != nil {
		return nil, err
	}
	msg := &frame{}
	got := make(chan error, 1)
	receiving.Go(func() { got <- stream.RecvMsg(msg) }) // It ends with the stream, thus with this handler at the latest.
	timer := time.NewTimer(r.opts.ReadTimeout)
	defer timer.Stop()
	select {
	case err := <-got:
		if errors.Is(err, io.EOF) {
			return nil, status.Error(codes.InvalidArgument, "the export has no request")
		}
		if err != nil {
			return nil, err
		}
		held.keep(int64(msg.buf.Len()))
		return msg, nil
	case <-timer.C:
		return nil, status.Error(codes.DeadlineExceeded, "the request took too long to arrive")
	}
}

// grpcError is how an export ended as gRPC tells it.
func (r *Receiver) grpcError(ctx context.Context, s Signal, err error) error {
	o, text, after := r.judge(ctx, s, err)
	switch o {
	case taken:
		return nil
	case malformed:
		return status.Error(codes.InvalidArgument, text)
	case tooLarge:
		// ResourceExhausted asks to try again only with a RetryInfo, which this has not.
		return status.Error(codes.ResourceExhausted, text)
	case busy:
		st := status.New(codes.Unavailable, text)
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err == nil {
			st = with
		}
		return st.Err()
	case gone:
		return status.Error(status.FromContextError(ctx.Err()).Code(), text)
	case failed:
	}
	return status.Error(codes.Internal, text)
}

// frame is a message as its bytes.
type frame struct {
	buf mem.Buffer // of one that came
	out []byte     // of one to send
}

// rawCodec hands the bytes of messages on as they are, so that no other decoder has a part in it.
type rawCodec struct{ buffers mem.BufferPool }

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.out)}, nil
}

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("receive a %T", v)
	}
	m.buf = data.MaterializeToBuffer(c.buffers)
	return nil
}

// newMessagePool makes buffers for messages, of each power of two from a frame of HTTP/2 up. The default pool of gRPC takes, and clears, a
// megabyte for each of more than 32 KiB, as most exports are.
func newMessagePool() mem.BufferPool {
	p, err := mem.NewBinaryTieredBufferPool(12, 14, 15, 16, 17, 18, 19, 20)
	if err != nil {
		panic(fmt.Sprintf("sizes of buffers: %v", err)) // They are ours and constant.
	}
	return p
}

// zstdDecompressor decompresses messages, up to the limit of a request.
type zstdDecompressor struct{ r *Receiver }

func (*zstdDecompressor) Type() string { return "zstd" }

func (z *zstdDecompressor) Do(body io.Reader) ([]byte, error) {
	in, done, err := z.r.unzip.reader(z.Type(), body)
	if err != nil {
		return nil, err
	}
	defer done()
	held := &lease{m: &z.r.memory}
	defer held.end()
	return readAll(in, nil, 0, z.r.opts.Limits.Request, held)
}
